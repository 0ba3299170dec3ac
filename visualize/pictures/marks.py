"""Decide what peaks, sinks and boxes look like on a picture: shapes in white on black, so none needs colour to be seen.

A peak is a ring with four ticks around the cell's centre, a sink a cross on it, a box a rectangle; what answers say is
drawn last, see `said_marks`. Sizes grow with the picture.
A picture whose shorter side is under `SMALLEST` pixels has no room for them and gets none.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inference.boxes import Box
from visualize.pictures.resize import centre_of
from visualize.pictures.said_marks import SaidMark, draw_said

SMALLEST = 24
_FINE = 4  # stamps are drawn this many times larger, then reduced: smooth edges
_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 190)
_Line = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What to mark.

    Attributes:
        peak: (row, column) of a cell, or None.
        sinks: `(grid_h, grid_w)` bool, or None.
        boxes: `(top, left, bottom, right)` each, in pixels of the picture, half-open.
        said: points and boxes that answers say, in pixels of the picture.
    """

    peak: tuple[int, int] | None = None
    sinks: NDArray[np.bool_] | None = None
    boxes: tuple[Box, ...] = ()
    said: tuple[SaidMark, ...] = ()


def draw_marks(picture: Image.Image, marks: Marks, grid: tuple[int, int]) -> None:
    """Draw marks on an RGB picture, in place.

    Args:
        picture: PIL image, mode RGB; the cells cover it whole.
        marks: what to mark.
        grid: (grid_h, grid_w).
    """
    size = (picture.height, picture.width)
    if min(size) < SMALLEST:
        return
    unit = max(1.0, min(size) / 450)
    cell = min(size[0] / grid[0], size[1] / grid[1])
    for box in marks.boxes:
        _draw_box(picture, box, unit)
    for row, column in np.argwhere(marks.sinks) if marks.sinks is not None else ():
        _stamp_cross(picture, centre_of((int(row), int(column)), grid, size), unit, cell)
    if marks.peak is not None:
        _stamp_ring(picture, centre_of(marks.peak, grid, size), unit, cell)
    for said in marks.said:
        draw_said(picture, said, unit)


def _draw_box(picture: Image.Image, box: Box, unit: float) -> None:
    top, left, bottom, right = (round(edge) for edge in box)
    pen = max(1, round(1.5 * unit))
    draw = ImageDraw.Draw(picture)
    for grow, width, colour in ((2 * pen, 3 * pen, _BLACK[:3]), (pen, pen, _WHITE[:3])):  # white on black, outside it
        corners = (left - grow, top - grow, max(right - 1, left) + grow, max(bottom - 1, top) + grow)
        draw.rectangle(corners, outline=colour, width=width)


def _stamp_ring(picture: Image.Image, centre: tuple[float, float], unit: float, cell: float) -> None:
    radius = min(max(0.42 * cell, 6 * unit), 13 * unit)
    inner, outer = radius, radius + 4.5 * unit
    lines = [
        (inner * math.cos(turn), inner * math.sin(turn), outer * math.cos(turn), outer * math.sin(turn))
        for turn in (0, math.pi / 2, math.pi, 3 * math.pi / 2)
    ]
    _stamp(picture, centre, lines, radius, unit)


def _stamp_cross(picture: Image.Image, centre: tuple[float, float], unit: float, cell: float) -> None:
    arm = min(max(0.2 * cell, 2.5 * unit), 5 * unit)
    _stamp(picture, centre, [(-arm, -arm, arm, arm), (-arm, arm, arm, -arm)], 0, unit)


def _stamp(picture: Image.Image, centre: tuple[float, float], lines: list[_Line], radius: float, unit: float) -> None:
    """Draw lines (x0, y0, x1, y1 from the centre) and a circle, in white on a wider black, edges smooth."""
    half = math.ceil(max([radius, *(abs(end) for line in lines for end in line)]) + 3 * unit)
    left, top = math.floor(centre[1]) - half, math.floor(centre[0]) - half
    x, y = (centre[1] - left) * _FINE, (centre[0] - top) * _FINE
    stamp = Image.new("RGBA", ((2 * half + 1) * _FINE,) * 2)
    draw = ImageDraw.Draw(stamp)
    for pen, colour in ((3.6 * unit, _BLACK), (1.6 * unit, _WHITE)):
        width = max(1, round(pen * _FINE))
        for x0, y0, x1, y1 in lines:
            ends = [(x + x0 * _FINE, y + y0 * _FINE), (x + x1 * _FINE, y + y1 * _FINE)]
            draw.line(ends, fill=colour, width=width)
        if radius:
            reach = radius * _FINE + width / 2
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=width)
    stamp = stamp.reduce(_FINE)
    picture.paste(stamp, (left, top), stamp)
