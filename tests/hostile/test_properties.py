"""Whatever the readers of pictures, questions, boxes, files and adapters get: a value, or an error of the tree."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import Comparison, Request
from inference.adapters.files import AdapterSource, read_adapter
from inference.boxes import as_boxes, on_photo, text_of
from inference.conversation import Conversation
from inference.errors import AdapterRefusedError, ImageError, InputError, SelectionError, VisualizerError
from inference.photo import Photo, decode_photo
from inference.request import MAX_SCALE, digest
from inference.serialization import (
    pack_comparison,
    pack_request,
    unpack_comparison,
    unpack_explanation,
    unpack_question,
    unpack_request,
)
from inference.service.fields import parse
from inference.service.page_form import PageForm, with_answer
from inference.service.schema import AnalyzeFields, ExplainFields
from inference.settings import Limits
from tests.conftest import picture
from tests.hostile.adapter_folders import GOOD, KEYS, WEIGHTS
from tests.hostile.damage import DAMAGES
from tests.hostile.valid_images import valid_images
from tests.hostile.values import anything, numbers, texts
from tests.visualize import factory
from visualize.page import Choice
from visualize.stacks.stack_choice import StackChoice

LIMITS = Limits(max_pixels=1_000_000)
PICTURES = [content for _, _, content in valid_images(7)]
COMPARISON = factory.comparison()
seeds = st.integers(0, 2**32 - 1)


def said(error: VisualizerError) -> str:
    """An error's sentence: short, and sendable."""
    sentence = str(error)
    assert error.message
    assert len(sentence) < 2_000
    assert "object at 0x" not in sentence
    json.dumps(sentence, ensure_ascii=False).encode("utf-8")
    return sentence


@given(
    st.one_of(st.binary(max_size=200), st.sampled_from(PICTURES)),
    st.sampled_from(sorted(DAMAGES)),
    seeds,
    st.integers(0, 3),
)
def test_bytes_are_a_photo_or_an_image_error(content: bytes, kind: str, seed: int, times: int):
    rng = np.random.default_rng(seed)
    for _ in range(times):
        content = DAMAGES[kind](content, rng)
    try:
        photo = decode_photo(content, LIMITS)
    except ImageError as error:
        said(error)
        return
    height, width = photo.size
    assert photo.pixels.shape == (height, width, 3)
    assert 0 < height * width <= LIMITS.max_pixels
    assert sorted(photo.original_size) == sorted(photo.size)
    assert not photo.pixels.flags.writeable


PHOTO = Photo(np.frombuffer(bytes(48 * 32 * 3), np.uint8).reshape(48, 32, 3), (), (48, 32))
OPTIONS = [
    *("prompt", "system", "adapters", "answer_from", "answer", "focus", "max_new_tokens", "max_image_tokens"),
    *("scale", "modules", "vision_tower", "views"),
]


@given(st.dictionaries(st.sampled_from(OPTIONS), anything, max_size=6))
def test_a_request_is_well_formed_or_refused(options: dict[str, Any]):
    try:
        request = Request(**{"image": PHOTO, "prompt": "What?"} | options)
    except VisualizerError as error:
        said(error)
        return
    assert isinstance(request.prompt, Conversation) or request.prompt.strip()
    assert 0 <= request.scale <= MAX_SCALE
    assert len(set(request.adapters)) == len(request.adapters) > 0
    assert digest(unpack_request(pack_request(request))) == digest(request)


@given(st.one_of(anything, st.lists(st.lists(numbers, min_size=4, max_size=4), max_size=20), texts))
def test_a_box_is_inside_the_photo_or_refused(value: Any):
    try:
        boxes = as_boxes(value)
        assert as_boxes(text_of(boxes)) or not boxes
        cut, _ = on_photo(value, (48, 32))
    except SelectionError as error:
        said(error)
        return
    for top, left, bottom, right in cut:
        assert 0 <= top < bottom <= 48
        assert 0 <= left < right <= 32


@pytest.mark.parametrize("model", [AnalyzeFields, ExplainFields])
@given(data=st.data())
def test_fields_over_http_are_read_or_refused(model: type[AnalyzeFields], data: st.DataObject):
    names = [*model.model_fields, "path", "image_path", "never_heard_of"]
    sent = data.draw(st.dictionaries(st.sampled_from(names), anything, max_size=6))
    try:
        fields = parse(model, {"image": "AAAA", "question": "attribution"} | sent)
        asked = fields.request(PHOTO)
        if isinstance(fields, ExplainFields):
            fields.asked(None, fields.cells)
    except VisualizerError as error:
        said(error)
        return
    assert 0 <= asked.scale <= MAX_SCALE


@given(st.lists(anything, min_size=10, max_size=10), st.integers(0, 1_023))
def test_what_the_page_sends_is_read_or_refused(values: list[Any], usual: int):
    ordinary = [{"path": "x"}, "What?", "", ["find-red"], "base", "adapter", 32, 1, [], None]
    sent = [ordinary[index] if usual >> index & 1 else value for index, value in enumerate(values)]
    try:
        PageForm.of(sent).request(PHOTO)
    except VisualizerError as error:
        said(error)


@given(anything)
def test_an_answer_to_replay_is_read_or_refused(look: Any):
    try:
        with_answer(Request(PHOTO, "What?"), {"answer": look})
    except VisualizerError as error:
        said(error)


@given(data=st.data())
def test_a_choice_of_what_is_looked_at_is_read_or_refused(data: st.DataObject):
    usual = {"layer": 1, "token": factory.first_answer(COMPARISON.tokens), "head": "mean", "view": "raw"}
    sent = usual | data.draw(st.dictionaries(st.sampled_from([*Choice.__dataclass_fields__]), anything, max_size=5))
    try:
        choice = Choice.read(sent, COMPARISON)
        choice.focus(COMPARISON)
        choice.is_recorded(COMPARISON)
    except VisualizerError as error:
        said(error)
    else:
        assert json.dumps(choice.json(COMPARISON), allow_nan=False)
    try:
        StackChoice(sent["token"], head=sent["head"], view=sent["view"])
    except VisualizerError as error:
        said(error)


@given(
    st.dictionaries(st.sampled_from(["kind", "token", "by", "layers", "heads", "cells", "controls", "seed"]), anything)
)
def test_a_question_is_well_formed_or_refused(values: dict[str, Any]):
    try:
        unpack_question({"kind": "attribution"} | values)
    except VisualizerError as error:
        said(error)


@given(st.dictionaries(st.sampled_from(KEYS), anything, max_size=4))
def test_an_adapters_config_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]):
    folder = tmp_path_factory.mktemp("adapter")
    config = json.loads((GOOD / "adapter_config.json").read_text()) | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / WEIGHTS).write_bytes((GOOD / WEIGHTS).read_bytes())
    try:
        info = read_adapter(AdapterSource("spoiled", str(folder))).info
    except AdapterRefusedError as error:
        said(error)
        return
    assert info.rank > 0
    assert np.isfinite(info.alpha)


def _members(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _saved() -> bytes:
    file = Path(__file__).parents[1] / "inference" / "saved_by_format_1.npz"
    return file.read_bytes()


SAVED, PACKED = _saved(), pack_comparison(COMPARISON)


@given(seeds, st.sampled_from(["cut", "flip", "extremes", "splice"]))
def test_a_saved_file_is_loaded_or_refused(tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str):
    path = tmp_path_factory.mktemp("saved") / "run.npz"
    path.write_bytes(DAMAGES[kind](SAVED, np.random.default_rng(seed)))
    _loaded(path)


@given(seed=seeds, data=st.data())
def test_a_saved_file_with_another_header_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, data: st.DataObject
):
    """The zip is whole and its checksums are right; what it says is not."""
    members, rng = _members(SAVED), np.random.default_rng(seed)
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
    place: Any = header
    for _ in range(data.draw(st.integers(0, 3))):  # somewhere inside
        inside = [value for value in (place.values() if isinstance(place, dict) else place) if value]
        inside = [value for value in inside if isinstance(value, (dict, list))]
        place = inside[int(rng.integers(len(inside)))] if inside else place
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[keys[int(rng.integers(len(keys)))]] = data.draw(anything)
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    members["header.npy"] = _npy(text)
    if data.draw(st.booleans()):
        name = sorted(members)[int(rng.integers(len(members)))]
        members[name] = DAMAGES["flip"](members[name], rng)
    path = tmp_path_factory.mktemp("saved") / "run.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    _loaded(path)


def _loaded(path: Path) -> None:
    try:
        loaded = Comparison.load(path)
    except InputError as error:
        said(error)
        return
    for recording in loaded.recordings:
        assert np.isfinite(recording.by_token).all()
    again = path.with_name("again.npz")
    loaded.save(again)  # what was taken is a comparison: it can be saved, and read again
    Comparison.load(again)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0))
    return file.getvalue()


REQUEST = pack_request(Request(picture(24, 36), "What?"))


@given(seeds, st.sampled_from(["cut", "flip", "extremes", "splice"]), st.sampled_from([PACKED, REQUEST, b"PK\3\4"]))
def test_packed_bytes_are_read_or_refused(seed: int, kind: str, content: bytes):
    damaged = DAMAGES[kind](content, np.random.default_rng(seed))
    for read in (unpack_request, unpack_explanation, lambda packed: unpack_comparison(packed, COMPARISON.image)):
        try:
            read(damaged)
        except VisualizerError as error:
            said(error)
