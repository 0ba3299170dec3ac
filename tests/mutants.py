"""Does a test fail when a number's code is wrong? Mutants, drawn at random, each met by its tests.

Of `visualize/`, of the measures, and of the part of the service that picks what the page says of a result.

    python -m tests.mutants --count 300 --seed 1            # prints one line per mutant, survivors again at the end
    python -m tests.mutants --only visualize/numbers/scale.py --all

1. Every file's syntax tree is searched for places where a small fault can be made (`_faults`).
2. `--count` of them are drawn with a printed seed.
3. All tests run once without a fault, watched for which of them calls which function.
4. For each mutant, this process forks; the child imports the faulty module from memory (no file is touched) and runs
   the tests, first those named after the module, to the first that fails: of a fault in a function, those that call it,
   else all. A mutant that no test notices survives.

Development only: it needs `os.fork`, and nothing imports it.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import json
import os
import random
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

SECONDS = 400  # a mutant that runs longer hangs, and counts as noticed
TESTS = ROOT / "tests" / "visualize"
#: The service's part, met by the tests of that room.
SERVICE, SERVICE_TESTS = ROOT / "inference" / "service" / "view.py", ROOT / "tests" / "inference" / "service"
MEASURES, MEASURES_TESTS = ROOT / "inference" / "measures.py", ROOT / "tests" / "inference" / "test_measures.py"
#: Tests that look at another process's import, or at scripts of the browser alone, see no mutant.
LEFT_OUT = {"test_imports.py", "test_viewer_modules.py"}
#: Whose tests are not named after the file.
NAMED = {
    "caption": "test_stack", "notes": "test_stack", "figures": "test_stack",
    "notebook": "test_document", "contents": "test_document", "drawing": "test_panes",
    "palette": "test_overlay",
    "data_url": "test_analysis_json", "shift_matrix": "test_change", "__init__": "test_choice",
    "token_choice": "test_reduce", "layer_limits": "test_stack", "side_by_side": "test_stack",
    "changes": "test_scene", "json_values": "test_scene", "head_choice": "test_top_heads",
}  # fmt: skip
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "argmax": "argmin", "any": "all", "all": "any", "mean": "sum", "sum": "mean",
    "floor": "ceil", "ceil": "floor", "round": "int", "base": "adapter", "adapter": "base", "first": "second",
    "height": "width", "width": "height", "low": "high", "high": "low", "background": "background_low",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--only", nargs="*", default=[], help="files, e.g. visualize/numbers/scale.py")
    parser.add_argument("--again", type=Path, help="an earlier run's output: of the same draw, those that survived")
    arguments = parser.parse_args()
    found = [
        (path, *place)
        for path in [*sorted(ROOT.glob("visualize/**/*.py")), MEASURES, SERVICE]
        if not arguments.only or str(path.relative_to(ROOT)) in arguments.only
        for place in places(path.read_text(encoding="utf-8"))
    ]
    chosen = found if arguments.all else random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    print(f"{len(chosen)} of {len(found)} mutants, seed {arguments.seed}", flush=True)
    if arguments.again:
        survived = set(re.findall(r"SURVIVED (.*)", arguments.again.read_text(encoding="utf-8")))
        chosen = [each for each in chosen if f"{each[0].relative_to(ROOT)}:{each[3]}" in survived]
        print(f"again: {len(chosen)} that survived before", flush=True)
    _warm()
    callers = _callers()
    if callers is None:
        print("the tests fail without a fault")
        return 1
    survivors = []
    for at, (line, killed) in enumerate(_outcomes(chosen, arguments.jobs, callers), 1):
        print(f"{at:4d} {'killed  ' if killed else 'SURVIVED'} {line}", flush=True)
        survivors += [] if killed else [line]
    print("", *survivors, sep="\n")
    dead = len(chosen) - len(survivors)
    print(f"\n{dead} of {len(chosen)} killed, {100 * dead / max(len(chosen), 1):.1f} %; {len(survivors)} survived")
    return 0


def places(source: str) -> list[tuple[int, int, str]]:
    """Every fault that can be made: the node's position, the fault's number there, and line and fault in words."""
    tree = ast.parse(source)
    left_out = {id(part) for node in ast.walk(tree) for root in _left_out(node) for part in ast.walk(root)}
    found = []
    for position, node in enumerate(list(ast.walk(tree))):
        if id(node) in left_out:
            continue
        before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
        for fault, _ in enumerate(_faults(node)):
            after = ast.unparse(node)
            found.append((position, fault, f"{node.lineno}: {_short(before)} -> {_short(after)}"))
    return found


def faulty(source: str, position: int, fault: int) -> str:
    """The source with one fault."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[position]
    for at, _ in enumerate(_faults(node)):
        if at == fault:
            break
    return ast.unparse(ast.fix_missing_locations(tree))


def _short(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= 100 else line[:70] + " … " + line[-28:]


def _left_out(node: ast.AST) -> Iterator[ast.AST]:
    """What is no number and no sentence of the product: annotations, decorators, docstrings, the wording of errors."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
        yield node.body[0]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield from node.decorator_list
    if isinstance(node, ast.FunctionDef) and node.returns:
        yield node.returns
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield node.annotation
    if isinstance(node, ast.Raise):
        yield node
    if isinstance(node, ast.Assign) and re.search(r"Literal\[|tuple\[|NDArray|Font$|__all__", ast.unparse(node)):
        yield node
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cast", "TypeAlias"):
        yield node.args[0]
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        yield from (part for part in node.comparators if isinstance(part, ast.Tuple))  # whose order says nothing


def _faults(node: ast.AST) -> Iterator[None]:
    """Make one fault after another in a node; whoever stops keeps the one just made."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            node.ops = [SWAPS[type(operator)]()]
            yield
            node.ops = [operator]
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in SWAPS:
            node.op = SWAPS[type(operator)]()
            yield
            node.op = operator
        case ast.BoolOp(op=operator):
            node.op = SWAPS[type(operator)]()
            yield
            node.op = operator
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert() as operator, operand=operand):
            node.op = ast.UAdd() if isinstance(operator, ast.USub) else ast.Not()
            node.operand = operand if isinstance(operator, ast.USub) else ast.UnaryOp(ast.Not(), operand)
            yield
            node.op, node.operand = operator, operand
        case ast.Constant(value=bool() as value):
            node.value = not value
            yield
            node.value = value
        case ast.Constant(value=int() | float() as value):
            node.value = value * 2 if isinstance(value, float) and value else value + 1
            yield
            node.value = value
        case ast.Constant(value=str() as value) if value.strip():
            node.value = f"XX{value}"
            yield
            node.value = value
        case ast.Name(id=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            node.id = NAMES[name]
            yield
            node.id = name
        case ast.Attribute(attr=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            node.attr = NAMES[name]
            yield
            node.attr = name
        case ast.If(test=test) | ast.IfExp(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
            yield
            node.test = test
        case ast.Return(value=ast.AST() as value) if not isinstance(value, ast.Constant):
            node.value = ast.Constant(None)
            yield
            node.value = value
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper) as part):
            part.lower, part.upper = None, upper
            if lower is not None:
                yield
            part.lower, part.upper = lower, None
            if upper is not None:
                yield
            part.lower, part.upper = lower, upper
        case ast.Call(keywords=[_, *_] as keywords):
            for gone in range(len(keywords)):
                node.keywords = keywords[:gone] + keywords[gone + 1 :]
                yield
            node.keywords = keywords
        case ast.Tuple(elts=[first, second]) if isinstance(node.ctx, ast.Load) and ast.dump(first) != ast.dump(second):
            node.elts = [second, first]
            yield
            node.elts = [first, second]


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a given source."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        package = self.path.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=[str(self.path.parent)] if package else None
        )

    def get_filename(self, name):
        return str(self.path)

    def get_data(self, path):
        return self.source.encode() if path == str(self.path) else Path(path).read_bytes()

    def path_stats(self, path):
        raise OSError("never from a cache")


class _Watch:
    """Notes which test calls which function of `visualize/`, as `path:name`; what runs outside of any is every test's.

    What is kept of a call (`lru_cache`) is thrown away before each test, so that each calls what it needs.
    """

    def __init__(self) -> None:
        self.test = ""
        self.calls: dict[str, set[str]] = {}

    def pytest_runtest_logstart(self, nodeid, location):
        self.test = nodeid
        for module in [module for name, module in sys.modules.items() if name.startswith("visualize")]:
            for value in vars(module).values():
                getattr(value, "cache_clear", int)()

    def pytest_runtest_logfinish(self, nodeid, location):
        self.test = ""

    def note(self, frame, event, argument):
        code = frame.f_code
        if code.co_filename.startswith((str(ROOT / "visualize"), str(MEASURES))):
            self.calls.setdefault(f"{code.co_filename}:{code.co_name}", set()).add(self.test)


class _Only:
    """Runs no other tests than these."""

    def __init__(self, tests: set[str]) -> None:
        self.tests = tests

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.tests]


def _outcomes(
    chosen: list[tuple[Path, int, int, str]], jobs: int, callers: dict[str, list[str]]
) -> Iterator[tuple[str, bool]]:
    """Each mutant's words and whether a test noticed it, as they end."""
    running: dict[int, str] = {}
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            path, position, fault, words = waiting.pop()
            child = os.fork()
            if child == 0:
                signal.alarm(SECONDS)  # ends the child
                os._exit(_run(path, path.read_text(encoding="utf-8"), position, fault, callers))
            running[child] = f"{path.relative_to(ROOT)}:{words}"
        child, status = os.waitpid(-1, 0)
        words = running.pop(child)
        yield words + (" (hung)" if os.WIFSIGNALED(status) else ""), status != 0


def _callers() -> dict[str, list[str]] | None:
    """Which tests call each function, from a run without a fault; None where that run fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        watch = _Watch()
        sys.settrace(watch.note)
        threading.settrace(watch.note)
        rc = _pytest(_files(), watch)
        sys.settrace(None)
        with os.fdopen(writing, "w") as pipe:
            json.dump({name: sorted(tests) for name, tests in watch.calls.items()}, pipe)
        os._exit(rc)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        callers = json.load(pipe)
    return callers if os.waitpid(child, 0)[1] == 0 else None


def _run(path: Path, source: str, position: int, fault: int, callers: dict[str, list[str]]) -> int:
    """In the child: 0 where all tests pass."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    sys.meta_path.insert(0, _Faulty(module, path, faulty(source, position, fault)))
    if path == SERVICE:
        return _pytest([SERVICE_TESTS])
    function = _function_of(ast.parse(source), position)
    calling = callers.get(f"{path}:{function}", []) if function else [""]
    own = f"{NAMED.get(path.stem, f'test_{path.stem}')}.py"
    for first in (True, False):
        files = [file for file in _files() if (file.name == own) is first]
        if "" in calling:
            rc = _pytest(files)
        else:
            with_callers = {str(ROOT / test.partition("::")[0]) for test in calling}
            rc = _pytest([file for file in files if str(file) in with_callers], _Only(set(calling)))
        if rc:
            return rc
    return 0


def _files() -> list[Path]:
    """All files of tests, the quick ones before the slow."""
    slow = ("test_resize", "test_overlay", "test_sheet", "test_marks")
    files = [file for file in TESTS.rglob("test_*.py") if file.name not in LEFT_OUT]
    return sorted([MEASURES_TESTS, *files], key=lambda file: (file.stem in slow, file.name))


def _pytest(files: list[Path], *plugins: object) -> int:
    """0 where all tests of some files pass, and where there are none."""
    import pytest

    if not files:
        return 0
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1), os.dup2(devnull, 2)
    options = ["-o", "addopts=", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--no-header"]
    rc = int(pytest.main([*options, *map(str, files)], plugins=plugins))
    return 0 if rc == pytest.ExitCode.NO_TESTS_COLLECTED else rc


def _function_of(tree: ast.Module, position: int) -> str | None:
    """The name of the function whose body a node stands in; None for what runs at import."""
    node = list(ast.walk(tree))[position]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and any(node in ast.walk(line) for line in function.body):
            return function.name
    return None


def _warm() -> None:
    """Import once, before forking, what no mutant is in."""
    import matplotlib
    import pytest
    import scipy.spatial.distance

    import tests.visualize.factory

    assert matplotlib
    assert pytest
    assert scipy
    assert tests
    assert not any(name.startswith(("visualize", "inference.measures")) for name in sys.modules)


if __name__ == "__main__":
    sys.exit(main())
