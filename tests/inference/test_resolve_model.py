"""What a base model's name means, and what is said of one that cannot be loaded."""

import os
import subprocess
import sys

import pytest

from inference.demo import MODEL_DIR
from inference.resolve_model import resolve_model
from tests import ROOT

OPEN_EACH = """
import logging, sys
from inference import VisualizerError, open_backend
from inference.logs import set_up
set_up(logging.INFO)  # as the page does
for model in sys.argv[1:]:
    try:
        open_backend("local", model=model, device="cpu")
    except VisualizerError as error:
        print(f"error: {error}")
"""


def test_a_name_is_the_embedded_model_a_folder_or_an_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    demo, folder, relative, hub, nothing = map(
        resolve_model, ("demo", str(tmp_path / "mine"), "mine", "Qwen/Qwen3-VL-2B-Instruct", "")
    )
    assert (demo.id, demo.source, demo.is_demo, demo.is_own_folder) == ("demo", str(MODEL_DIR), True, False)
    assert (folder.id, folder.source, folder.is_own_folder) == ("mine", str(tmp_path / "mine"), True)
    assert (relative.id, relative.source, relative.is_own_folder) == ("mine", "mine", True)
    assert (hub.id, hub.source, hub.folder) == ("Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-2B-Instruct", None)
    assert (nothing.id, nothing.folder) == ("", None)


def test_a_folder_called_demo_is_not_the_embedded_model_and_can_be_named_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_model("demo").is_demo
    assert not resolve_model("./demo").is_demo
    assert resolve_model("./demo").is_own_folder


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_one_sentence_and_in_the_log_its_reason_in_a_line(tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "qwen3_vl"}')
    models = [str(tmp_path / "nowhere"), "nobody/nothing", str(broken), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", OPEN_EACH, *models],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line.partition(" '")[0] for line in done.stdout.splitlines()] == [
        "error: There is no folder",
        *["error: The model"] * 3,
    ]
    said = [line.partition("INFO inference.model.checkpoint: loading ") for line in done.stderr.splitlines()]
    reasons = (
        "'nobody/nothing' failed: OSError: We couldn't connect",
        f"{str(broken)!r} failed: OSError: Can't load image processor",
        f"{str(tmp_path)!r} failed: ValueError: Unrecognized model",
    )
    for (before, _, told), reason in zip(said, reasons, strict=True):
        assert (before, told[: len(reason)]) == ("", reason)
