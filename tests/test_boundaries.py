"""The rooms and the direction of imports."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inference.cloud.image import requirements
from tests import ROOT

HEAVY = {"torch", "transformers", "peft", "gradio", "modal"}
#: Heavy packages that a file may import at its top; what is not listed imports none.
ALLOWED = {
    "inference/adapters/controls.py": {"torch", "peft"},
    "inference/adapters/attach.py": {"torch", "peft"},
    "inference/adapters/fit.py": {"torch", "peft"},
    "inference/adapters/manager.py": {"torch", "peft"},
    "inference/adapters/weights.py": {"torch"},
    "inference/model/attribution.py": {"torch"},
    "inference/model/measured_row.py": {"torch"},
    "inference/model/knockout.py": {"torch"},
    "inference/model/replays.py": {"torch"},
    "inference/model/capture.py": {"torch", "transformers"},
    "inference/model/checkpoint.py": {"torch", "transformers"},
    "inference/model/engine.py": {"torch"},
    "inference/model/cache.py": {"torch", "transformers"},
    "inference/model/extra_views.py": {"torch"},
    "inference/model/forced_attention.py": {"torch"},
    "inference/model/image_input.py": {"transformers"},
    "inference/model/passes.py": {"torch", "transformers"},
    "inference/model/recorders.py": {"torch"},
    "inference/model/variant_pass.py": {"torch"},
    "inference/cloud/calls.py": {"modal"},
    "inference/cloud/failures.py": {"modal"},
    "inference/cloud/image.py": {"modal"},
    "inference/remote.py": {"modal"},
    "inference/service/cards.py": {"gradio"},
    "inference/service/endpoints.py": {"gradio"},
    "inference/service/exports.py": {"gradio"},
    "inference/service/handlers.py": {"gradio"},
    "inference/service/page_events.py": {"gradio"},
    "inference/service/uploads.py": {"gradio"},
    "inference/service/view.py": {"gradio"},
    "app.py": {"gradio"},
}
#: The caller's room has files of the container's, too.
CONTAINERS = {f"inference/cloud/{name}.py" for name in ("event_sender", "image", "mounted_adapters")}
#: Beside the service, the files that may import `visualize`, and that late: what draws nothing does not load it.
DRAW_LATE = {
    "inference/batch/measures.py",
    "inference/batch/set_files.py",
    "inference/cloud/terminal.py",
    "inference/records.py",
}
#: What of `inference` drawing knows.
BENEATH_DRAWING = (
    "inference.boxes",
    "inference.descriptions",
    "inference.errors",
    "inference.focus",
    "inference.explanations",
    "inference.measures",
    "inference.places",
    "inference.recording",
    "inference.records",
    "inference.said",
)
#: What a page that only calls Modal does without.
ENGINE = {"torch", "transformers", "peft", "safetensors", "tokenizers"}
#: Rooms of `inference` from the ground up: a file imports only from its own room and from rooms before it.
ROOMS = ("", "demo", "adapters", "model", "cloud", "batch", "service")


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_importing_the_records_and_the_drawing_loads_no_framework():
    _run("import inference, visualize, sys; assert not {'torch', 'gradio', 'modal'} & set(sys.modules)")


@pytest.mark.slow
def test_the_page_here_and_over_modal_loads_no_model_code():
    _run(
        "import sys; parsed = []\n"
        "sys.setprofile(lambda frame, event, given: parsed.append(frame) if (event, frame.f_code.co_name)"
        " == ('call', 'extract_class_source_code') else None)\n"
        "import app; sys.setprofile(None); assert len(parsed) < 20  # of Gradio's own source, whose components are 80\n"
        "assert not {'torch', 'transformers', 'modal'} & set(sys.modules)\n"
        "import importlib, os; os.environ['VISUALIZER_BACKEND'] = 'modal'\n"
        "importlib.reload(app); import inference.cloud.backend\n"
        "assert app.demo.handlers.service.settings.backend == 'modal'\n"
        "assert not {'torch', 'transformers', 'peft', 'inference.remote'} & set(sys.modules)"
    )


def test_the_lists_for_spaces_hold_the_packages_own_pins():
    pins = _pins()
    whole, light = ((ROOT / f"requirements{kind}.txt").read_text().split() for kind in ("", "-modal"))
    assert whole == [pin for pin in pins if _name(pin) != "gradio"]  # a Space brings its own Gradio
    assert light == [pin for pin in whole if _name(pin) not in ENGINE]


FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("inference/**/*.py") if "training" not in path.parts)


def _imports(path: str, *, late: bool = False) -> set[str]:
    """Full names that a file imports: at its top, or anywhere."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    return found


def _pins() -> list[str]:
    pins: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return pins


def _name(pin: str) -> str:
    return canonicalize_name(Requirement(pin).name)


def _packages(paths: Iterable[str]) -> dict[str, str]:
    """What these files import, at their tops or late, of others' packages: distribution → one file that does."""
    distributions = packages_distributions()
    found: dict[str, str] = {}
    for path in paths:
        for name in {name.split(".")[0] for name in _imports(path, late=True)}:
            if name not in {*sys.stdlib_module_names, "inference", "visualize", "tests", "app"}:
                found[canonicalize_name(distributions.get(name, [name])[0])] = path
    return found


def test_every_package_that_is_imported_is_declared_and_every_declared_one_is_imported():
    """`gradio` and the like bring many packages along, and may cease to."""
    files = [path for room in ("inference", "visualize") for path in ROOT.glob(f"{room}/**/*.py")]
    paths = [str(path.relative_to(ROOT)) for path in files]
    assert _packages(["app.py", *paths]).keys() == {_name(pin) for pin in _pins()}


def test_every_package_that_the_tests_import_is_declared():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    declared = {_name(pin) for pin in [*_pins(), *extra["test"]]}
    of_modal = {_name(pin) for pin in requires("modal") or ()}  # what the cloud's stand-in speaks with
    used = _packages(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/*.py"))
    assert used.keys() - declared - of_modal <= {"torchvision"}, used  # which a program apart imports


def test_the_installed_packages_are_those_that_are_declared():
    for pin in map(Requirement, _pins()):
        assert pin.specifier.contains(version(pin.name), prereleases=True), pin


def test_the_container_has_every_package_that_it_imports():
    needed = [path for path in FILES if path.split("/")[1] not in ("cloud", "service", "batch") or path in CONTAINERS]
    missing = _packages(needed).keys() - {_name(pin) for pin in requirements()}
    assert missing == {"modal"}  # which Modal's own image has


@pytest.mark.parametrize("path", FILES)
def test_each_file_imports_only_the_frameworks_it_may(path: str):
    packages = {name.split(".")[0] for name in _imports(path)}
    assert packages & HEAVY <= ALLOWED.get(path, set()) | ({"torch", "transformers"} if "/demo/" in path else set())
    assert "app" not in packages


def test_how_long_an_answer_is_where_nobody_says_is_decided_once():
    written = re.compile(r"\b(max_new_tokens: \w+|NEW_TOKENS) = \d")
    found = [path for path in [*FILES, "app.py"] if written.search((ROOT / path).read_text(encoding="utf-8"))]
    assert found == ["inference/request.py"]


@pytest.mark.parametrize("path", FILES)
def test_no_import_runs_up(path: str):
    room = ROOMS.index(_room(path.removesuffix(".py").split("/")))
    for name in _imports(path):
        if name.split(".")[0] == "inference":
            assert ROOMS.index(_room(name.split("."))) <= room, name
        assert name.split(".")[0] != "visualize" or path.startswith("inference/service/"), name


#: What drawing may know of `inference`.
#: Rooms of `visualize` from the ground up; the package's own face and the routes' JSON stand above them all.
DRAWING = ("json_values", "numbers", "pictures", "findings", "stacks", "report", "page", "analysis_json", "__init__")


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("visualize/**/*.py")))
def test_no_import_runs_up_in_drawing(path: str):
    room = DRAWING.index(Path(path).with_suffix("").parts[1])
    for name in _imports(path):
        if name.startswith("visualize."):
            assert DRAWING.index(name.split(".")[1]) <= room, name


def test_few_files_know_drawing_too():
    late = {path for path in FILES if any(name.split(".")[0] == "visualize" for name in _imports(path, late=True))}
    assert {path for path in late if not path.startswith("inference/service/")} == DRAW_LATE


def _room(parts: list[str]) -> str:
    """Which room a file or a module is of; `inference/remote.py` is the deployed side of the cloud's."""
    if parts[1:] == ["remote"]:
        return "cloud"
    return parts[1] if len(parts) > 2 or (len(parts) == 2 and parts[1] in ROOMS) else ""


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("visualize/**/*.py")))
def test_drawing_knows_only_records_and_errors(path: str):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert name.split(".")[0] not in HEAVY | {"app"}
            assert not name.startswith("inference.") or name in BENEATH_DRAWING, name


def test_no_module_is_hidden_by_a_package_of_its_name():
    """Python imports the package: commands that meant the module fail, and nobody else."""
    files = [path for room in ("inference", "visualize", "tests") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 300
    assert [path for path in files if (path.with_suffix("") / "__init__.py").exists()] == []
