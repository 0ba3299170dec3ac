"""Files that a person keeps: what is in them, and what they are called."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inference.records import Comparison
from inference.request import Request
from inference.service.exports import Exports
from tests.conftest import picture
from tests.inference.service.events import (
    FIRST_ANSWER,
    analyze,
    look,
    upload,
    visitor,
)
from tests.scripted_backend import ANSWER, LAYERS, ScriptedBackend
from tests.scripted_backend import comparison as scripted
from tests.visualize.report_read import Page


def saved_numbers(page: Any, done: Any, folder: Path, **changes: Any) -> Comparison:
    file, refused = Exports(page.service).numbers(done.key, look(page, done, **changes), visitor())
    assert refused is None
    path = folder / file["name"]
    path.write_bytes(base64.b64decode(file["source"].partition(",")[2]))
    return Comparison.load(path)


def opened(file: Any) -> Any:
    return Image.open(io.BytesIO(base64.b64decode(file["source"].partition(",")[2])))


def test_the_saved_numbers_hold_what_was_shown_and_the_heads_of_the_token_that_was_looked_at(
    page: Any, backend: ScriptedBackend, uploads: Path, tmp_path: Path
):
    done = analyze(page, upload(uploads))[-1]
    kept = page.service.results.get("one", done.key).comparison
    own = saved_numbers(page, done, tmp_path, token=FIRST_ANSWER)
    np.testing.assert_array_equal(own.recordings[1].by_head, kept.recordings[1].by_head)
    assert len(backend.requests) == 1
    other = saved_numbers(page, done, tmp_path, token=FIRST_ANSWER + 2)
    asked = Request(picture(64, 96), "What is here?", adapters=(None, "find-red"), focus=(FIRST_ANSWER + 2,))
    for recording, expected in zip(other.recordings, scripted(asked).recordings, strict=True):
        assert recording.focus == (FIRST_ANSWER + 2,)
        assert recording.answer == "".join(ANSWER)
        np.testing.assert_array_equal(recording.by_head, expected.by_head)
        np.testing.assert_array_equal(recording.by_token, expected.by_token)
    assert not np.array_equal(other.recordings[1].by_head, kept.recordings[1].by_head)


def test_a_saved_file_is_named_after_adapter_token_and_layer(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    controls = look(page, done, token=FIRST_ANSWER, layer=2, head=1)
    exports = Exports(page.service)
    picture_, _ = exports.pictures(done.key, controls, visitor())
    numbers, _ = exports.numbers(done.key, controls, visitor())
    for file, ending in ((picture_, "png"), (numbers, "npz")):
        assert re.fullmatch(rf"attention-base-find-red-token-{FIRST_ANSWER}-.*layer-2-head-1\.{ending}", file["name"])


def test_the_saved_pictures_are_a_png(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    exports = Exports(page.service)
    first, _ = exports.pictures(done.key, look(page, done), visitor())
    second, _ = exports.pictures(done.key, look(page, done), visitor())
    assert base64.b64decode(first["source"].partition(",")[2]).startswith(b"\x89PNG")
    assert second["serial"] > first["serial"]
    assert exports.pictures("", look(page, done), visitor())[0] is None


def test_a_film_goes_through_all_layers_and_a_picture_alone_is_the_difference(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    exports, at = Exports(page.service), look(page, done)
    film, refused = exports.film(done.key, at, visitor())
    assert refused is None
    assert film["name"].endswith(".webp")
    assert opened(film).n_frames == LAYERS
    whole, alone = exports.pictures(done.key, at, visitor())[0], exports.picture(done.key, at, visitor())[0]
    assert opened(whole).width > 2 * opened(alone).width
    assert alone["name"] == whole["name"].removesuffix(".png") + ".one-picture.png"


def test_a_report_opens_on_what_was_looked_at_with_its_heads(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    token = FIRST_ANSWER + 2
    at = look(page, done, token=token, layer=2, colormap="magma")
    file, refused = Exports(page.service).report(done.key, at, visitor())
    assert refused is None
    assert re.fullmatch(rf"attention-base-find-red-token-{token}-.*layer-2\.html", file["name"])
    shown = Page(base64.b64decode(file["source"].partition(",")[2]).decode()).about()["scene"]
    opening = shown["opening"]
    assert (opening["token"], opening["layer"], opening["colormap"]) == (token, 2, "magma")
    assert shown["recorded"] == [token]
    assert [row["text"] for row in shown["answers"]] == ["".join(ANSWER)] * 2
