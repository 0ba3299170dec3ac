"""`modal run` as a smoke test from a terminal, and the page over Modal."""

import re

import numpy as np
import pytest
from PIL import Image

from inference import Comparison
from inference.demo import EXAMPLE_SCENES
from inference.photo import decode_photo
from inference.settings import Limits
from tests.inference.cloud.conftest import run_modal


@pytest.mark.slow
def test_modal_run_writes_the_overlays_and_prints_the_numbers(cloud, local, ask, tmp_path):
    photo = tmp_path / "scene.png"
    EXAMPLE_SCENES[0].draw().image.save(photo)
    arguments = ["--image", str(photo), "--adapter", "find-red,find-circle", "--out", str(tmp_path / "out")]
    done = run_modal(cloud, "run", "-m", "inference.remote", *arguments, MODEL="demo", MODAL_FLOAT32="1")
    print(done.stdout)
    assert "find-red answers: red cross" in done.stdout
    assert re.search(r"find-red: image share \d+\.\d % · entropy", done.stdout)
    assert re.search(r"find-circle − base: ", done.stdout)
    for name in ("find-red", "find-circle"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width > 1_000
    saved = Comparison.load(tmp_path / "out" / "comparison.npz")
    image = decode_photo(photo.read_bytes(), Limits())
    expected = local.compare(
        ask(image=image, prompt="Describe the image.", adapters=(None, "find-red", "find-circle"), max_new_tokens=32)
    )
    assert np.array_equal(saved.recordings[1].by_token, expected.recordings[1].by_token)


@pytest.mark.slow
def test_modal_run_says_in_a_line_what_is_wrong(cloud, tmp_path):
    done = run_modal(
        cloud, "run", "-m", "inference.remote", "--image", str(tmp_path / "no.png"), MODEL="demo", fails=True
    )
    assert done.returncode != 0
    assert "No such file" in done.stdout + done.stderr
    (tmp_path / "a.png").write_bytes(b"no picture")
    done = run_modal(
        cloud, "run", "-m", "inference.remote", "--image", str(tmp_path / "a.png"), MODEL="demo", fails=True
    )
    assert "is not an image that can be read" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_variable_that_cannot_be_read_is_said_in_a_line(cloud):
    arguments = ("run", "-m", "inference.remote", "--image", "a.png")
    done = run_modal(cloud, *arguments, MODEL="demo", MODAL_TIMEOUT="abc", fails=True)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "error: VISUALIZER_MODAL_TIMEOUT must be a number, not 'abc'." in said
    assert "Traceback" not in said
