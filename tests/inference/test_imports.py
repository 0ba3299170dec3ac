"""What shortens an import changes nothing else, and ends with it."""

import contextlib
import gc
import inspect
import subprocess
import sys

import gradio
import pytest
from gradio import component_meta

from inference.imports import heavy_imports, without_stubs


def test_gradio_parses_none_of_its_sources_and_whoever_else_asks_finds_a_file(monkeypatch: pytest.MonkeyPatch):
    parsed: list[str] = []
    monkeypatch.setattr(component_meta, "extract_class_source_code", lambda code, name: parsed.append(name) or ("", 0))
    with without_stubs():
        component_meta.create_or_modify_pyi(gradio.Textbox, "Textbox", [])
        assert inspect.getfile(gradio) == gradio.__file__
        assert inspect.getfile(inspect.Signature) == inspect.__file__
    assert parsed == []
    with pytest.raises(ValueError, match="class source"):
        component_meta.create_or_modify_pyi(gradio.Textbox, "Textbox", [])
    assert parsed == ["Textbox"]


IMPORTS = """
import gc, sys
sys.path.insert(0, sys.argv[1])
from inference.imports import heavy_imports, process_is_ours
OURS = sys.argv[2] == "ours"
if OURS:
    process_is_ours()
assert gc.get_freeze_count() == 0
collections = sum(generation["collections"] for generation in gc.get_stats())
with heavy_imports():
    import something_large
    assert sum(generation["collections"] for generation in gc.get_stats()) == collections
assert gc.isenabled()
frozen = gc.get_freeze_count()
assert frozen > 100_000 if OURS else frozen == 0, frozen
later = [[] for _ in range(1000)]
with heavy_imports():
    import something_large
assert gc.get_freeze_count() <= frozen
"""


@pytest.mark.parametrize("whose", ["ours", "others'"])
def test_what_is_imported_is_walked_by_no_collection_and_what_comes_later_is(tmp_path, whose: str):
    """Meanwhile in every process; afterwards only where nobody else's garbage would be kept with it."""
    (tmp_path / "something_large.py").write_text("objects = [[number] for number in range(200_000)]\n")
    subprocess.run([sys.executable, "-c", IMPORTS, tmp_path, whose], check=True)


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_is_afterwards_what_it_was(collecting: bool):
    assert gc.isenabled()
    if not collecting:
        gc.disable()
    try:
        with contextlib.suppress(ModuleNotFoundError), heavy_imports():
            assert not gc.isenabled()
            raise ModuleNotFoundError
        assert gc.isenabled() == collecting
    finally:
        gc.enable()
