"""How a mutant meets its tests: in a child process, with its code in place of the right one, or imported afresh."""

import ast
import builtins
import importlib
import importlib.abc
import importlib.util
import inspect
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from tests import ROOT
from tests.mutations import Mutant, faulty, function_of, functions

SECONDS = 400  # a mutant that computes longer hangs, and counts as noticed
TESTS = ROOT / "tests" / "visualize"
#: The service's part, met by the tests of that room.
SERVICE, SERVICE_TESTS = ROOT / "inference" / "service" / "view.py", ROOT / "tests" / "inference" / "service"
#: Files beside `visualize` that faults are made in, each with the file of its tests: measures, conversations, sets.
BESIDE = {
    ROOT / "inference" / f"{name}.py": ROOT / "tests" / "inference" / tests
    for name, tests in {
        "measures": "test_measures.py",
        "conversation": "test_messages.py",
        "messages": "test_messages.py",
        "batch/target": "batch/test_target.py",
        "batch/over_set": "batch/test_over_set.py",
    }.items()
}
WATCHED = (str(ROOT / "visualize"), *map(str, BESIDE))
#: Tests that look at another process's import, or at scripts of the browser alone, see no mutant.
LEFT_OUT = {"test_imports.py", "test_viewer_modules.py"}
#: Whose tests are not named after the file.
NAMED = {
    "caption": "test_stack", "notes": "test_stack", "figures": "test_stack",
    "notebook": "test_document", "contents": "test_document", "drawing": "test_panes",
    "palette": "test_overlay",
    "data_url": "test_analysis_json", "shift_matrix": "test_change", "__init__": "test_choice",
    "token_choice": "test_reduce", "layer_limits": "test_stack", "side_by_side": "test_stack",
    "head_changes": "test_scene", "json_values": "test_scene", "head_choice": "test_top_heads",
}  # fmt: skip
NOTICED, NOT_HERE = 1, 77  # how a child ends: a test failed; the fault needs a process of its own


def outcomes(chosen: list[Mutant], jobs: int) -> Iterator[tuple[Mutant | None, int]]:
    """Each mutant and how its process ended, 0 where no test noticed it; None where a test fails without a fault."""
    left: list[Mutant] = []
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        watch = _Watch()
        sys.meta_path.insert(0, _Watched(watch))
        with os.fdopen(writing, "w") as pipe:
            os._exit(_pytest(_files(), _InPlace(chosen, jobs, pipe, watch)))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        for line in pipe:
            at, status = json.loads(line)
            if os.waitstatus_to_exitcode(status) == NOT_HERE:
                left.append(chosen[at])
            else:
                yield chosen[at], status
    if os.waitpid(child, 0)[1]:
        yield None, NOTICED
        return
    for at, status in _forked([lambda mutant=mutant: _fresh(mutant) for mutant in left], jobs):
        yield left[at], status


def _forked(works: list[Callable[[], int]], jobs: int) -> Iterator[tuple[int, int]]:
    """Each work in a child of its own, so many at once: its number and how it ended, as they end."""
    running: dict[int, int] = {}
    waiting = list(reversed(list(enumerate(works))))
    while waiting or running:
        while waiting and len(running) < jobs:
            at, work = waiting.pop()
            child = os.fork()
            if child == 0:
                signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of its own work, however busy the machine is
                signal.alarm(20 * SECONDS)
                rc = NOTICED
                try:
                    rc = work()
                finally:
                    os._exit(rc)
            running[child] = at
        child, status = os.waitpid(-1, 0)
        yield running.pop(child), status


class _InPlace:
    """A plugin that runs the tests without a fault, and then, for each mutant, in a child with its code in place."""

    def __init__(self, chosen: list[Mutant], jobs: int, pipe: IO[str], watch: "_Watch") -> None:
        self.chosen, self.jobs, self.pipe, self.watch = chosen, jobs, pipe, watch

    def pytest_runtestloop(self, session):
        if session.testsfailed:
            return True
        session.config._tmp_path_factory.getbasetemp()  # one folder for all children
        watched = self._watched(session)
        if watched is None:
            session.testsfailed = 1
            return True
        works = [lambda mutant=mutant: self._met(session, mutant, *watched) for mutant in self.chosen]
        for outcome in _forked(works, self.jobs):
            print(json.dumps(outcome), file=self.pipe, flush=True)
        return True

    def _watched(self, session) -> tuple[dict[str, list[str]], dict[str, float]] | None:
        """Which tests call each function, and how long each takes; None where one fails."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            session.config.pluginmanager.register(self.watch)
            rc = _run(session, session.items)
            with os.fdopen(writing, "w") as pipe:
                calls = {name: sorted(tests) for name, tests in self.watch.calls.items()}
                json.dump([calls, self.watch.seconds], pipe)
            os._exit(rc)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        return json.loads(text) if os.waitpid(child, 0)[1] == 0 else None

    def _met(self, session, mutant: Mutant, calls: dict[str, list[str]], seconds: dict[str, float]) -> int:
        source = mutant.path.read_text(encoding="utf-8")
        function = function_of(source, mutant.position)
        calling = set(calls.get(f"{mutant.path}:{function}", [""]))
        if mutant.path == SERVICE or "" in calling:
            return NOT_HERE
        try:
            code = compile(_faulty_source(mutant), str(mutant.path), "exec")
            _put_in_place(importlib.import_module(_module(mutant.path)), function, code)  # some are imported late
        except (LookupError, AttributeError, TypeError, ValueError):  # a wrapper that hides it, another closure
            return NOT_HERE
        session.config.pluginmanager.register(self.watch)  # throws away what is kept of calls
        items = [item for item in session.items if item.nodeid in calling]
        own = _own_tests(mutant.path)
        return _run(session, sorted(items, key=lambda item: (item.path.name != own, seconds[item.nodeid])))


class _Watch:
    """Notes which test calls which function, as `path:name`, and how long it takes; `""` is what an import calls.

    What is kept of a call (`lru_cache`) is thrown away before each test, so that each calls what it needs.
    """

    def __init__(self) -> None:
        self.test = ""
        self.calls: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid, location):
        self.test = nodeid
        self.seconds[nodeid] = 0.0
        for module in list(sys.modules.values()):
            if not str(getattr(module, "__file__", "")).startswith(WATCHED):
                continue
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", int)()

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def called(self, function: str) -> None:
        if self.test or _at_import(sys._getframe(1)):
            self.calls.setdefault(function, set()).add(self.test)


def _at_import(frame: types.FrameType | None) -> bool:
    """Whether a call was made by a module of the product while it was imported, not by a file of tests."""
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(WATCHED)


def _put_in_place(module: types.ModuleType, function: str, code: types.CodeType) -> None:
    """Give a module's function, `name` or `Class.name`, the code that it has in another compilation of the module."""
    inside, found = [code], []
    while inside:
        each = inside.pop()
        inside += [constant for constant in each.co_consts if isinstance(constant, types.CodeType)]
        found += [each] if each.co_qualname == function else []
    (faulty_code,) = found
    place: Any = module
    for part in function.split("."):
        place = vars(place)[part]
    for wrapped in ("fget", "__func__", "func"):
        place = getattr(place, wrapped, place)
    inspect.unwrap(place).__code__ = faulty_code


def _run(session, items) -> int:
    """0 where all these tests pass; ends with the first that fails."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return NOTICED
    return 0


class _Imports(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports some modules from other sources than their files hold."""

    def source(self, path: Path) -> str | None:
        """What to import in place of a file; None for the file itself."""
        raise NotImplementedError

    def find_spec(self, name, path=None, target=None):
        file = Path(self.get_filename(name))
        if not file.is_file() or self.source(file) is None:
            return None
        folders = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file, loader=self, submodule_search_locations=folders)

    def get_filename(self, name):
        file = ROOT.joinpath(*name.split("."))
        return str(file / "__init__.py" if file.is_dir() else file.with_suffix(".py"))

    def get_data(self, path):
        return self.source(Path(path)).encode()

    def path_stats(self, path):
        raise OSError("never from a cache")


class _Faulty(_Imports):
    """One module with a fault."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def source(self, path: Path) -> str | None:
        return _faulty_source(self.mutant) if path == self.mutant.path else None


class _Watched(_Imports):
    """The modules that faults are made in, with each function saying when it is called."""

    def __init__(self, watch: _Watch) -> None:
        builtins._called = watch.called

    def source(self, path: Path) -> str | None:
        if not str(path).startswith(WATCHED):
            return None
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, function in functions(tree):
            said = ast.parse(f"_called({f'{path}:{name}'!r})").body
            function.body[bool(ast.get_docstring(function)) : 0] = said
        return ast.unparse(ast.fix_missing_locations(tree))


def _fresh(mutant: Mutant) -> int:
    """In a child that has not imported the module yet: 0 where all tests pass."""
    sys.meta_path.insert(0, _Faulty(mutant))
    if mutant.path == SERVICE:
        return _pytest([SERVICE_TESTS])
    own = _own_tests(mutant.path)
    for first in (True, False):
        rc = _pytest([file for file in _files() if (file.name == own) is first])
        if rc:
            return rc
    return 0


def _faulty_source(mutant: Mutant) -> str:
    return faulty(mutant.path.read_text(encoding="utf-8"), mutant.position, mutant.fault)


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _own_tests(path: Path) -> str:
    return BESIDE[path].name if path in BESIDE else f"{NAMED.get(path.stem, f'test_{path.stem}')}.py"


def _files() -> list[Path]:
    """All files of tests, the quick ones before the slow."""
    slow = ("test_resize", "test_overlay", "test_sheet", "test_marks")
    files = [file for file in TESTS.rglob("test_*.py") if file.name not in LEFT_OUT]
    return sorted([*set(BESIDE.values()), *files], key=lambda file: (file.stem in slow, file.name))


def _pytest(files: list[Path], *plugins: object) -> int:
    """0 where all tests of some files pass, and where there are none."""
    import pytest

    if not files:
        return 0
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1), os.dup2(devnull, 2)
    options = ["-o", "addopts=", "-x", "-q", "-s", "-p", "no:cacheprovider", "--tb=no", "--no-header"]
    rc = int(pytest.main([*options, *map(str, files)], plugins=plugins))
    return 0 if rc == pytest.ExitCode.NO_TESTS_COLLECTED else rc
