"""Pictures that come in through the page: checked at once, decoded once, gone with their session."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference.demo import EXAMPLE_SCREENS
from inference.service.decoder import Decoder
from inference.settings import Limits, Settings
from tests.built_page import build_handlers
from tests.conftest import picture
from tests.inference.service.events import (
    analyze,
    is_skipped,
    page_over,
    upload,
    visitor,
)
from tests.scripted_backend import ScriptedBackend


def test_a_file_that_is_no_image_is_taken_away_with_the_reason(page: Any, uploads: Path):
    image, notice = page.receive(upload(uploads, "<b>.png", content=b"no image"), visitor())
    assert image is None
    assert notice["kind"] == "error"
    assert "not an image that can be read" in notice["sentence"]


def test_a_huge_picture_is_refused_before_it_is_decoded(uploads: Path):
    page = page_over(ScriptedBackend(), limits=Limits(max_pixels=100))
    image, notice = page.receive(upload(uploads), visitor())
    assert image is None
    assert "the limit is 100" in notice["sentence"]


def test_a_good_picture_stays(page: Any, uploads: Path):
    image, notice = page.receive(upload(uploads), visitor())
    assert is_skipped(image)
    assert notice is None


def test_an_uploaded_picture_goes_with_its_visit_and_no_other_file_does(page: Any, uploads: Path):
    own, others = upload(uploads, "own.png"), upload(uploads, "others.png")
    broken, shipped = upload(uploads, "broken.png", content=b"no image"), upload(uploads, "shipped.png")
    page.service.uploads.ship([Path(shipped["path"])])
    page.service.uploads.add("192.0.2.1", [Path(each["path"]) for each in (own, broken, shipped)])
    for image in (own, others, broken, shipped):  # a visitor may name any file that lies here
        page.receive(image, visitor())
    page.leave(visitor())
    assert sorted(path.name for path in uploads.iterdir()) == ["others.png", "shipped.png"]


def test_what_was_done_to_a_picture_is_said(page: Any, uploads: Path):
    see_through = picture(64, 96).convert("RGBA")
    see_through.putalpha(128)
    buffer = io.BytesIO()
    see_through.save(buffer, "PNG")
    _, notice = page.receive(upload(uploads, content=buffer.getvalue()), visitor())
    assert notice["kind"] == "info"
    assert "laid on white" in notice["sentence"]


@pytest.mark.parametrize("index", [None, -1, 99, "0", 1.0])
def test_an_example_that_does_not_exist_changes_nothing(page: Any, index: Any):
    assert all(is_skipped(value) for value in page.example(SimpleNamespace(_data={"index": index})))


def test_an_example_fills_the_input_column(backend: ScriptedBackend):
    page = build_handlers(Settings(), lambda: backend)
    chosen = page.example(SimpleNamespace(_data={"index": 0}))
    assert chosen.image.size == page.examples[0].image.size
    assert (chosen.prompt, chosen.adapter) == (EXAMPLE_SCREENS[0].prompt, [EXAMPLE_SCREENS[0].adapter])
    photo = page.example(SimpleNamespace(_data={"index": len(page.examples) - 1}))
    assert photo.prompt == "Describe the image."
    assert is_skipped(photo.adapter)


def test_a_photo_is_decoded_once_from_its_arrival_to_its_last_question(
    page: Any, backend: ScriptedBackend, uploads: Path, monkeypatch: pytest.MonkeyPatch
):
    decoded: list[int] = []
    real = Decoder.decode
    monkeypatch.setattr(Decoder, "decode", lambda *given: decoded.append(1) or real(*given))
    image = upload(uploads)
    page.receive(image, visitor())
    analyze(page, image)
    analyze(page, image, prompt="And here?")
    assert decoded == [1]
    assert backend.requests[0].image is backend.requests[1].image
    analyze(page, image, visitor("two"))
    assert decoded == [1, 1]
