"""Decide what a box on a photo is, at every door: how it is written, what is refused, what is cut to the photo.

A box is `(top, left, bottom, right)` in pixels of the upright photo, half-open: the pixel `bottom` is outside. Several
boxes count as one area, their union. It knows no cells and no attention.
"""

import math
import re
from collections.abc import Sequence
from reprlib import repr as shortened
from typing import Any, TypeGuard

import numpy as np

from inference.errors import SelectionError

Box = tuple[float, float, float, float]
#: So many boxes at most are one target.
MOST_BOXES = 16

_HOW = "A box is top, left, bottom, right in pixels of the upright photo, for example 40, 25, 120, 200."
_TEXT = re.compile(r"\s*-?\d{1,9}(\.\d{0,9})?\s*", re.ASCII)


def as_boxes(value: object) -> tuple[Box, ...]:
    """Read one box or several, as programs, forms and addresses write them; the photo is not known yet.

    Args:
        value: four numbers; a sequence of boxes; or text, `top,left,bottom,right`, several separated by `;`. Empty
            text and an empty sequence are no box.

    Raises:
        SelectionError: anything else: not four numbers, a number that is not finite, edges in the wrong order, an area
            of zero, or more boxes than `MOST_BOXES`.
    """
    boxes = tuple(map(_box, _written(value)))
    if len(boxes) > MOST_BOXES:
        raise SelectionError(f"At most {MOST_BOXES} boxes are one target; got {len(boxes)}.", "Leave some out.")
    return boxes


def on_photo(value: object, image_size: tuple[int, int]) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """Boxes as they lie on a photo: what reaches beyond its edge is cut off, and said.

    Args:
        value: see `as_boxes`.
        image_size: (height, width) of the upright photo in pixels.

    Returns:
        (boxes, notes): the boxes inside the photo, and a sentence for each that was cut.

    Raises:
        SelectionError: see `as_boxes`; or a box without any pixel of the photo in it.
    """
    height, width = image_size
    boxes, notes = [], []
    for box in as_boxes(value):
        top, left, bottom, right = box
        cut = (max(top, 0.0), max(left, 0.0), min(bottom, float(height)), min(right, float(width)))
        if cut[0] >= cut[2] or cut[1] >= cut[3]:
            raise SelectionError(
                f"The box {words_of(box)} lies outside the photo, which is {height:,} pixels high and {width:,} wide.",
                f"Keep top and bottom between 0 and {height}, left and right between 0 and {width}.",
            )
        if cut != box:
            notes.append(
                f"The box {words_of(box)} reaches beyond the photo ({height:,} pixels high, {width:,} wide); it was "
                f"cut to {words_of(cut)}."
            )
        boxes.append(cut)
    return tuple(boxes), tuple(notes)


def check_inside(boxes: Sequence[Box], image_size: tuple[int, int]) -> None:
    """Pass boxes that lie on a photo whole.

    Raises:
        SelectionError: one that does not, or none.
    """
    height, width = image_size
    if not boxes:
        raise SelectionError("There is no box to measure in.", _HOW)
    for top, left, bottom, right in boxes:
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise SelectionError(
                f"box {(top, left, bottom, right)} must have 0 ≤ top < bottom ≤ {height} and "
                f"0 ≤ left < right ≤ {width}.",
                "Give (top, left, bottom, right) in pixels of the original image.",
            )


def text_of(boxes: Sequence[Box]) -> str:
    """Boxes as `as_boxes` reads them from text: `40,25,120,200;0,0,10,10`."""
    return ";".join(",".join(f"{edge:.10g}" for edge in box) for box in boxes)


def words_of(box: Box) -> str:
    """A box as a sentence names it: `(40, 25, 120, 200)`."""
    return f"({', '.join(f'{edge:.10g}' for edge in box)})"


def _written(value: object) -> list[object]:
    """The boxes of a value one by one, unchecked."""
    if isinstance(value, str):
        return [part.split(",") for part in value.split(";") if part.strip()]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not _is_sequence(value):
        raise SelectionError(f"A box must be four numbers; not {shortened(value)}.", _HOW)
    if not value:
        return []
    if any(isinstance(each, str) and ("," in each or ";" in each) for each in value):  # a form's repeated field
        return [box for each in value for box in _written(each)]
    return list(value) if any(_is_sequence(each) for each in value) else [value]


def _box(value: object) -> Box:
    edges = [_number(edge) for edge in value] if _is_sequence(value) else []
    if len(edges) != 4:
        raise SelectionError(f"A box must be four numbers; not {shortened(value)}.", _HOW)
    top, left, bottom, right = edges
    if not all(map(math.isfinite, edges)):
        raise SelectionError(f"A box must be four finite numbers; not {shortened(value)}.", _HOW)
    box = (top, left, bottom, right)
    if top > bottom or left > right:
        raise SelectionError(
            f"The box {words_of(box)} is in the wrong order: bottom must be below top, right beyond left.", _HOW
        )
    if top == bottom or left == right:
        raise SelectionError(f"The box {words_of(box)} has no area.", "Make it at least one pixel high and wide.")
    return box


def _number(value: object) -> float:
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise SelectionError(f"An edge of a box must be a number of pixels; not {shortened(value)}.", _HOW)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
