"""What stands where on a drawn screen: every part with its box and the numbers that it is painted from.

A layout is made from integers of one generator alone, and holds everything that the painting needs: two paintings of
one layout are the same picture, and a part can be left out to see which pixels are its own.

It must not know how parts become pixels, nor what is asked about a screen.

1. The desktop is cut into one to three windows, each with a title bar.
2. Some windows have a tool bar, a row of plates under the title; all other plates are thrown into the windows' bodies.
3. Lines of text and the cursor go where there is room left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from inference.demo.world import COLOURS, SHAPES, Box

ElementKind = Literal["window", "title", "toolbar", "line", "button", "greyed", "cursor"]
RGB = tuple[int, int, int]

MAX_BUTTONS: Final = 30
#: Shortest side of a screen and of a button, in pixels.
MIN_SCREEN_SIDE: Final = 128
MIN_BUTTON_SIDE: Final = 18
#: Empty pixels between two plates, and between a plate and its window's frame.
GAP: Final = 3
TITLE_HEIGHT: Final = 11

#: The cursor's outline as half-open runs of columns, one per row: an arrow that points up and left.
CURSOR: Final = ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (0, 5), (3, 6), (4, 7), (4, 7))

_COLOUR_JITTER: Final = 16
_LAYOUT_TRIES: Final = 60
_PLACE_TRIES: Final = 60


@dataclass(frozen=True, slots=True)
class Part:
    """A window, a bar, a line of text or the cursor.

    Attributes:
        kind: what it is.
        box: every pixel that it paints, in pixels, half-open.
        fill: its own colour.
        words: of a line of text, the half-open columns of each word.
    """

    kind: ElementKind
    box: Box
    fill: RGB
    words: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Button:
    """A plate with a sign: a button, or a greyed-out one, whose sign has no colour.

    Attributes:
        kind: `"button"` or `"greyed"`.
        box: the plate.
        fill: the plate's colour; its border is lighter.
        colour: the sign's colour word; empty where it is grey.
        shape: the sign's shape word.
        ink: the sign's colour as painted.
        sign_side: longer side of the sign in pixels.
        sign_seed: decides how the sign is turned.
    """

    kind: ElementKind
    box: Box
    fill: RGB
    colour: str
    shape: str
    ink: RGB
    sign_side: int
    sign_seed: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that a screen is painted from.

    Attributes:
        size: `(height, width)` in pixels.
        desktop: colour behind the windows.
        parts: in the order of painting.
        grain_seed: decides the noise.
        grain: strength of the noise, 0–12 levels of brightness.
    """

    size: tuple[int, int]
    desktop: RGB
    parts: tuple[Part | Button, ...]
    grain_seed: int
    grain: int


def most_buttons(size: tuple[int, int], smallest: int) -> int:
    """How many buttons of the smallest side always find room."""
    return size[0] * size[1] * 3 // (10 * (smallest + GAP) ** 2)


def lay_out(
    rng: np.random.Generator, names: Sequence[tuple[str, str]], size: tuple[int, int], side: tuple[int, int]
) -> Layout:
    """Lay a screen out.

    Args:
        rng: where all integers come from.
        names: colour and shape word of each button.
        size: `(height, width)` in pixels.
        side: smallest and largest height of a plate in pixels.
    """
    greyed = int(rng.integers(0, 3)) if len(names) < most_buttons(size, side[0]) - 2 else 0
    windows, bars, bodies, plates = _windows_with_plates(rng, len(names) + greyed, size, side)
    shade = int(rng.integers(40, 67))  # dark, as the scenes' ground is
    parts: list[Part | Button] = []
    for window, title in windows:
        tone = shade + int(rng.integers(-10, 11))
        parts += [Part("window", window, _tinted(rng, tone)), Part("title", title, _tinted(rng, tone + 20))]
    parts += [Part("toolbar", bar, _tinted(rng, shade + 30)) for bar in bars]
    taken = [*plates]
    for _ in range(int(rng.integers(4, 14))):
        body = bodies[int(rng.integers(len(bodies)))]
        line = _line(rng, body, taken)
        if line is not None:
            taken.append(line.box)
            parts.append(line)
    looks = [*names, *[("", SHAPES[int(rng.integers(len(SHAPES)))]) for _ in range(greyed)]]
    parts += [_button(rng, colour, shape, box) for (colour, shape), box in zip(looks, plates, strict=True)]
    cursor = _cursor(rng, size, plates)
    if cursor is not None:
        parts.append(cursor)
    grain_seed, grain = int(rng.integers(2**31)), int(rng.integers(0, 13))
    return Layout(size, _tinted(rng, int(rng.integers(16, 29))), tuple(parts), grain_seed, grain)


def _windows_with_plates(
    rng: np.random.Generator, plates: int, size: tuple[int, int], side: tuple[int, int]
) -> tuple[list[tuple[Box, Box]], list[Box], list[Box], list[Box]]:
    """Windows with their titles, tool bars, bodies, and the plates' boxes in random order.

    Each try that finds no room for all plates makes them smaller; the last ones have one window and no tool bar.
    """
    smallest, largest = side
    for attempt in range(_LAYOUT_TRIES):
        largest = max(smallest, side[1] - (side[1] - smallest) * attempt * 2 // _LAYOUT_TRIES)
        plain = attempt > _LAYOUT_TRIES * 2 // 3
        windows = _windows(rng, size, 1 if plain else int(rng.integers(1, 4)))
        sides = [int(rng.integers(smallest, largest + 1)) for _ in range(plates)]
        stretch = 0 if plain else 4  # tenths of its height by which a plate may be wider
        shapes = [(tall, tall + tall * int(rng.integers(0, stretch + 1)) // 10) for tall in sides]
        waiting = sorted(shapes, reverse=True)
        placed: list[Box] = []
        bars: list[Box] = []
        bodies: list[Box] = []
        for (_, left, bottom, right), title in windows:
            body = (title[2] + 1, left + 2, bottom - 2, right - 2)
            thick = largest + 2 * GAP
            if not plain and rng.integers(2) and body[2] - body[0] > 2 * thick and waiting:
                bars.append((body[0], body[1], body[0] + thick, body[3]))
                placed += _row(rng, bars[-1], waiting)
                body = (body[0] + thick, *body[1:])
            bodies.append(body)
        placed += _thrown(rng, bodies, waiting, placed)
        if not waiting:
            return windows, bars, bodies, [placed[index] for index in rng.permutation(plates)]
    raise AssertionError(f"no layout for {plates} plates of {side} in {size}")


def _windows(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[tuple[Box, Box]]:
    """Windows that cut the desktop among them, each with its title bar."""
    edge = int(rng.integers(1, 5))
    areas: list[Box] = [(edge, edge, size[0] - edge, size[1] - edge)]
    while len(areas) < count:
        areas.sort(key=lambda area: (area[2] - area[0]) * (area[3] - area[1]))
        top, left, bottom, right = areas.pop()
        share = int(rng.integers(40, 61))
        if bottom - top > right - left:
            cut = top + (bottom - top) * share // 100
            areas += [(top, left, cut - 1, right), (cut + 1, left, bottom, right)]
        else:
            cut = left + (right - left) * share // 100
            areas += [(top, left, bottom, cut - 1), (top, cut + 1, bottom, right)]
    return [(area, (area[0] + 1, area[1] + 1, area[0] + 1 + TITLE_HEIGHT, area[3] - 1)) for area in areas]


def _row(rng: np.random.Generator, bar: Box, waiting: list[tuple[int, int]]) -> list[Box]:
    """Plates from left to right in a tool bar; those that were placed are no longer waiting."""
    placed: list[Box] = []
    left = bar[1] + GAP + int(rng.integers(0, 5))
    while waiting:
        tall, wide = waiting[0]
        if left + wide + GAP > bar[3] or len(placed) >= 8:
            break
        top = bar[0] + (bar[2] - bar[0] - tall) // 2
        placed.append((top, left, top + tall, left + wide))
        waiting.pop(0)
        left += wide + GAP + int(rng.integers(0, 9))
    return placed


def _thrown(
    rng: np.random.Generator, bodies: Sequence[Box], waiting: list[tuple[int, int]], placed: Sequence[Box]
) -> list[Box]:
    """Plates at random places of the bodies, none nearer than `GAP` to another; stops where one finds no room."""
    thrown: list[Box] = []
    while waiting:
        tall, wide = waiting[0]
        for _ in range(_PLACE_TRIES):
            body = bodies[int(rng.integers(len(bodies)))]
            box = _somewhere(rng, body, tall, wide)
            if box is not None and all(_apart(box, other, GAP) for other in (*placed, *thrown)):
                thrown.append(box)
                waiting.pop(0)
                break
        else:
            return thrown
    return thrown


def _somewhere(rng: np.random.Generator, area: Box, tall: int, wide: int) -> Box | None:
    """A box of that size anywhere in an area, `GAP` from its edges; None where it is too small."""
    down, across = area[2] - area[0] - tall - 2 * GAP, area[3] - area[1] - wide - 2 * GAP
    if down < 0 or across < 0:
        return None
    top = area[0] + GAP + int(rng.integers(0, down + 1))
    left = area[1] + GAP + int(rng.integers(0, across + 1))
    return top, left, top + tall, left + wide


def _line(rng: np.random.Generator, body: Box, taken: Sequence[Box]) -> Part | None:
    """A line of text-like words where nothing else stands; None where luck ran out."""
    tall = int(rng.integers(2, 5))
    lengths = [int(length) for length in rng.integers(3, 16, int(rng.integers(1, 7)))]
    wide = sum(lengths) + 3 * (len(lengths) - 1)
    for _ in range(8):
        box = _somewhere(rng, body, tall, wide)
        if box is not None and all(_apart(box, other, 2) for other in taken):
            words = []
            left = box[1]
            for length in lengths:
                words.append((left, left + length))
                left += length + 3
            return Part("line", box, _tinted(rng, int(rng.integers(130, 181))), tuple(words))
    return None


def _button(rng: np.random.Generator, colour: str, shape: str, box: Box) -> Button:
    """A plate with its sign; without a colour, greyed out."""
    fill = _tinted(rng, int(rng.integers(22, 51)))
    if colour:
        red, green, blue = (
            level + int(off)
            for level, off in zip(COLOURS[colour], rng.integers(-_COLOUR_JITTER, _COLOUR_JITTER + 1, 3), strict=True)
        )
        ink = (min(red, 255), min(green, 255), min(blue, 255))
    else:
        level = int(rng.integers(120, 190))
        ink = (level, level, level)
    side = min(box[2] - box[0], box[3] - box[1])
    sign_side = (side - 4) * int(rng.integers(80, 96)) // 100
    return Button("button" if colour else "greyed", box, fill, colour, shape, ink, sign_side, int(rng.integers(2**31)))


def _cursor(rng: np.random.Generator, size: tuple[int, int], plates: Sequence[Box]) -> Part | None:
    """The cursor, next to no plate."""
    for _ in range(_PLACE_TRIES):
        box = _somewhere(rng, (0, 0, *size), len(CURSOR), max(right for _, right in CURSOR))
        if box is not None and all(_apart(box, other, 1) for other in plates):
            return Part("cursor", box, (20, 20, 20))
    return None


def _apart(one: Box, other: Box, gap: int) -> bool:
    """Whether at least `gap` empty rows or columns lie between two boxes."""
    return one[0] - other[2] >= gap or other[0] - one[2] >= gap or one[1] - other[3] >= gap or other[1] - one[3] >= gap


def _tinted(rng: np.random.Generator, level: int) -> RGB:
    """A grey of that brightness with a slight tint, inside 10 … 240."""
    red, green, blue = (min(240, max(10, level + int(off))) for off in rng.integers(-6, 7, 3))
    return red, green, blue
