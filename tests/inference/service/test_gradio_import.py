"""Gradio is imported without the stubs that it keeps for editors, and everything else is as it was."""

import inspect

import gradio
import pytest
from gradio import component_meta

from inference.service.gradio_import import without_stubs


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
