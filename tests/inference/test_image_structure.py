"""Small files that keep a decoder busy for minutes are refused by what they consist of, before a decoder sees them."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from inference.errors import ImageStructureError, NotAnImageError
from inference.image_structure import (
    MOST_BLOCKS,
    MOST_FRAMES,
    MOST_PARTS,
    MOST_SCANS,
    check_density,
    count_frames,
)
from inference.photo import decode_photo, upright_rgb
from inference.settings import Limits
from tests.conftest import picture
from tests.hostile_images import gif, jpeg_scans, png, tiff_pages, webp_chunks, webp_of_one_colour
from tests.inference.test_photo import saved

LIMITS = Limits()


@pytest.mark.parametrize(
    ("make", "most", "what"),
    [
        (jpeg_scans, MOST_SCANS, "scans"),
        (tiff_pages, MOST_FRAMES, "frames"),
        (lambda pages: tiff_pages(pages, big=True), MOST_FRAMES, "frames"),
        (lambda frames: gif(frames=frames), MOST_FRAMES, "frames"),
        (lambda comments: gif(comments=comments // 3), MOST_BLOCKS, "parts"),  # each its start, a byte, its end
        (lambda parts: png(parts - 3), MOST_PARTS, "parts"),
        (webp_chunks, MOST_PARTS, "parts"),
    ],
    ids=["jpeg scans", "tiff pages", "bigtiff pages", "gif frames", "gif comments", "png chunks", "webp chunks"],
)
def test_no_decoder_sees_a_file_of_too_many_parts(
    make: Callable[[int], bytes], most: int, what: str, monkeypatch: pytest.MonkeyPatch
):
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was asked")

    content = make(2 * most)
    assert len(content) <= LIMITS.max_upload_bytes
    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(ImageStructureError, match=f"{most:,} {what}") as refused:
        decode_photo(content, LIMITS)
    assert refused.value.hint


def test_as_many_parts_as_photos_have_are_read():
    assert decode_photo(jpeg_scans(0), LIMITS).size == (16, 16)
    assert decode_photo(tiff_pages(300), LIMITS).notes == (
        "The image is an animation of 300 frames; the first one is shown.",
    )
    assert decode_photo(gif(frames=300, comments=2_000), LIMITS).size == (1, 1)
    assert decode_photo(png(2_000), LIMITS).size == (1, 1)


def test_a_loop_of_pages_is_refused():
    pages = bytearray(tiff_pages(3))
    pages[-4:] = struct.pack("<I", 8)  # the last page says that the first one follows
    with pytest.raises(ImageStructureError, match="frames"):
        count_frames(bytes(pages))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_frames_are_counted_as_pillow_counts_them(kind: str):
    frames = [picture(20, 30), picture(20, 30, seed=1), picture(20, 30, seed=2)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert count_frames(content) == Image.open(io.BytesIO(content)).n_frames == 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_no_cut_of_a_file_breaks_the_counting(kind: str):
    content = saved(picture(24, 40), kind)
    for end in range(0, len(content), 7):
        assert count_frames(content[:end]) == 1


def test_few_bytes_hold_no_large_photo():
    assert decode_photo(webp_of_one_colour(100, 60), LIMITS).size == (60, 100)
    content = webp_of_one_colour(8_900, 8_900)
    assert len(content) < 40
    with pytest.raises(ImageStructureError, match="79,210,000 pixels"):
        decode_photo(content, LIMITS)
    check_density(4_000_000, b"1")  # small, whatever it is made from
    check_density(80_000_000, b"1" * 8_000)
    with pytest.raises(ImageStructureError):
        check_density(80_000_000, b"1" * 7_999)


def test_a_white_page_of_one_bit_is_a_photo():
    page = decode_photo(saved(Image.new("1", (7_000, 5_000), 1), "PNG"), LIMITS)
    assert page.size == (5_000, 7_000)
    assert page.pixels.min() == 255


def test_a_jpeg_of_more_pixels_than_any_model_sees_is_decoded_reduced_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("inference.photo.MOST_SEEN", 1_000_000)  # as if models saw so many
    large = Image.linear_gradient("L").resize((2_500, 2_000))
    photo = decode_photo(saved(large, "JPEG"), LIMITS)
    assert photo.original_size == (2_000, 2_500)
    assert photo.size == (1_000, 1_250)
    assert photo.notes == ("The photo of 2,500 × 2,000 pixels was decoded at 1,250 × 1,000.",)
    assert np.abs(photo.pixels[..., 0] - np.asarray(large.reduce(2), dtype=int)).max() <= 3
    assert decode_photo(saved(large.resize((1_999, 2_000)), "JPEG"), LIMITS).size == (2_000, 1_999)  # not much larger
    assert decode_photo(saved(large, "PNG"), LIMITS).size == (2_000, 2_500)  # has no smaller self
    handed = Image.open(io.BytesIO(saved(large, "JPEG")))
    assert upright_rgb(handed).size == (2_000, 2_500)  # of a program: as it is, which upstream takes too


def test_words_that_unpack_to_more_than_a_photo_are_refused():
    data = b"Comment\0\0" + zlib.compress(b"a" * 8_000_000)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    plain = png(0)
    with pytest.raises(NotAnImageError):
        decode_photo(plain[:33] + chunk + plain[33:], LIMITS)
