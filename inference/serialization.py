"""The one format of records: how comparisons are saved and travel, how others travel; it knows no cloud.

A file is an archive (see `inference.archive`): everything but arrays as JSON, the photo as `image`, and the arrays of
each recording as `recording0.by_token` and so on. What is saved is float32, compressed, and has its photo; what travels
is not compressed and has no photo, which the caller has, and its maps are scaled float16 unless that was refused.

Scaled float16: each array is multiplied by the power of two that brings its largest value below 2¹⁵, where float16 is
still finite. A value then keeps 11 significant bits (a relative error of at most 2⁻¹¹) down to 2⁻²⁸ of the array's
largest value. Shares by group and log-probabilities, which are shown as numbers, always stay float32.

Files of format 1 are read too. Their background had one row too many, and is computed anew from `by_token`.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.archive import DAMAGE, Archive, ArchiveError, write_archive
from inference.descriptions import ModelInfo
from inference.errors import CaptureError, InputError, PromptError
from inference.explanations import EXPLANATIONS, Explanation
from inference.field_types import check_field_types
from inference.image_maps import PER_IMAGE, ImageMaps, SeenImage, in_order, without
from inference.messages import prompt_json, read_prompt
from inference.photo import Photo, upright_rgb
from inference.questions import QUESTIONS, Question
from inference.recording import Recording, Token, background_of, recording_shapes
from inference.records import Comparison
from inference.request import IMAGES, Request

#: Arrays that are only ever drawn or reduced to a few digits.
MAPS = frozenset({"by_token", "by_head", "background", "background_low", "vision_received", "general", "gradient"})
#: Arrays of a recording that were only recorded where they were asked for.
OPTIONAL = frozenset({"vision_received", "general", "gradient", "named", "named_alone"})
_FORMAT, _FIRST_FORMAT = "lora-attention-visualizer/2", "lora-attention-visualizer/1"
#: A photo without detail shrinks to a thousandth: it may have as many pixels as Pillow decodes at all.
_PHOTO_BYTES = 3 * 2 * (Image.MAX_IMAGE_PIXELS or 0)


# comparisons


def save_comparison(comparison: Comparison, path: Path, *, float16: bool = False) -> None:
    """See `Comparison.save`."""
    header, arrays = split_comparison(comparison, float16=float16)
    with path.open("wb") as file:
        write_archive(file, header, arrays, compress=True)


def load_comparison(path: Path) -> Comparison:
    """See `Comparison.load`."""
    try:
        with path.open("rb") as file:
            return _join_comparison(Archive(file), ())
    except (*DAMAGE, CaptureError, PromptError) as error:
        raise InputError(
            f"{path.name} is not a saved comparison of this tool, or it is damaged{_reason(error)}."
        ) from error


def pack_comparison(comparison: Comparison, *, float32: bool = False) -> bytes:
    """Pack a comparison without its photo.

    Args:
        comparison: what to pack.
        float32: send maps exactly, as float32; else as scaled float16.
    """
    header, arrays = split_comparison(comparison, float16=not float32)
    return _packed(header, {name: array for name, array in arrays.items() if name.partition(".")[0] != "image"})


def unpack_comparison(packed: bytes, *images: NDArray[np.uint8]) -> Comparison:
    """Unpack a comparison.

    Args:
        packed: what `pack_comparison` gave.
        images: the request's photos in order, each `(height, width, 3)` uint8.

    Raises:
        InputError: bytes that are no packed comparison.
    """
    try:
        return _join_comparison(Archive(io.BytesIO(packed)), images)
    except (*DAMAGE, CaptureError, PromptError) as error:
        raise InputError(f"These bytes are no packed comparison{_reason(error)}.") from error


def split_comparison(
    comparison: Comparison, *, float16: bool = False
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Take a comparison apart: everything but arrays as JSON values, and the arrays by their names in the file."""
    arrays: dict[str, NDArray[Any]] = {"image": comparison.image}
    arrays |= {f"image.{at}": other.pixels for at, other in enumerate(comparison.elsewhere)}
    header: dict[str, Any] = {"format": _FORMAT, "exponents": {}}
    header |= {each.name: getattr(comparison, each.name) for each in fields(Comparison) if each.name != "image"}
    header |= {"model": asdict(comparison.model), "timings": dict(comparison.timings)}
    header |= {"prompt": prompt_json(comparison.prompt), "before": [asdict(token) for token in comparison.before]}
    header |= {"tokens": [asdict(token) for token in comparison.tokens], "recordings": []}
    header["elsewhere"] = [other.grid for other in comparison.elsewhere]
    for index, recording in enumerate(comparison.recordings):
        values = {each.name: getattr(recording, each.name) for each in fields(Recording)}
        values["tokens"] = [asdict(token) for token in recording.tokens]
        found = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        for at, maps in enumerate(values.pop("elsewhere")):
            of_other = {name: getattr(maps, name) for name in PER_IMAGE}
            found |= {f"{at}.{name}": value for name, value in of_other.items() if value is not None}
        for name, array in found.items():
            values.pop(name, None)
            key = f"recording{index}.{name}"
            if float16 and name.rpartition(".")[2] in MAPS:
                array, header["exponents"][key] = _to_float16(array)
            arrays[key] = array
        header["recordings"].append(values)
    return header, arrays


def _join_comparison(archive: Archive, images: Sequence[NDArray[np.uint8]]) -> Comparison:
    """Put a comparison together; its images come from the archive where none are given, in order."""
    header = archive.header()
    form, exponents = header.pop("format"), header.pop("exponents", {})
    if form not in (_FORMAT, _FIRST_FORMAT):
        raise ArchiveError(f"its format is {str(form)[:40]!r}, not {_FORMAT!r}")
    model, grid = ModelInfo(**header.pop("model")), tuple(header.pop("grid"))
    grids, shown = [tuple(each) for each in header.pop("elsewhere", [])], header.pop("shown", 0)
    recordings = []
    for index, values in enumerate(header.pop("recordings")):
        values |= {name: tuple(values.get(name, ())) for name in ("answer_ids", "answer_pieces", "focus")}
        values["tokens"] = _tokens(values["tokens"])
        values["elsewhere"] = tuple(
            ImageMaps(**_arrays(archive, f"recording{index}.{at}", _of_image(model, each, values["tokens"]), exponents))
            for at, each in enumerate(grids)
        )
        shapes = recording_shapes(model, grid, values["tokens"], len(grids))
        values |= _arrays(archive, f"recording{index}", shapes, exponents)
        if form == _FIRST_FORMAT:
            background = background_of(values["by_token"], values["tokens"])
            values |= zip(("background", "background_low", "background_rows"), background, strict=True)
        recordings.append(Recording(**values))
    if not isinstance(shown, int) or not 0 <= shown <= len(grids) or len(images) not in (0, 1 + len(grids)):
        raise ArchiveError(f"image {str(shown)[:40]} of {1 + len(grids)} is shown; {len(images)} came")
    pixels = images or in_order(_photo(archive, ""), [_photo(archive, f".{at}") for at in range(len(grids))], shown)
    comparison = Comparison(
        model=model,
        prompt=read_prompt(header.pop("prompt")),
        grid=grid,
        image=pixels[shown],
        shown=shown,
        elsewhere=tuple(map(SeenImage, without(pixels, shown), grids)),
        before=_tokens(header.pop("before", [])),
        tokens=_tokens(header.pop("tokens")),
        recordings=tuple(recordings),
        notes=tuple(header.pop("notes")),
        **header,
    )
    check_field_types(comparison)
    return comparison


def _photo(archive: Archive, which: str) -> NDArray[np.uint8]:
    return archive.array(f"image{which}", (None, None, 3), np.uint8, most=_PHOTO_BYTES)


def _of_image(model: ModelInfo, grid: tuple[int, ...], tokens: Sequence[Token]) -> dict[str, tuple[int, ...]]:
    shapes = recording_shapes(model, grid, tokens)
    return {name: shapes[name] for name in PER_IMAGE}


def _arrays(
    archive: Archive, of: str, shapes: Mapping[str, tuple[int, ...]], exponents: Mapping[str, int]
) -> dict[str, Any]:
    """The arrays of a recording, or of its maps on an image; those that may lack and do are left out."""
    keys = {name: f"{of}.{name}" for name in shapes if name not in OPTIONAL or f"{of}.{name}" in archive}
    return {name: _array(archive, key, shapes[name], exponents.get(key)) for name, key in keys.items()}


def _tokens(rows: list[dict[str, Any]]) -> tuple[Token, ...]:
    return tuple(Token(**row) for row in rows)


def _array(archive: Archive, key: str, shape: tuple[int, ...], exponent: int | None) -> NDArray[np.float32]:
    if exponent is None:
        return archive.array(key, shape, np.float32)
    return np.ldexp(archive.array(key, shape, np.float16).astype(np.float32), -exponent)


def _to_float16(values: NDArray[np.float32]) -> tuple[NDArray[np.float16], int]:
    largest = float(np.abs(values).max(initial=0))
    exponent = 15 - math.frexp(largest)[1] if largest else 0
    return np.ldexp(values, exponent).astype(np.float16), exponent


# explanations, and the questions that ask for them


def pack_explanation(explanation: Explanation) -> bytes:
    """Pack an explanation, bit for bit."""
    header = {each.name: getattr(explanation, each.name) for each in fields(explanation)}
    arrays = {name: header.pop(name) for name in explanation.ARRAYS}
    header |= {"model": asdict(explanation.model), "timings": dict(explanation.timings)}
    header |= {
        "tokens": [asdict(token) for token in explanation.tokens],
        "kind": _kind(EXPLANATIONS, type(explanation)),
    }
    return _packed(header, {name: array for name, array in arrays.items() if array is not None})


def unpack_explanation(packed: bytes) -> Explanation:
    """Unpack an explanation.

    Args:
        packed: what `pack_explanation` gave.

    Raises:
        InputError: bytes that are no packed explanation.
    """
    try:
        archive = Archive(io.BytesIO(packed))
        values = {name: _tuples(value) for name, value in archive.header().items()}
        kind = EXPLANATIONS[values.pop("kind")]
        values |= {"model": ModelInfo(**values["model"]), "tokens": _tokens(values["tokens"])}
        for name, (axes, dtype) in kind.ARRAYS.items():
            if name in archive:
                values[name] = archive.array(name, (None,) * axes, dtype)
        return kind(**values)
    except (*DAMAGE, CaptureError) as error:
        raise InputError(f"These bytes are no packed explanation{_reason(error)}.") from error


def pack_question(question: Question[Explanation]) -> dict[str, Any]:
    """A question as plain values: its fields, and its `kind`."""
    values = {each.name: getattr(question, each.name) for each in fields(cast("Any", question))}
    return {"kind": _kind(QUESTIONS, type(question))} | values


def unpack_question(values: Mapping[str, Any]) -> Question[Explanation]:
    """The question of plain values.

    Raises:
        InputError: no such kind, fields that it does not have, or whatever the question itself refuses.
    """
    kind = QUESTIONS.get(str(values.get("kind")))
    if kind is None:
        raise InputError(f"There is no question {str(values.get('kind'))[:40]!r}; there are {', '.join(QUESTIONS)}.")
    try:
        return kind(**{name: value for name, value in values.items() if name != "kind"})
    except TypeError as error:
        raise InputError(f"A question of {values['kind']} has no such fields: {', '.join(values)[:200]}.") from error


# requests


def pack_request(request: Request) -> bytes:
    """Pack a request with its photos and what was done to them."""
    values = {field.name: getattr(request, field.name) for field in fields(request) if field.name not in IMAGES}
    values["prompt"] = prompt_json(request.prompt)
    values["photos"] = [{"notes": photo.notes, "original_size": photo.original_size} for photo in request.images]
    return _packed(values, {f"photo{at}": _png(photo) for at, photo in enumerate(request.images)})


def unpack_request(packed: bytes) -> Request:
    """Unpack a request; whoever answers it checks it against limits of its own.

    Args:
        packed: what `pack_request` gave.

    Raises:
        InputError: whatever `Request` raises, or bytes that are no packed request.
    """
    try:
        archive = Archive(io.BytesIO(packed))
        values = archive.header()
        photos = [
            Photo(_pixels(archive, at), tuple(about["notes"]), tuple(about["original_size"]))
            for at, about in enumerate(values.pop("photos"))
        ]
        return Request(image=photos, **values)
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise InputError(f"These bytes are no packed request{_reason(error)}.") from error


def photos_of(packed: bytes) -> tuple[NDArray[np.uint8], ...]:
    """The pixels of a packed request's photos, each `(height, width, 3)` uint8."""
    archive = Archive(io.BytesIO(packed))
    return tuple(_pixels(archive, at) for at in range(len(archive.header()["photos"])))


def _png(photo: Photo) -> NDArray[np.uint8]:
    png = io.BytesIO()
    photo.to_pil().save(png, "PNG", compress_level=1)
    return np.frombuffer(png.getvalue(), dtype=np.uint8)


def _pixels(archive: Archive, at: int) -> NDArray[np.uint8]:
    png = Image.open(io.BytesIO(archive.array(f"photo{at}", (None,), np.uint8).tobytes()), formats=("PNG",))
    return upright_rgb(png).pixels


def _kind(kinds: Mapping[str, type], searched: type) -> str:
    return next(name for name, each in kinds.items() if each is searched)


def _tuples(value: Any) -> Any:
    """JSON knows lists only; records hold tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _packed(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    file = io.BytesIO()
    write_archive(file, header, arrays, compress=False)
    return file.getvalue()


def _reason(error: Exception) -> str:
    return f": {error}" if isinstance(error, ArchiveError) else ""
