"""Decide what a line's target is: boxes and points on the photo that its answer should be about; it knows no maps.

A point stands for the cell of the image that it lies in, since the model has no finer place. Several count as one area.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inference.boxes import MOST_BOXES, Box, as_boxes, on_photo, text_of
from inference.errors import SelectionError
from inference.places import Point

_HOW = "A target is [x, y], [top, left, bottom, right], or a list of these, in pixels of the upright photo."

_FAR = 1e9  # pixels: beyond every photo, and no float's bound


@dataclass(frozen=True, slots=True)
class Target:
    """Where to measure, before the photo is known.

    Attributes:
        boxes: see `inference.boxes`.
        points: (x, y) in pixels of the upright photo, from its left and upper edge.
    """

    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.boxes or self.points)

    @property
    def text(self) -> str:
        """The same target, the same text: boxes as `inference.boxes.text_of` has them, points as `@x,y`."""
        return ";".join(filter(None, [text_of(self.boxes), *(f"@{x:.10g},{y:.10g}" for x, y in self.points)]))

    def check(self, image_size: tuple[int, int]) -> None:
        """Pass a target that its photo has, at least in part.

        Args:
            image_size: (height, width) in pixels.

        Raises:
            SelectionError: a box or point lies outside.
        """
        on_photo(self.boxes, image_size)
        height, width = image_size
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise SelectionError(
                    f"The point ({x:.10g}, {y:.10g}) lies outside the photo, which is {height:,} pixels high and "
                    f"{width:,} wide.",
                    f"Keep x below {width} and y below {height}, both at least 0.",
                )

    def area(self, image_size: tuple[int, int], grid: tuple[int, int]) -> tuple[Box, ...]:
        """What is measured in: the boxes as they are, and each point's cell.

        Args:
            image_size: (height, width) in pixels.
            grid: (grid_h, grid_w).

        Raises:
            SelectionError: see `check`.
        """
        self.check(image_size)
        return (*self.boxes, *(_cell(point, image_size, grid) for point in self.points))


NOWHERE = Target()


def as_target(value: object) -> Target:
    """Read a target as a line of the prompts file has it.

    Args:
        value: two numbers, a point; four, a box; or a list of points and boxes.

    Raises:
        SelectionError: anything else, or more than `MOST_BOXES` of them.
    """
    if not isinstance(value, list):
        raise SelectionError("A target must be a list of numbers, or of points and boxes.", _HOW)
    each = value if all(isinstance(part, list) for part in value) else [value]
    points = [_point(part) for part in each if len(part) == 2]
    boxes = as_boxes([part for part in each if len(part) != 2])
    if len(points) + len(boxes) > MOST_BOXES:
        raise SelectionError(f"At most {MOST_BOXES} points and boxes are one target.", "Leave some out.")
    return Target(boxes, tuple(points))


def _cell(point: Point, image_size: tuple[int, int], grid: tuple[int, int]) -> Box:
    """The cell that a point lies in."""
    (x, y), (height, width), (rows, columns) = point, image_size, grid
    row, column = int(y * rows / height), int(x * columns / width)
    return row * height / rows, column * width / columns, (row + 1) * height / rows, (column + 1) * width / columns


def _point(value: Sequence[object]) -> Point:
    numbers = [each for each in value if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if len(numbers) != 2 or not all(abs(each) < math.inf for each in numbers):
        raise SelectionError("A point must be two finite numbers of pixels.", _HOW)
    x, y = (float(max(-_FAR, min(each, _FAR))) for each in numbers)
    return x, y
