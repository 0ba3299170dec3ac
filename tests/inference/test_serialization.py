"""What travels or is saved arrives: requests exactly, comparisons exactly or as close as a picture can show."""

import io
import json
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from inference import Comparison, Request
from inference.errors import InputError
from inference.request import digest
from inference.serialization import (
    MAPS,
    pack_comparison,
    pack_request,
    photos_of,
    split_comparison,
    unpack_comparison,
    unpack_request,
)
from tests.conftest import picture
from tests.visualize import factory
from visualize import Selection, difference, diverging_limits, overlay, select, shared_limits


def photo() -> Image.Image:
    return picture(96, 160, seed=3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"system": "Be brief.", "adapters": (None, "a", "b.2"), "answer_from": "own", "vision_tower": True},
        {"answer": "words <|image_pad|> ${x}", "scale": 0.5, "modules": ("q_proj",), "max_image_tokens": 99},
        {"focus": "digits"},
        {"answer": (1, 2, 3), "focus": (4, 0), "max_new_tokens": 3, "adapters": ("a",), "answer_from": "a"},
    ],
)
def test_a_request_arrives_as_it_was(options):
    request = Request(photo(), "What is “here”? 日本\n{{value}}", **options)
    packed = pack_request(request)
    arrived = unpack_request(packed)
    assert digest(arrived) == digest(request)
    assert np.array_equal(photos_of(packed)[0], request.image.pixels)
    for name in ("adapters", "answer", "focus", "modules", "answer_from", "system"):
        assert getattr(arrived, name) == getattr(request, name)


def test_pixels_and_notes_arrive_whatever_the_photo_was():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    strange = photo()
    strange.info["icc_profile"] = profile
    transparent = Image.new("RGBA", (64, 48), (10, 200, 30, 128))
    for image in (strange, transparent, photo().rotate(90), photo().convert("L")):
        request = Request(image, "What?")
        assert unpack_request(pack_request(request)).image == request.image


@pytest.mark.parametrize("packed", [b"", b"PK\x03\x04 no zip", pack_comparison(factory.comparison())])
def test_other_bytes_are_refused(packed):
    with pytest.raises(InputError):
        unpack_request(packed)
    with pytest.raises(InputError):
        unpack_comparison(pack_request(Request(photo(), "What?")), factory.photo())


def test_as_float32_every_bit_arrives():
    sent = factory.comparison(notes=("a note", "“another”"))
    arrived = unpack_comparison(pack_comparison(sent, float32=True), sent.image)
    _assert_same(sent, arrived)


def _assert_same(sent: Comparison, arrived: Comparison) -> None:
    first, second = split_comparison(sent), split_comparison(arrived)
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    for name in first[1]:
        assert np.array_equal(first[1][name], second[1][name])
        assert first[1][name].dtype == second[1][name].dtype


def test_as_float16_values_keep_eleven_bits_and_the_numbers_are_exact():
    sent = factory.comparison()
    arrived = unpack_comparison(pack_comparison(sent), sent.image)
    for one, other in zip(sent.recordings, arrived.recordings, strict=True):
        names = {name for name in MAPS if getattr(one, name) is not None}
        assert {"by_token", "by_head", "background"} <= names
        for name in names:
            exact, rounded = getattr(one, name).astype(np.float64), getattr(other, name).astype(np.float64)
            full = exact > exact.max() * 2.0**-28
            assert np.abs(rounded - exact)[full].max() <= (2.0**-11 * exact[full]).max()
            assert (np.abs(rounded - exact)[full] <= 2.0**-11 * exact[full]).all()
        assert np.array_equal(one.group_share, other.group_share)
        assert np.array_equal(one.logprobs, other.logprobs)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0])
def test_small_values_are_not_flushed_to_zero(scale):
    """An adapter's own map may be tiny everywhere: the power of two follows it."""
    from inference.serialization import _to_float16

    values = (np.random.default_rng(0).random((4, 5, 6)) * scale).astype(np.float32)
    values[0, 0, 0] = 0
    rounded, exponent = _to_float16(values)
    assert np.isfinite(rounded).all()
    assert rounded[0, 0, 0] == 0
    back = np.ldexp(rounded.astype(np.float64), -exponent)
    assert np.abs(back - values).max() <= 2.0**-11 * values.max()
    nothing, exponent = _to_float16(np.zeros((2, 2), dtype=np.float32))
    assert not nothing.any()
    assert exponent == 0


def test_an_untouched_adapter_still_differs_by_exactly_nothing():
    same = factory.recording("same", seed=0)
    sent = factory.comparison(factory.recording(seed=0), same)
    arrived = unpack_comparison(pack_comparison(sent), sent.image)
    assert np.array_equal(arrived.recordings[0].by_token, arrived.recordings[1].by_token)


def test_the_pictures_do_not_change():
    """Drawn from what travelled as float16 and from the original: every pixel is within a step of the colour table."""
    sent = factory.comparison()
    arrived = unpack_comparison(pack_comparison(sent), sent.image)
    worst = 0
    for layer in range(factory.LAYERS):
        for pictures in zip(_pictures(sent, layer), _pictures(arrived, layer), strict=True):
            one, other = (np.asarray(each, dtype=np.int16) for each in pictures)
            worst = max(worst, int(np.abs(one - other).max()))
    print("largest difference of a channel, of 255:", worst)
    assert worst <= 3  # steps of 0–255; neighbours in the colour table differ by up to that much


def _pictures(comparison: Comparison, layer: int):
    token = factory.first_answer(comparison.tokens)
    image = Image.fromarray(comparison.image)
    for head in ("mean", 1):
        base, adapter = (select(each, Selection(layer, token, head)) for each in comparison.recordings)
        for heat in (base, adapter):
            yield overlay(image, heat, shared_limits(base, adapter))
        change = difference(adapter, base)
        yield overlay(image, change, diverging_limits(change))


# saved files


def test_saved_as_float16_a_comparison_is_as_it_would_have_travelled_and_half_as_large(tmp_path):
    sent = factory.comparison()
    for name, half in (("whole.npz", False), ("half.npz", True)):
        sent.save(tmp_path / name, float16=half)
    _assert_same(Comparison.load(tmp_path / "whole.npz"), sent)
    _assert_same(Comparison.load(tmp_path / "half.npz"), unpack_comparison(pack_comparison(sent), sent.image))
    with np.load(tmp_path / "half.npz") as file:
        assert {file[name].dtype for name in file.files if name.endswith("by_token")} == {np.dtype(np.float16)}
        header = json.loads(file["header"].tobytes())
        for key, exponent in header["exponents"].items():
            recording = sent.recordings[int(key[len("recording")])]
            exact = getattr(recording, key.rpartition(".")[2])
            assert np.abs(file[key].astype(np.float64) * 2.0**-exponent - exact).max() <= 2.0**-11 * exact.max()


def test_equal_comparisons_are_equal_bytes_however_their_arrays_lie_in_memory(tmp_path):
    straight = factory.comparison()
    first = straight.recordings[0]
    turned = replace(first, by_token=np.asfortranarray(first.by_token), by_head=np.repeat(first.by_head, 2, 0)[::2])
    straight.save(tmp_path / "one.npz")
    replace(straight, recordings=(turned, straight.recordings[1])).save(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    assert pack_comparison(straight) == pack_comparison(replace(straight, recordings=straight.recordings))


def test_a_file_of_format_1_loads_with_the_background_that_the_contrast_now_means():
    """Written by version 0.2.0's engine, whose background held the row that the page opens on, too."""
    path = Path(__file__).parent / "saved_by_format_1.npz"
    loaded = Comparison.load(path)
    with np.load(path) as file:
        header = json.loads(file["header"].tobytes())
        old = {name: file[name] for name in file.files}
    assert header["format"].endswith("/1")
    assert np.array_equal(loaded.image, old["image"])
    assert [recording.adapter for recording in loaded.recordings] == [None, "find-red"]
    for index, recording in enumerate(loaded.recordings):
        for name in ("logprobs", "by_token", "by_head", "group_share", "vision_received"):
            assert np.array_equal(getattr(recording, name), old[f"recording{index}.{name}"])
        rows = [token.role not in ("answer", "end") for token in recording.tokens].index(False) - 1
        assert recording.background_rows == rows == header["recordings"][index]["background_rows"] - 1
        before = [recording.by_token[row].astype(np.float64) for row in range(rows)]
        assert np.abs(recording.background - sum(before) / rows).max() < 1e-7
        place = 0.1 * (rows - 1)  # of the 10th percentile among the sorted rows, between two of them
        low, high = (np.sort(before, axis=0)[int(place) + step] for step in (0, 1))
        assert np.abs(recording.background_low - (low + (place % 1) * (high - low))).max() < 1e-7
        assert np.abs(recording.background - old[f"recording{index}.background"]).max() > 1e-4


def _npy(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def _changed(path: Path, change) -> Path:
    """Save a comparison and rewrite its file: `change` gets the header and the members, as `.npy` bytes by name."""
    factory.comparison().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    header = json.loads(np.load(io.BytesIO(members["header"])).tobytes())
    change(header, members)
    members["header"] = _npy(np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_arrays_that_nobody_expects_are_not_read(tmp_path):
    def add(header, members):
        members |= {"recording7.by_head": b"no array", "x": _npy(np.array([print], dtype=object), allow_pickle=True)}

    _assert_same(Comparison.load(_changed(tmp_path / "more.npz", add)), factory.comparison())


def _zeros(shape, dtype="<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)


BOMBS = {
    "shape": (lambda h, m: m.update({"recording0.by_head": _zeros((4, 3, 3, 500_000))}), r"not 4 × 3 × 3 × 5 of"),
    "bytes": (lambda h, m: m.update({"image": m["image"] + bytes(10**7)}), r"expands to 10,018,128 .* makes 18,128"),
    "fewer bytes": (lambda h, m: m.update({"image": m["image"][:-1]}), r"expands to 18,127 bytes"),
    "type": (lambda h, m: m.update({"recording0.by_head": _zeros((4, 3, 3, 5), "<f8")}), "of float64, not"),
    "objects": (lambda h, m: m.update({"image": _zeros((60, 100, 3), "|O")}), "of object, not"),
    "half without exponent": (
        lambda h, m: m.update({"recording0.by_head": _zeros((4, 3, 3, 5), "<f2")}),
        "of float16, not",
    ),
    "format": (lambda h, m: h.update(format="lora-attention-visualizer/3"), "its format is 'lora-attention-vis"),
    "layers": (lambda h, m: h["model"].update(num_layers=5), "recording0.by_token has shape"),
    "exponent": (lambda h, m: h["exponents"].update({"recording0.by_head": 10**30}), "of float32, not"),
    "no header": (lambda h, m: h.clear(), "or it is damaged"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_is_not_what_its_header_says_is_refused_with_the_reason(name, tmp_path):
    change, words = BOMBS[name]
    with pytest.raises(InputError, match="bomb.npz is not a saved comparison of this tool, .*" + words):
        Comparison.load(_changed(tmp_path / "bomb.npz", change))


def test_a_small_file_that_says_it_is_large_is_refused_before_it_is_expanded(tmp_path):
    """Its header, its arrays and the zip's directory agree on 300 MB of zeros; so much cannot come of so little."""
    width = 300_000_000 // (4 * 3 * 4)

    def grow(header, members):
        header["grid"] = [3, width]
        header["recordings"][0]["tokens"] = header["tokens"][-1:]
        members |= {"recording0.logprobs": _zeros((1,)), "recording0.by_token": _zeros((1, 4, 3, width))}

    path = _changed(tmp_path / "bomb.npz", grow)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="by_token expands to 300,000,128 bytes, out of all"):
            Comparison.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_photo_without_detail_may_shrink_to_a_thousandth(tmp_path):
    blank = factory.comparison(image=np.zeros((5_000, 6_000, 3), dtype=np.uint8))
    blank.save(tmp_path / "blank.npz")
    assert (tmp_path / "blank.npz").stat().st_size * 50 + 64 * 2**20 < blank.image.nbytes
    assert np.array_equal(Comparison.load(tmp_path / "blank.npz").image, blank.image)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(prompt=3),
        lambda header: header.update(system=["x"]),
        lambda header: header.update(timings=None),
        lambda header: header.update(timings={"vision": "soon"}),
        lambda header: header.update(notes=[None]),
        lambda header: header.update(prompt="half of a pair: \ud800"),
        lambda header: header["model"].update(id=7),
        lambda header: header["tokens"][0].update(text=None),
        lambda header: header["recordings"][0].update(adapter=1.5),
        lambda header: header["recordings"][0].update(attention="guessed"),
        lambda header: header["recordings"][0].update(focus=[-1]),
        lambda header: header["recordings"][0].update(answer_ids=["x"], answer_pieces=[]),
    ],
    ids=range(12),
)
def test_a_header_whose_values_are_of_other_types_is_refused(tmp_path, change):
    with pytest.raises(InputError, match=r"bomb\.npz is not a saved comparison of this tool"):
        Comparison.load(_changed(tmp_path / "bomb.npz", lambda header, members: change(header)))


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'shape': (6, 5\xa8 7), }", b"(" * 200, b"-" * 9_000 + b"1"])
def test_an_arrays_own_header_that_is_no_notation_is_refused(tmp_path, header):
    """numpy reads it as Python's literals, and lets through whatever Python's parser throws."""
    written = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = _changed(tmp_path / "bomb.npz", lambda _, members: members.update({"recording0.by_head": written}))
    with pytest.raises(InputError, match="is not a saved comparison of this tool"):
        Comparison.load(path)
