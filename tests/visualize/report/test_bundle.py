"""One script of many modules: what it takes along, in which order, and what it refuses."""

import pytest

from visualize.report.bundle import FOLDER, BundleError, bundle


def _written(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder


TOP = """// Decides.
import { one, two as zwei } from "./low.js";
import { mid } from "./mid.js";
mid(one, zwei);
"""
MID = """import {
  one,
} from "./low.js";
export const mid = (...all) => [one, ...all];
"""
LOW = """const own = 1;
export async function one() {
  return own;
}
export class two {}
export function* many() {}
"""
ALL = """const $low = (() => {
const own = 1;
async function one() {
  return own;
}
class two {}
function* many() {}
return { one, two, many };
})();
const $mid = (() => {
const { one } = $low;
const mid = (...all) => [one, ...all];
return { mid };
})();
const $top = (() => {
// Decides.
const { one, two: zwei } = $low;
const { mid } = $mid;
mid(one, zwei);
})();"""
NO_IMPORTS = """/** @param {import("./x.js").Y} y
 * export
 */
// import this
const a = { import: 1, export: 2 };
a.import;
"""


def test_a_module_runs_after_what_it_imports_and_takes_it_by_name(tmp_path):
    assert bundle("top", _written(tmp_path, top=TOP, mid=MID, low=LOW)) == ALL


@pytest.mark.parametrize(
    "line",
    [
        'import everything from "./low.js";',
        'import * as all from "./low.js";',
        'import "./low.js";',
        'import { one } from "low";',
        'import { one } from "../low.js";',
        "export default 1;",
        "export { one };",
        'export * from "./low.js";',
        "export let changing = 1;",
        'const late = await import("./low.js");',
        "const where = import.meta.url;",
        '  import { one } from "./low.js";',
    ],
)
def test_another_form_of_import_or_export_is_refused(tmp_path, line):
    with pytest.raises(BundleError, match=r"top\.js has a form of import or export that is not known"):
        bundle("top", _written(tmp_path, top=f"const a = 1;\n{line}\n", low="export const one = 1;\n"))


def test_words_of_comments_and_properties_are_no_imports(tmp_path):
    assert "const a" in bundle("top", _written(tmp_path, top=NO_IMPORTS))


def test_a_name_that_a_module_does_not_give_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"top\.js imports 'two' from low\.js, which does not give it"):
        bundle("top", _written(tmp_path, top='import { two } from "./low.js";\n', low="export const one = 1;\n"))


def test_modules_that_import_each_other_are_refused(tmp_path):
    folder = _written(
        tmp_path,
        a='import { b } from "./b.js";\nexport const a = 1;\n',
        b='import { a } from "./a.js";\nexport const b = 1;\n',
    )
    with pytest.raises(BundleError, match="a → b → a"):
        bundle("a", folder)


@pytest.mark.parametrize("text", ["</script>", "</SCRIPT", "<!--", "<script"])
def test_text_that_would_end_the_element_is_refused(tmp_path, text):
    with pytest.raises(BundleError, match="would end a script element"):
        bundle("top", _written(tmp_path, top=f'const a = "{text}";\n'))


def test_the_report_holds_every_module_that_it_needs_once_and_no_link_to_another():
    script = bundle("report")
    assert script == bundle("report")
    for path in FOLDER.glob("*.js"):
        assert script.count(f"const ${path.stem} = ") == 1, path.name
    assert not [line for line in script.splitlines() if line.startswith(("import ", "export "))]
