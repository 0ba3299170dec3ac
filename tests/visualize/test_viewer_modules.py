"""The viewer's modules stand in one file of a report: no name at the top of two of them, and plain imports."""

import re
from collections import Counter
from pathlib import Path

import visualize

MODULES = sorted((Path(visualize.__file__).parent / "viewer").glob("*.js"))


def test_no_name_is_used_at_the_top_of_two_modules():
    pattern = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
    names = Counter(name for module in MODULES for name in pattern.findall(module.read_text()))
    assert len(names) > 50
    assert [name for name, count in names.items() if count > 1] == []


def test_every_import_is_one_line_from_a_module_beside_it():
    beside = {module.name for module in MODULES}
    for module in MODULES:
        lines = [line for line in module.read_text().splitlines() if line.startswith("import")]
        found = [re.fullmatch(r'import \{ [\w, ]+ \} from "\./(\w+\.js)";', line) for line in lines]
        assert all(match and match[1] in beside for match in found), module.name


def test_no_module_writes_markup():
    for module in MODULES:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", module.read_text()), module.name
