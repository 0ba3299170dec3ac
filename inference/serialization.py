"""How requests and comparisons travel between processes: packed to bytes and unpacked again; it knows no cloud.

A packed value is one uncompressed `.npz`: arrays, and everything else as JSON text; nothing is unpickled. The photo
travels one way only, as lossless PNG: whoever unpacks a comparison puts the photo of the request back.

Maps may travel as scaled float16: each array is multiplied by the power of two that brings its largest value below 2¹⁵,
where float16 is still finite. A value then keeps 11 significant bits (a relative error of at most 2⁻¹¹) down to 2⁻²⁸ of
the array's largest value. Shares by group and log-probabilities, which are shown as numbers, always travel as float32.
"""

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.errors import InputError
from inference.photo import Photo, upright_rgb
from inference.records import Comparison
from inference.request import Request

#: Arrays that are only ever drawn or reduced to a few digits.
MAPS = frozenset({"by_token", "by_head", "background", "background_low", "vision_received"})
_DAMAGE = (AttributeError, EOFError, LookupError, OSError, TypeError, ValueError, zipfile.BadZipFile)


def pack_request(request: Request) -> bytes:
    """Pack a request with its photo and what was done to that."""
    rest = {field.name: getattr(request, field.name) for field in fields(request) if field.name != "image"}
    rest["photo"] = {"notes": request.image.notes, "original_size": request.image.original_size}
    png = io.BytesIO()
    request.image.to_pil().save(png, "PNG", compress_level=1)
    return _pack(rest, {"photo": np.frombuffer(png.getvalue(), dtype=np.uint8)})


def unpack_request(packed: bytes) -> Request:
    """Unpack a request; whoever answers it checks it against limits of its own.

    Args:
        packed: what `pack_request` gave.

    Raises:
        InputError: whatever `Request` raises, or bytes that are no packed request.
    """
    try:
        rest, arrays = _unpack(packed)
        photo = rest.pop("photo")
        image = Photo(_pixels(arrays), tuple(photo["notes"]), tuple(photo["original_size"]))
        return Request(image=image, **rest)
    except _DAMAGE as error:
        raise InputError("These bytes are no packed request.") from error


def photo_of(packed: bytes) -> NDArray[np.uint8]:
    """The pixels of a packed request's photo, `(height, width, 3)` uint8."""
    _, arrays = _unpack(packed)
    return _pixels(arrays)


def _pixels(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    png = Image.open(io.BytesIO(arrays["photo"].tobytes()), formats=("PNG",))
    return upright_rgb(png).pixels


def pack_comparison(comparison: Comparison, *, float32: bool = False, photo: bool = False) -> bytes:
    """Pack a comparison.

    Args:
        comparison: what to pack.
        float32: send maps exactly, as float32; else as scaled float16.
        photo: send the photo too.
    """
    header, arrays = comparison.parts()
    if not photo:
        del arrays["image"]
    exponents: dict[str, int] = {}
    for name, values in arrays.items():
        if not float32 and name.rpartition(".")[2] in MAPS:
            arrays[name], exponents[name] = _to_float16(values)
    return _pack({"header": header, "exponents": exponents}, arrays)


def unpack_comparison(packed: bytes, image: NDArray[np.uint8] | None = None) -> Comparison:
    """Unpack a comparison.

    Args:
        packed: what `pack_comparison` gave.
        image: the request's photo, `(height, width, 3)` uint8, where it did not travel.

    Raises:
        InputError: bytes that are no packed comparison.
    """
    try:
        rest, arrays = _unpack(packed)
        for name, exponent in rest["exponents"].items():
            arrays[name] = np.ldexp(arrays[name].astype(np.float32), -exponent)
        if image is not None:
            arrays["image"] = image
        return Comparison.from_parts(rest["header"], arrays)
    except _DAMAGE as error:
        raise InputError("These bytes are no packed comparison.") from error


def _to_float16(values: NDArray[np.float32]) -> tuple[NDArray[np.float16], int]:
    largest = float(np.abs(values).max(initial=0))
    exponent = 15 - math.frexp(largest)[1] if largest else 0
    return np.ldexp(values, exponent).astype(np.float16), exponent


def _pack(rest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(rest, ensure_ascii=False).encode(), dtype=np.uint8)
    np.savez(file, allow_pickle=False, rest=text, **arrays)
    return file.getvalue()


def _unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("rest").tobytes()), arrays
