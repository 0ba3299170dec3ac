"""What an answer says of places on a photo, as records: points, boxes, and what was no such thing; it reads no text.

Numbers are kept as they were said, with the characters and tokens that spell them. Nothing is moved: a point outside
the photo stays there, and a box whose edges are in the wrong order has no area.
"""

import math
from dataclasses import dataclass
from typing import Literal

from inference.boxes import Box
from inference.errors import InputError

#: x and y in pixels of the upright photo, from its left and upper edge.
Point = tuple[float, float]
#: Characters `start … stop − 1` of an answer.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """What an answer's numbers are fractions of: x / `width` of the photo's width, y / `height` of its height.

    Qwen3-VL says places in 1000 × 1000; Qwen2.5-VL in pixels of the picture as its processor has resized it.

    Raises:
        InputError: a side that is no finite number above 0.
    """

    width: float
    height: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(side) and side > 0 for side in (self.width, self.height)):
            raise InputError(
                f"What places are fractions of must be two sides above 0; not {self.width!r} × {self.height!r}.",
                "Give (1000, 1000), or the width and height of the picture that the numbers count pixels of.",
            )

    @property
    def words(self) -> str:
        """The unit of the numbers, for a person."""
        relative = (self.width, self.height) == (1000, 1000)
        return "0–1000 of width and height" if relative else f"pixels of {self.width:g} × {self.height:g}"


RELATIVE = Frame(1000, 1000)


@dataclass(frozen=True, slots=True)
class Number:
    """One number of an answer.

    Attributes:
        text: as said, with its sign.
        span: characters `start … stop − 1` of the answer.
        tokens: indices of the answer's tokens that spell its digits; empty where the tokens were not given.
    """

    text: str
    span: Span
    tokens: tuple[int, ...] = ()

    @property
    def value(self) -> float:
        """The number, in the frame's unit."""
        return float(self.text)


@dataclass(frozen=True, slots=True)
class Place:
    """A point or a box that an answer says.

    Attributes:
        kind: `"point"` or `"box"`.
        key: the key that it stands under, such as `"coordinate2"`; "" where there is none.
        label: what the answer calls it, a stranger's words; for a tool call its action; "" where there is none.
        numbers: x, y of a point; x1, y1, x2, y2 of a box; as said.
        span: characters of the answer that hold it.
        frame: what its numbers are fractions of.
        image_size: (height, width) of the upright photo in pixels.
    """

    kind: Literal["point", "box"]
    key: str
    label: str
    numbers: tuple[Number, ...]
    span: Span
    frame: Frame
    image_size: tuple[int, int]

    @property
    def corners(self) -> tuple[Point, ...]:
        """The point, or a box's two corners as said, in pixels of the photo; they may lie outside of it."""
        height, width = self.image_size
        values = [number.value for number in self.numbers]
        return tuple(
            (x * width / self.frame.width, y * height / self.frame.height)
            for x, y in zip(values[::2], values[1::2], strict=True)
        )

    @property
    def middle(self) -> Point:
        """The point, or a box's centre: where a click on it goes."""
        xs, ys = zip(*self.corners, strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)

    @property
    def box(self) -> Box | None:
        """A box as `(top, left, bottom, right)` in pixels of the photo, uncut; None of a point, or without an area."""
        if self.kind == "point":
            return None
        (left, top), (right, bottom) = self.corners
        return (top, left, bottom, right) if top < bottom and left < right else None

    @property
    def is_on_photo(self) -> bool:
        """Whether all of it lies on the photo, whose far edges count as part of it."""
        height, width = self.image_size
        return all(0 <= x <= width and 0 <= y <= height for x, y in self.corners)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Indices of the answer's tokens that spell its digits, in order."""
        return tuple(sorted({token for number in self.numbers for token in number.tokens}))


@dataclass(frozen=True, slots=True)
class Unread:
    """What an answer began as a place and did not finish as one: its first characters, their span, and why not."""

    text: str
    span: Span
    why: str


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says of places, each in the order of the text."""

    places: tuple[Place, ...]
    unread: tuple[Unread, ...]
