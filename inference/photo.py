"""Turn whatever a person hands in as an image into an upright RGB photo, once, or say why not; it knows no model.

Photos are turned by their EXIF orientation, colour profiles are converted to sRGB, transparency is laid on white,
16-bit grey is scaled by value (PIL's own RGB conversion clips it to black and white) and an animation gives its first
frame. What was done is said in notes.
"""

import hashlib
import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from inference.errors import ImageError, ImageTooLargeError, ImageTooThinError, NotAnImageError
from inference.image_structure import check_density, count_frames
from inference.settings import Limits

#: What a visitor's bytes are read as: no format that needs another program (EPS) or is rarely exercised.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
#: What Pillow's readers throw at damaged files, by fuzzing.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_ORIENTATION = 0x0112
#: Pixels that Qwen3-VL's processor leaves at most (its `longest_edge`): of more, a JPEG is decoded reduced.
MOST_SEEN = 16_777_216


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture as it came in, decoded once: upright, with what was done to get there.

    Args:
        pixels: `(height, width, 3)` uint8, 0–255, sRGB, upright, read-only; `upright_rgb` and `decode_photo` make them.
        notes: sentences for the person, in order.
        original_size: (height, width) as it came in, before it was turned.

    Raises:
        ImageError: pixels of another shape or dtype, or such as may still change.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    notes: tuple[str, ...]
    original_size: tuple[int, int]

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.flags.writeable:
            raise ImageError(
                f"A photo's pixels must be (height, width, 3) uint8 and read-only; got {pixels.shape} {pixels.dtype}.",
                "Let upright_rgb make them.",
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright picture in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self.pixels.nbytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape and pixels, 64 hexadecimal digits; computed once."""
        content = hashlib.sha256(repr(self.size).encode())
        content.update(np.ascontiguousarray(self.pixels).data)
        return content.hexdigest()

    def to_pil(self) -> Image.Image:
        """A PIL image of the pixels, mode RGB."""
        return Image.fromarray(self.pixels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Photo) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.digest, self.notes, self.original_size


def decode_photo(content: bytes, limits: Limits) -> Photo:
    """Decode an uploaded file.

    Args:
        content: the file's bytes.
        limits: `max_upload_bytes`, `max_pixels` and `max_aspect_ratio` are checked, the pixels before they are decoded.

    Raises:
        NotAnImageError: not an image, or a truncated one.
        ImageTooLargeError: too many bytes or pixels.
        ImageTooThinError: beyond the aspect ratio.
        ImageStructureError: more scans, frames or parts than a photo has, or fewer bytes than its pixels need.
    """
    if len(content) > limits.max_upload_bytes:
        raise ImageTooLargeError(
            f"The image file has {len(content):,} bytes; the limit is {limits.max_upload_bytes:,}.",
            "Save it smaller, or as JPEG.",
        )
    frames = count_frames(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit of pixels is stricter, and damage is said below
            opened = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"The image has more pixels than the limit of {limits.max_pixels:,}.", "Make it smaller first."
        ) from error
    except _DAMAGE as error:
        raise NotAnImageError(
            "The file is not an image that can be read.", "Use a PNG, JPEG, WebP, GIF, TIFF or BMP file."
        ) from error
    check_size((opened.height, opened.width), limits)
    check_density(opened.height * opened.width, content)
    size, notes = (opened.height, opened.width), list[str]()
    _reduce(opened, notes)
    return _photo(opened, frames, size, notes)


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Check a picture's (height, width) in pixels.

    Raises:
        ImageTooLargeError: more than `max_pixels`.
        ImageTooThinError: beyond `max_aspect_ratio`.
    """
    height, width = size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"The image has {width:,} × {height:,} pixels; the limit is {limits.max_pixels:,} in all.",
            "Make it smaller first: the model itself sees at most 16.8 million.",
        )
    ratio = max(size) / max(min(size), 1)
    if ratio > limits.max_aspect_ratio:
        raise ImageTooThinError(
            f"The image is {width:,} × {height:,} pixels, {ratio:.0f} : 1; "
            f"the limit is {limits.max_aspect_ratio:.0f} : 1.",
            "Cut it, or pad it to a less extreme shape.",
        )


def upright_rgb(source: Image.Image | NDArray[np.uint8]) -> Photo:
    """Turn a PIL image or an array into an upright RGB photo.

    Args:
        source: a PIL image of any mode, or an array `(height, width, 3)` uint8, 0–255, already upright.

    Raises:
        ImageError: an array of another shape or dtype, or something that is neither.
        NotAnImageError: a lazily opened file that is truncated, or no pixels at all.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8:
            raise ImageError(
                f"An image array must be (height, width, 3) uint8; got {source.shape} {source.dtype}.",
                "Convert it, or pass a PIL image.",
            )
        source = Image.fromarray(np.ascontiguousarray(source))
    if not isinstance(source, Image.Image):
        raise ImageError(f"An image must be a PIL image or a uint8 array; got {type(source).__name__}.")
    return _photo(source, getattr(source, "n_frames", 1), (source.height, source.width), [])


def _photo(source: Image.Image, frames: int, size: tuple[int, int], notes: list[str]) -> Photo:
    if 0 in size:
        raise NotAnImageError(f"The image has no pixels ({size[1]} × {size[0]}).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, which is then as good as none
            upright = _upright(source, frames, notes)
    except _DAMAGE as error:
        raise NotAnImageError(
            "The image file is damaged or cut short: its pixels cannot be read to the end.", "Save or upload it again."
        ) from error
    rgb = _to_rgb(upright, notes)
    pixels = np.frombuffer(rgb.tobytes(), dtype=np.uint8).reshape(rgb.height, rgb.width, 3)  # of bytes: read-only
    return Photo(pixels, tuple(notes), size)


def _reduce(source: Image.Image, notes: list[str]) -> None:
    """Have a JPEG decoded at half its size, or less, where that leaves more pixels than any model sees."""
    width, height = source.size
    shrink = math.isqrt(width * height // MOST_SEEN)
    if shrink > 1 and source.draft(None, (width // shrink, height // shrink)) is not None and source.width < width:
        notes.append(f"The photo of {width:,} × {height:,} pixels was decoded at {source.width:,} × {source.height:,}.")


def _upright(source: Image.Image, frames: int, notes: list[str]) -> Image.Image:
    if frames > 1:
        notes.append(f"The image is an animation of {frames} frames; the first one is shown.")
    source.load()
    if source.getexif().get(_ORIENTATION, 1) == 1:
        return source  # no copy: it may have hundreds of MB
    notes.append("The photo was turned upright (EXIF orientation).")
    return ImageOps.exif_transpose(source)


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_by_value(image, notes)
    image = _to_srgb(image, notes)
    if image.has_transparency_data:
        notes.append("Transparent parts were laid on white.")
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", layer.size, (255, 255, 255))
        ground.paste(layer, mask=layer)
        return ground
    return image.convert("RGB")


def _grey_by_value(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale 16-bit grey by its full range (65,535), 32-bit and float grey by their own extremes."""
    values = np.asarray(image)
    if not all(np.isfinite(rows).all() for rows in _bands(values)):
        raise ImageError("The image has pixels that are not finite numbers.", "Save it as 8-bit RGB.")
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65_535.0
        notes.append("16-bit grey was scaled to 8 bits by value.")
    else:
        notes.append(f"Grey values {low:g} … {high:g} were scaled to black … white.")
    grey = np.empty(values.shape, dtype=np.uint8)
    for rows, scaled in zip(_bands(values), _bands(grey), strict=True):
        scaled[:] = np.round((rows.astype(np.float64) - low) / max(high - low, 1e-12) * 255)
    return Image.fromarray(grey).convert("RGB")


def _bands(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of some rows each: float64 of all of them at once takes eight times a picture's memory."""
    return np.array_split(values, max(1, values.size // 2**20))


def _to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Convert an embedded colour profile to sRGB; a profile that does not fit the pixels is said, not guessed at."""
    profile: Any = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(embedded).strip()
        if "srgb" in name.lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError) as error:
        notes.append(
            f"The image's colour profile could not be read ({type(error).__name__}); its values were used as sRGB."
        )
        return image
    if converted is None:
        return image
    # an L image with transparency in `info` keeps it: profileToProfile copies info
    notes.append("The image's colour profile was converted to sRGB.")
    return converted
