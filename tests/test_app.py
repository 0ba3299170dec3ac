"""The page as it is laid out, bound and started: over the scripted backend, without a browser."""

import re
from pathlib import Path

import gradio as gr

from inference.service.handlers import Handlers
from inference.settings import Settings
from tests.built_page import app, build
from tests.scripted_backend import ScriptedBackend


def test_every_handler_that_needs_the_visit_is_given_it():
    """Gradio hands the request to a parameter annotated with its class, and to no other."""
    for name in ("leave", "receive", "analyze", "analyze_again", "stop", "record", "replay"):
        assert getattr(Handlers, name).__annotations__["request"] is gr.Request


def test_no_template_of_the_page_has_a_place_for_a_value():
    demo = build(Settings(model="scripted"), ScriptedBackend)
    parts = [block for block in demo.blocks.values() if type(block).__name__ == "HTML"]
    assert len(parts) >= 6
    for part in parts:
        own = (part.elem_id or "").startswith("part-")
        assert part.html_template == "" if own else part.js_on_load is None
        if not own:
            assert "${" not in part.value
            assert "{{" not in part.value


def test_no_script_takes_markup_from_a_value():
    for path in [Path(app.FOLDER) / "page.js", *sorted((app.FOLDER.parent / "viewer").glob("*.js"))]:
        script = path.read_text(encoding="utf-8")
        taken = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
        assert not re.search(taken, script), path
        assert "://" not in script.replace("http://www.w3.org/2000/svg", ""), path  # a name, not an address


def test_the_launch_keeps_visitors_apart_from_files_and_each_other():
    demo = build(Settings(model="scripted", auth="me:pass:word", host="0.0.0.0", port=7999), ScriptedBackend)
    options = demo.launch_options()
    assert options["auth"] == ("me", "pass:word")
    assert (options["server_name"], options["server_port"]) == ("0.0.0.0", 7999)
    assert options["run_history"] is False
    assert options["ssr_mode"] is False
    assert "allowed_paths" not in options
    assert demo.delete_cache is not None


def test_only_named_endpoints_are_public():
    demo = build(Settings(model="scripted"), ScriptedBackend)
    public = {fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public" and fn.api_name}
    assert {"analyze", "explain", "adapters", "layers"} == public
