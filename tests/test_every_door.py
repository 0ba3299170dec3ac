"""What was done to a photo is said in its result once, by whichever door it came: Python, page, HTTP, batch, Modal."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from inference import Backend, Comparison, Request, Settings, open_backend
from inference.batch.__main__ import main as batch
from inference.serialization import pack_comparison, pack_request, unpack_comparison, unpack_request
from inference.service.exports import Exports
from tests.built_page import build_handlers, build_server
from tests.conftest import picture
from tests.inference.service.events import look, scene

TURNED = "The photo was turned upright (EXIF orientation)."


@pytest.fixture(scope="module")
def engine() -> Iterator[Backend]:
    backend = open_backend("local", model="demo", device="cpu")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def sideways() -> bytes:
    """A phone's photo: 96 × 64 as it stands in the file, to be turned clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture(64, 96).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def through_python(engine: Backend, content: bytes, folder: Path) -> Comparison:
    return engine.compare(Request(Image.open(io.BytesIO(content)), "What?", max_new_tokens=2))


def through_the_page(engine: Backend, content: bytes, folder: Path) -> Comparison:
    page = build_handlers(Settings(), lambda: engine)
    visitor = SimpleNamespace(session_hash="one", client=SimpleNamespace(host="192.0.2.1"))
    (folder / "uploads").mkdir(exist_ok=True)
    (folder / "uploads" / "photo.png").write_bytes(content)
    image = {"path": str(folder / "uploads" / "photo.png")}
    _, notice = page.receive(image, visitor)
    assert notice["sentence"] == TURNED
    *_, done = page.analyze(visitor, image, "What?", "", [], "base", "adapter", 2, 1, [], None)
    assert scene(page, done)["warnings"].count(TURNED) == 1
    saved, _ = Exports(page.service).numbers(done.key, look(page, done), visitor)
    path = folder / "saved.npz"
    path.write_bytes(base64.b64decode(saved["source"].partition(",")[2]))
    return Comparison.load(path)


def through_http(engine: Backend, content: bytes, folder: Path) -> Any:
    with TestClient(build_server(Settings(), lambda: engine)) as client:
        fields = {"prompt": "What?", "max_new_tokens": "2"}
        answer = client.post("/api/analyze", files={"image": content}, data=fields).json()
    return SimpleNamespace(notes=tuple(answer["notes"]), image_size=tuple(answer["image_size"]), image=None)


def through_a_batch(engine: Backend, content: bytes, folder: Path) -> Comparison:
    (folder / "in").mkdir()
    (folder / "in" / "photo.png").write_bytes(content)
    arguments = [str(folder / "in"), "--prompt", "What?", "--max-new-tokens", "2", "--out", str(folder / "out")]
    staying = SimpleNamespace(
        adapters=engine.adapters,
        model_info=engine.model_info,
        compare_many=engine.compare_many,
        close=lambda: None,
    )
    assert batch(arguments, {}, open_=lambda settings: staying, stream=io.StringIO()) == 0
    (saved,) = (folder / "out").glob("*.npz")
    return Comparison.load(saved)


def through_the_wire(engine: Backend, content: bytes, folder: Path) -> Comparison:
    """As Modal's caller and container do it; the container's own run is held in tests/inference/cloud."""
    request = Request(Image.open(io.BytesIO(content)), "What?", max_new_tokens=2)
    answered = engine.compare(unpack_request(pack_request(request)))
    return unpack_comparison(pack_comparison(answered, float32=True), request.image.pixels)


@pytest.mark.parametrize("door", [through_python, through_the_page, through_http, through_a_batch, through_the_wire])
def test_that_a_photo_was_turned_upright_is_said_once_and_it_is_upright(
    engine: Backend,
    sideways: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    door: Callable[[Backend, bytes, Path], Comparison],
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    comparison = door(engine, sideways, tmp_path)
    assert comparison.notes.count(TURNED) == 1
    assert comparison.image_size == (96, 64)
    if comparison.image is not None:
        assert np.array_equal(comparison.image, np.rot90(np.asarray(picture(64, 96)), -1))


def test_a_saved_run_keeps_what_was_done_to_its_photo(engine: Backend, sideways: bytes, tmp_path: Path):
    comparison = through_python(engine, sideways, tmp_path)
    comparison.save(tmp_path / "run.npz")
    assert Comparison.load(tmp_path / "run.npz").notes == comparison.notes
    with np.load(tmp_path / "run.npz") as file:
        assert TURNED in json.loads(file["header"].tobytes())["notes"]
