"""Decide how the viewer's modules become one script, for files that load nothing: each module is a function's body.

A module's own names stay its own, and an import takes what another module gave back:

    const $stack = (() => { const MAGIC = …; function readBody(…) {…}  return { readBody }; })();
    const $panes = (() => { const { readBody } = $stack; … })();

It reads the forms that the viewer uses, each at the beginning of a line: `import { a, b as c } from "./file.js";` and
`export` before a function, class or const. Everything else of the module system is refused, so that no script is
written that means something else than the modules do.
"""

import re
from collections.abc import Iterator
from pathlib import Path

#: Where the viewer's modules and styles are.
FOLDER = Path(__file__).parents[1] / "viewer"

_IMPORT = re.compile(r'^import\s*\{([^{}]*)\}\s*from\s*"\./([A-Za-z0-9_]+)\.js";[^\S\n]*$', re.MULTILINE)
_EXPORT = re.compile(r"^export\s+(?=(?:(?:async\s+)?function\*?|class|const)\s+([A-Za-z0-9_]+))", re.MULTILINE)
_NAME = re.compile(r"^([A-Za-z0-9_]+)(?:\s+as\s+([A-Za-z0-9_]+))?$")
_LEFT = re.compile(r"^\s*(?:import|export)\b(?!\s*[:=(.,)])|\bimport\s*(?:\(|\.\s*meta)", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*$", re.MULTILINE | re.DOTALL)
#: What would end or change the element that the script stands in.
_ENDS_ELEMENT = re.compile(r"</script|<script|<!--", re.IGNORECASE)


class BundleError(RuntimeError):
    """A module that this file does not know how to read: a bug of ours, not of a person's."""


def bundle(entry: str, folder: Path = FOLDER) -> str:
    """One script of a module and all that it imports, in the order in which they run.

    Args:
        entry: name of the module that is run last, without its ending.
        folder: where the modules are.

    Returns:
        JavaScript for an inline `<script type="module">`; the same for the same files.

    Raises:
        BundleError: a form of import or export that is not known, a name that a module does not give, modules that
            import each other, or text that would end the element.
    """
    parts: dict[str, str] = {}
    exports: dict[str, frozenset[str]] = {}
    for name in _in_order(entry, folder, ()):
        if name not in parts:
            parts[name], exports[name] = _module(name, _read(folder, name), exports)
    script = "\n".join(parts.values())
    if _ENDS_ELEMENT.search(script):
        raise BundleError(f"A module of {entry}.js holds text that would end a script element.")
    return script


def _in_order(name: str, folder: Path, above: tuple[str, ...]) -> Iterator[str]:
    """A module after all that it imports; some come more than once."""
    if name in above:
        raise BundleError(f"These modules import each other: {' → '.join([*above, name])}.")
    for _, imported in _IMPORT.findall(_read(folder, name)):
        yield from _in_order(imported, folder, (*above, name))
    yield name


def _read(folder: Path, name: str) -> str:
    return (folder / f"{name}.js").read_text(encoding="utf-8")


def _module(name: str, text: str, exports: dict[str, frozenset[str]]) -> tuple[str, frozenset[str]]:
    given = _EXPORT.findall(text)

    def taken(found: re.Match[str]) -> str:
        names = [_taken(each.strip(), name, found[2], exports) for each in found[1].split(",") if each.strip()]
        return f"const {{ {', '.join(names)} }} = ${found[2]};"

    code = _EXPORT.sub("", _IMPORT.sub(taken, text)).rstrip()
    left = _LEFT.search(_COMMENT.sub("", code))
    if left:
        raise BundleError(f"{name}.js has a form of import or export that is not known: {left[0].strip()!r}.")
    returned = f"\nreturn {{ {', '.join(given)} }};" if given else ""
    return f"const ${name} = (() => {{\n{code}{returned}\n}})();", frozenset(given)


def _taken(each: str, name: str, source: str, exports: dict[str, frozenset[str]]) -> str:
    found = _NAME.match(each)
    if not found or found[1] not in exports[source]:
        raise BundleError(f"{name}.js imports {each!r} from {source}.js, which does not give it.")
    return f"{found[1]}: {found[2]}" if found[2] else found[1]
