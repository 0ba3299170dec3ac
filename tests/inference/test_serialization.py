"""What travels arrives: requests exactly, comparisons exactly or as close as a picture can show."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from inference import Comparison, Request
from inference.errors import InputError
from inference.serialization import MAPS, pack_comparison, pack_request, photo_of, unpack_comparison, unpack_request
from inference.service.results import digest
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
        {"answer": (1, 2, 3), "focus": (4, 0), "max_new_tokens": 3, "adapters": ("a",), "answer_from": "a"},
    ],
)
def test_a_request_arrives_as_it_was(options):
    request = Request(photo(), "What is “here”? 日本\n{{value}}", **options)
    packed = pack_request(request)
    arrived = unpack_request(packed)
    assert digest(arrived) == digest(request)
    assert np.array_equal(photo_of(packed), request.image.pixels)
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
        unpack_comparison(pack_request(Request(photo(), "What?")))


def test_as_float32_every_bit_arrives():
    sent = factory.comparison(notes=("a note", "“another”"))
    arrived = unpack_comparison(pack_comparison(sent, float32=True), sent.image)
    _assert_same(sent, arrived)
    _assert_same(sent, unpack_comparison(pack_comparison(sent, float32=True, photo=True)))


def _assert_same(sent: Comparison, arrived: Comparison) -> None:
    first, second = sent.parts(), arrived.parts()
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    for name in first[1]:
        assert np.array_equal(first[1][name], second[1][name])
        assert first[1][name].dtype == second[1][name].dtype


def test_as_float16_values_keep_eleven_bits_and_the_numbers_are_exact():
    sent = factory.comparison()
    arrived = unpack_comparison(pack_comparison(sent), sent.image)
    for one, other in zip(sent.recordings, arrived.recordings, strict=True):
        for name in MAPS - {"vision_received"}:
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
