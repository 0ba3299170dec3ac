"""Decide what said points and boxes look like on a picture: each variant's own colour and shape, on black.

A point is a cross that is open in the middle, so that the very place stays to be seen; from the second variant on it
stands in a figure of its own. A box is a dashed rectangle on its edges, its dashes of a length of their own. Browsers
get the same styles, see `style_json`. Colours are those of Okabe and Ito, told apart by those who see fewer of them.
"""

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw

from inference.places import Point
from visualize.json_values import Json

_FINE = 4  # points are drawn this many times larger, then reduced: smooth edges
_BLACK = (0, 0, 0)
_PEN, _EDGE = 1.8, 4.0  # widths of the coloured line, and of the black one below it
_GAP, _ARM, _FIGURE = 3.0, 10.0, 14.0  # of a point, from its middle: the cross begins and ends, the figure's radius


@dataclass(frozen=True, slots=True)
class SaidStyle:
    """What one variant's marks look like.

    Attributes:
        words: colour and shape, for a legend.
        colour: red, green, blue, 0–255.
        sides: of the figure around a point; 0 is none.
        dash: lengths of a box's dashes and of the gaps between them.
    """

    words: str
    colour: tuple[int, int, int]
    sides: int
    dash: tuple[int, int]


STYLES = (
    SaidStyle("orange cross or dashes", (230, 159, 0), 0, (9, 5)),
    SaidStyle("blue cross in a diamond or dashes", (86, 180, 233), 4, (4, 4)),
    SaidStyle("green cross in a triangle or dashes", (0, 158, 115), 3, (14, 5)),
    SaidStyle("yellow cross in a pentagon or dashes", (240, 228, 66), 5, (3, 5)),
    SaidStyle("pink cross in a hexagon or dashes", (204, 121, 167), 6, (18, 8)),
)


@dataclass(frozen=True, slots=True)
class SaidMark:
    """One said place on a picture.

    Attributes:
        style: index into `STYLES`; those after the last begin again.
        corners: (x, y) of a point, or of a box's two corners, in pixels of the picture; anywhere.
    """

    style: int
    corners: tuple[Point, ...]

    def scaled(self, down: float, along: float) -> "SaidMark":
        """The same place on the picture at another size: `down` and `along` times as high and wide."""
        return SaidMark(self.style, tuple((x * along, y * down) for x, y in self.corners))


def style_of(index: int) -> SaidStyle:
    """The style of a variant, by its place among all that were recorded."""
    return STYLES[index % len(STYLES)]


def style_json(index: int) -> dict[str, Json]:
    """The style of a variant, as plain values: its colour as `#rrggbb`."""
    style = style_of(index)
    return {
        "words": style.words,
        "colour": "#" + "".join(f"{part:02x}" for part in style.colour),
        "sides": style.sides,
        "dash": list(style.dash),
    }


def draw_said(picture: Image.Image, mark: SaidMark, unit: float) -> None:
    """Draw one said place on an RGB picture, in place; what lies beyond it is not drawn.

    Args:
        picture: PIL image, mode RGB.
        mark: the place.
        unit: the length of one pixel of a picture of usual size.
    """
    style = style_of(mark.style)
    if len(mark.corners) == 1:
        _stamp(picture, mark.corners[0], style, unit)
        return
    draw, sides = ImageDraw.Draw(picture), _sides(mark, picture.size, (_FIGURE + _EDGE) * unit)
    dashes = [dash for side in sides for dash in _dashes(side, style.dash, unit)]
    for pen, colour, lines in ((_EDGE, _BLACK, sides), (_PEN, style.colour, dashes)):
        for line in lines:
            draw.line(line, fill=colour, width=max(1, round(pen * unit)))


_Line = tuple[float, float, float, float]


def _stamp(picture: Image.Image, centre: Point, style: SaidStyle, unit: float) -> None:
    """A point's cross and figure, edges smooth."""
    half = math.ceil((_FIGURE + _EDGE) * unit)
    left, top = math.floor(centre[0]) - half, math.floor(centre[1]) - half
    if not (-2 * half < left < picture.width and -2 * half < top < picture.height):
        return
    lines = _cross(unit) + _figure(style.sides, unit)
    stamp = Image.new("RGBA", ((2 * half + 1) * _FINE,) * 2)
    draw = ImageDraw.Draw(stamp)
    for pen, colour in ((_EDGE, (*_BLACK, 255)), (_PEN, (*style.colour, 255))):
        for x0, y0, x1, y1 in lines:
            ends = [centre[0] - left + x0, centre[1] - top + y0, centre[0] - left + x1, centre[1] - top + y1]
            draw.line([end * _FINE for end in ends], fill=colour, width=max(1, round(pen * unit * _FINE)))
    stamp = stamp.reduce(_FINE)
    picture.paste(stamp, (left, top), stamp)


def _cross(unit: float) -> list[_Line]:
    near, far = _GAP * unit, _ARM * unit
    return [(dx * near, dy * near, dx * far, dy * far) for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1))]


def _figure(sides: int, unit: float) -> list[_Line]:
    """A polygon, one corner straight above its middle."""
    turns = [2 * math.pi * side / sides for side in range(sides)]
    corners = [(_FIGURE * unit * math.sin(turn), -_FIGURE * unit * math.cos(turn)) for turn in turns]
    return [(*corner, *corners[(index + 1) % sides]) for index, corner in enumerate(corners)]


def _sides(mark: SaidMark, size: tuple[int, int], reach: float) -> list[_Line]:
    """A box's four edges; what lies far beyond the picture stands just beyond it."""
    (x0, y0), (x1, y1) = mark.corners
    left, right = (min(max(edge, -reach), size[0] + reach) for edge in sorted((x0, x1)))
    top, low = (min(max(edge, -reach), size[1] + reach) for edge in sorted((y0, y1)))
    return [(left, top, right, top), (right, top, right, low), (right, low, left, low), (left, low, left, top)]


def _dashes(line: _Line, dash: tuple[int, int], unit: float) -> list[_Line]:
    x0, y0, x1, y1 = line
    length, step = math.hypot(x1 - x0, y1 - y0), sum(dash) * unit
    found = []
    for number in range(math.ceil(length / step)):
        start, stop = number * step / length, min((number * step + dash[0] * unit) / length, 1.0)
        found.append((x0 + (x1 - x0) * start, y0 + (y1 - y0) * start, x0 + (x1 - x0) * stop, y0 + (y1 - y0) * stop))
    return found
