"""The rooms and the direction of imports."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "peft", "gradio", "modal"}
ALLOWED = {  # heavy packages that a room may import at its top, see the table of rooms in the README
    "inference/adapter_files.py": set(),
    "inference/adapters.py": {"torch", "peft"},
    "inference/capture.py": {"torch", "transformers"},
    "inference/checkpoint.py": {"torch", "transformers"},
    "inference/engine.py": {"torch"},
    "inference/kept.py": {"torch", "transformers"},
    "inference/passes.py": {"torch", "transformers"},
    "inference/modal_backend.py": {"modal"},
    "inference/remote.py": {"modal"},
    "app.py": {"gradio"},
}


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_importing_the_records_and_the_drawing_loads_no_framework():
    _run("import inference, visualize, sys; assert not {'torch', 'gradio', 'modal'} & set(sys.modules)")


def test_importing_the_page_loads_no_model_code():
    _run("import app, sys; assert not {'torch', 'transformers', 'modal'} & set(sys.modules)")


def test_the_page_over_modal_loads_no_model_code():
    _run(
        "import os, sys; os.environ['VISUALIZER_BACKEND'] = 'modal'; import app, inference.modal_backend\n"
        "assert app.demo.handlers.desk.settings.backend == 'modal'\n"
        "assert not {'torch', 'transformers', 'peft', 'inference.remote'} & set(sys.modules)"
    )


def test_the_lists_for_spaces_hold_the_packages_own_pins():
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    whole, light = ((ROOT / f"requirements{kind}.txt").read_text().split() for kind in ("", "-modal"))
    assert set(whole) == {pin for pin in pins if not pin.startswith("gradio")}  # a Space brings its own Gradio
    assert set(light) < set(whole)


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("inference/*.py")))
def test_each_room_imports_only_what_it_may(path: str):
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported & HEAVY <= ALLOWED.get(path, set())
    assert "app" not in imported


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("visualize/*.py")))
def test_drawing_knows_only_records_and_errors(path: str):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert name.split(".")[0] not in HEAVY | {"app"}
            assert not name.startswith("inference.") or name in ("inference.records", "inference.errors"), name
