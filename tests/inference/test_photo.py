"""Whatever is handed in as an image becomes an upright RGB picture with the right colours, or a clear refusal."""

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from inference.errors import ImageError, ImageTooLargeError, ImageTooThinError, NotAnImageError
from inference.photo import Photo, check_size, decode_photo, upright_rgb
from inference.settings import Limits
from tests import ROOT
from tests.conftest import picture

LIMITS = Limits()


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    photo = decode_photo(content, LIMITS)
    return photo.pixels, photo.notes


def test_a_plain_png_comes_back_pixel_for_pixel_without_a_note():
    image = picture(30, 50)
    pixels, notes = decoded(saved(image))
    assert np.array_equal(pixels, np.asarray(image))
    assert notes == ()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"%PDF-1.7"],
)
def test_bytes_that_are_no_image_are_refused(content: bytes):
    with pytest.raises(NotAnImageError):
        decode_photo(content, LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_images_are_refused_in_every_format(kind: str):
    content = saved(picture(64, 96), kind)
    with pytest.raises(NotAnImageError):
        decode_photo(content[: len(content) * 2 // 3], LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_damaged_bytes_give_a_picture_or_a_refusal_and_nothing_else(kind: str):
    content = bytearray(saved(picture(24, 40), kind, **({"exif": _exif(6)} if kind in ("JPEG", "WEBP") else {})))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        broken = content.copy()
        for place in rng.integers(0, min(len(content), 400), 3):
            broken[place] = rng.integers(0, 256)
        try:
            decode_photo(bytes(broken), LIMITS)
        except ImageError:
            refused += 1
    assert refused > 0


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_formats_that_need_another_program_are_not_read():
    with pytest.raises(NotAnImageError):
        decode_photo(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", LIMITS)


def test_too_many_pixels_are_refused_before_they_are_decoded():
    content = saved(Image.new("1", (20_000, 20_000)))  # 400 million pixels in a small file
    assert len(content) < 1_000_000
    with pytest.raises(ImageTooLargeError, match="limit"):
        decode_photo(content, LIMITS)
    with pytest.raises(ImageTooLargeError, match="8,951 × 8,940"):
        check_size((8_940, 8_951), LIMITS)


def test_too_many_bytes_are_refused():
    with pytest.raises(ImageTooLargeError, match="1,001 bytes"):
        decode_photo(b"x" * 1_001, Limits(max_upload_bytes=1_000))


def test_thinner_than_200_to_1_is_refused_either_way_and_200_to_1_is_taken():
    for size in ((201, 1), (1, 201)):
        with pytest.raises(ImageTooThinError, match="201 : 1"):
            decode_photo(saved(Image.new("RGB", size)), LIMITS)
    assert decode_photo(saved(Image.new("RGB", (200, 1))), LIMITS).size == (1, 200)


def test_one_pixel_is_taken():
    pixels, _ = decoded(saved(Image.new("RGB", (1, 1), (3, 5, 7))))
    assert pixels.tolist() == [[[3, 5, 7]]]


def test_cmyk_is_converted():
    pixels, _ = decoded(saved(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "JPEG"))
    assert pixels.shape == (3, 4, 3)
    red, green, blue = pixels[1, 1].tolist()
    assert red > 200
    assert max(green, blue) < 60


def test_a_palette_keeps_its_colours_and_its_transparency_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    pixels, notes = decoded(saved(image))
    assert pixels.tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert notes == ()
    pixels, notes = decoded(saved(image, transparency=0))
    assert pixels.tolist() == [[[255, 255, 255], [200, 100, 50]]]
    assert "white" in notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str):
    colour = (100, 50) if mode == "LA" else (100, 100, 100, 50)
    pixels, notes = decoded(saved(Image.new(mode, (2, 2), colour)))
    expected = round(100 * 50 / 255 + 255 * 205 / 255)
    assert np.abs(pixels.astype(int) - expected).max() <= 1
    assert "white" in notes[0]


def test_each_shade_of_each_transparency_is_the_nearest_to_its_mean_with_white():
    shade, opacity = np.meshgrid(np.arange(256), np.arange(256))
    content = np.dstack([shade, shade, shade, opacity]).astype(np.uint8)
    expected = np.round((shade * opacity + 255.0 * (255 - opacity)) / 255)
    grey = Image.merge("LA", [Image.fromarray(content[..., band]) for band in (2, 3)])
    for image in (Image.fromarray(content), grey):
        assert np.array_equal(upright_rgb(image).pixels, np.dstack([expected] * 3))
        assert np.array_equal(np.asarray(image.convert("RGBA")), content)  # what was handed in is left alone


def test_a_see_through_picture_is_laid_on_white_without_copies_of_it(tmp_path: Path):
    """Pillow's memory is no Python object's: a process of its own says what it held at most."""
    Image.new("RGBA", (4_000, 3_000), (9, 9, 9, 9)).save(tmp_path / "large.png")
    code = """
import sys
from pathlib import Path
from inference.photo import Limits, decode_photo
def most():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
content, before = Path(sys.argv[1]).read_bytes(), most()
decode_photo(content, Limits())
print((most() - before) * 1024 / 12e6)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    as_read, ground, pixels = 4, 4, 3  # bytes each; Pillow hands its pixels over in pieces that are then joined
    assert float(done.stdout) < 1.2 * (as_read + ground + 2 * pixels)


def test_16_bit_grey_is_scaled_by_value_and_not_clipped_to_black_and_white():
    values = np.linspace(0, 65_535, 12).astype(np.uint16).reshape(3, 4)
    pixels, notes = decoded(saved(Image.fromarray(values)))
    assert np.array_equal(pixels[..., 0], np.round(values / 257).astype(np.uint8))
    assert "16-bit" in notes[0]
    dark = np.full((3, 4), 257 * 3, np.uint16)  # a dark scan stays dark: its range is the format's, not its own
    assert set(decoded(saved(Image.fromarray(dark)))[0].flat) == {3}


def test_float_grey_is_scaled_between_its_extremes_and_nan_is_refused():
    values = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32)
    pixels, notes = decoded(saved(Image.fromarray(values), "TIFF"))
    assert pixels[..., 0].tolist() == [[0, 128], [255, 64]]
    assert "0 … 1" in notes[0]
    with pytest.raises(ImageError, match="not finite"):
        decoded(saved(Image.fromarray(values * np.nan), "TIFF"))


def test_an_animation_gives_its_first_frame_with_a_note():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    pixels, notes = decoded(content)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert "3 frames" in notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright_for_every_exif_orientation(orientation: int):
    """Second route: the EXIF table's own operations, done by hand on the pixels."""
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:8, :8] = 255  # a mark in the stored picture's top left corner
    by_hand = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, -1)[:, ::-1][::-1, ::-1].transpose(1, 0, 2)[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }
    by_hand[7] = stored[::-1, ::-1].transpose(1, 0, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, notes = decoded(saved(Image.fromarray(stored), "PNG", exif=exif))
    assert np.array_equal(pixels, by_hand[orientation])
    assert bool(notes) == (orientation != 1)


def test_another_colour_profile_is_converted_to_srgb():
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (4, 4), (180, 90, 40))
    same, notes = decoded(saved(image, icc_profile=srgb))
    assert same[0, 0].tolist() == [180, 90, 40]
    assert notes == ()
    # a profile that swaps red and blue: sRGB with its two colorants exchanged
    swapped = bytearray(srgb)
    table = {bytes(swapped[i : i + 4]): i for i in range(132, 132 + 12 * 20, 12)}
    red, blue = table[b"rXYZ"] + 4, table[b"bXYZ"] + 4
    swapped[red : red + 8], swapped[blue : blue + 8] = swapped[blue : blue + 8], swapped[red : red + 8]
    description = bytes(swapped).find("sRGB".encode("utf-16-be"))
    if description >= 0:
        swapped[description : description + 8] = "swap".encode("utf-16-be")
    pixels, notes = decoded(saved(image, icc_profile=bytes(swapped)))
    assert np.abs(pixels[0, 0].astype(int) - [40, 90, 180]).max() <= 2
    assert "converted to sRGB" in notes[0]
    assert lab is not None


def test_a_broken_colour_profile_is_said_and_the_values_are_kept():
    pixels, notes = decoded(saved(Image.new("RGB", (4, 4), (180, 90, 40)), icc_profile=b"not a profile" * 20))
    assert pixels[0, 0].tolist() == [180, 90, 40]
    assert "could not be read" in notes[0]


def test_arrays_must_be_height_width_3_uint8():
    assert upright_rgb(np.zeros((2, 3, 3), np.uint8)).size == (2, 3)
    for wrong in (np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 3), np.float32)):
        with pytest.raises(ImageError, match="uint8"):
            upright_rgb(wrong)
    with pytest.raises(ImageError, match="str"):
        upright_rgb("photo.jpg")


def test_a_photo_cannot_change_and_says_what_it_was():
    photo = decode_photo(saved(picture(20, 30), exif=_exif(6)), LIMITS)
    assert (photo.size, photo.original_size) == ((30, 20), (20, 30))
    assert photo.notes == ("The photo was turned upright (EXIF orientation).",)
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0, 0] = 1
    given = np.zeros((2, 3, 3), np.uint8)
    held = upright_rgb(given)
    given[:] = 255
    assert not held.pixels.any()
    with pytest.raises(ImageError, match="read-only"):
        Photo(given, (), (2, 3))


def test_the_digest_is_of_shape_and_pixels_and_of_nothing_else():
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    photo = upright_rgb(pixels)
    assert photo.digest == hashlib.sha256(b"(2, 3)" + bytes(range(18))).hexdigest()
    assert upright_rgb(pixels.reshape(3, 2, 3)).digest != photo.digest
    assert replace(photo, notes=("Turned.",)).digest == photo.digest
    assert replace(photo, notes=("Turned.",)) != photo
    assert upright_rgb(Image.fromarray(pixels)) == photo
    assert len({photo, upright_rgb(pixels)}) == 1
