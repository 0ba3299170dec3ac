"""Drawn screens whose every element and box is known: windows, tool bars, buttons, lines of text, a cursor.

A screen shows one to thirty buttons, each a sign of the world (`world.SHAPES`) in a colour of the world
(`world.COLOURS`) on a dark plate. No two buttons have the same colour *and* the same shape, so "the red circle" names
exactly one; most buttons share their colour or their shape with others, so that half a look is not enough. Greyed-out
plates carry signs without a colour: they are no buttons and are never named.

This file decides what a screen is to others and what is asked about it: "Click the red circle." is answered with a
tool call in Qwen's layout whose coordinate is the middle of the button, in thousandths of width and height. It must
not know how a screen is laid out or painted, nor the model or its tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from inference.demo.screen_layout import (
    MAX_BUTTONS,
    MIN_BUTTON_SIDE,
    MIN_SCREEN_SIDE,
    Button,
    ElementKind,
    lay_out,
    most_buttons,
)
from inference.demo.screen_painting import paint
from inference.demo.world import COLOURS, SHAPES, Box

#: Ways to ask for a click; the first is the one that evaluations use.
CLICK_PROMPTS: Final = ("Click the {name}.", "Click on the {name}.", "Press the {name}.")

#: The answer up to its point, and after it: a tool call as Qwen writes it.
CALL_BEFORE: Final = '<tool_call>\n{"name": "click", "arguments": {"coordinate": '
CALL_AFTER: Final = "}}\n</tool_call>"


@dataclass(frozen=True, slots=True)
class ScreenElement:
    """One thing on a screen.

    Attributes:
        kind: what it is.
        box: the tight box of every pixel that it paints, `(top, left, bottom, right)`, half-open, in pixels.
        colour: a button's colour, one of `COLOURS`; empty for everything else.
        shape: the sign of a button or of a greyed-out one, one of `SHAPES`; empty for everything else.
    """

    kind: ElementKind
    box: Box
    colour: str = ""
    shape: str = ""

    @property
    def name(self) -> str:
        """A button's colour and shape as the model is asked for it, e.g. `"red circle"`; empty without a colour."""
        return f"{self.colour} {self.shape}" if self.colour else ""

    @property
    def area(self) -> int:
        """Area of the box in pixels."""
        top, left, bottom, right = self.box
        return (bottom - top) * (right - left)

    def holds(self, point: tuple[int, int], size: tuple[int, int]) -> bool:
        """Whether a said point lies in the box.

        Args:
            point: `(x, y)` in thousandths of width and height.
            size: `(height, width)` of the screen in pixels.
        """
        (x, y), (height, width) = point, size
        top, left, bottom, right = self.box
        return 1000 * left <= x * width < 1000 * right and 1000 * top <= y * height < 1000 * bottom


@dataclass(frozen=True, slots=True)
class Screen:
    """A drawn screen and the truth about it.

    Attributes:
        image: RGB picture.
        elements: everything on it, in the order in which it was painted.
    """

    image: Image.Image
    elements: tuple[ScreenElement, ...]

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` in pixels."""
        return self.image.height, self.image.width

    @property
    def buttons(self) -> tuple[ScreenElement, ...]:
        """What can be named and clicked; their boxes do not overlap and no two have the same name."""
        return tuple(element for element in self.elements if element.kind == "button")

    @property
    def largest(self) -> ScreenElement:
        """The button with the largest box; of equals, the first painted."""
        return max(self.buttons, key=lambda button: button.area)

    def find(self, name: str) -> ScreenElement:
        """The one button of that name.

        Args:
            name: a colour word, a space and a shape word.

        Raises:
            KeyError: no button of this screen is called so.
        """
        for button in self.buttons:
            if button.name == name:
                return button
        shown = ", ".join(button.name for button in self.buttons)
        raise KeyError(f"no button of this screen is a {name!r}; it shows {shown}")


@dataclass(frozen=True, slots=True)
class Click:
    """A request for a click, its true answer and the button that it is about."""

    prompt: str
    answer: str
    about: ScreenElement


def screen(
    seed: int,
    buttons: int = 12,
    size: tuple[int, int] = (256, 320),
    side: tuple[int, int] = (24, 40),
    must_have: Sequence[str] = (),
) -> Screen:
    """Draw one screen; the same arguments always draw the same one.

    Args:
        seed: non-negative seed.
        buttons: how many buttons, 1 to `MAX_BUTTONS` and not more than find room (`most_buttons`).
        size: `(height, width)` in pixels, each at least `MIN_SCREEN_SIDE`.
        side: smallest and largest height of a button in pixels, from `MIN_BUTTON_SIDE` to a quarter of the screen's
            shorter side; where many find no room, the largest are drawn smaller.
        must_have: names that the screen must show, such as `("red circle",)`.

    Raises:
        ValueError: an argument is out of range, a name is unknown or repeated, or there are more names than buttons.
    """
    _check(seed, buttons, size, side, must_have)
    rng = np.random.default_rng([seed, buttons, *size, *side])
    others = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES if f"{colour} {shape}" not in must_have]
    names = [*must_have, *[others[index] for index in rng.permutation(len(others))[: buttons - len(must_have)]]]
    shuffled = [names[index].split() for index in rng.permutation(buttons)]
    layout = lay_out(rng, [(colour, shape) for colour, shape in shuffled], size, side)
    elements = [
        ScreenElement(part.kind, part.box, part.colour, part.shape)
        if isinstance(part, Button)
        else ScreenElement(part.kind, part.box)
        for part in layout.parts
    ]
    return Screen(paint(layout), tuple(elements))


def ask_click(of: Screen, about: ScreenElement, wording: int = 0) -> Click:
    """Ask for a click on one button.

    Args:
        of: the screen that shows it.
        about: the button.
        wording: index into `CLICK_PROMPTS`.
    """
    return Click(CLICK_PROMPTS[wording].format(name=about.name), call(middle(about.box, of.size)), about)


def call(point: tuple[int, int]) -> str:
    """The tool call that clicks a point `(x, y)`, 0–999 each."""
    return f"{CALL_BEFORE}{written(point)}{CALL_AFTER}"


def written(point: tuple[int, int]) -> str:
    """A point as a tool call says it: three digits each, `"[041, 733]"`, so that every answer has as many tokens."""
    x, y = point
    return f"[{x:03d}, {y:03d}]"


def middle(box: Box, size: tuple[int, int]) -> tuple[int, int]:
    """The middle of a box as `(x, y)` in thousandths of width and height, rounded down: 0–999 each."""
    top, left, bottom, right = box
    height, width = size
    return 500 * (left + right) // width, 500 * (top + bottom) // height


def _check(seed: int, buttons: int, size: tuple[int, int], side: tuple[int, int], must_have: Sequence[str]) -> None:
    """Refuse what `screen` cannot draw."""
    if seed < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}")
    if min(size) < MIN_SCREEN_SIDE:
        raise ValueError(f"size is (height, width) in pixels, each at least {MIN_SCREEN_SIDE}; got {size}")
    if not MIN_BUTTON_SIDE <= side[0] <= side[1] <= min(size) // 4:
        raise ValueError(
            f"side is (smallest, largest) in pixels, from {MIN_BUTTON_SIDE} to a quarter of the screen's shorter side, "
            f"{min(size) // 4}; got {side}"
        )
    room = min(MAX_BUTTONS, most_buttons(size, side[0]))
    if not 1 <= buttons <= room:
        raise ValueError(
            f"buttons must be 1 to {room} on a screen of {size[0]} x {size[1]} with sides from {side[0]}; got {buttons}"
        )
    if isinstance(must_have, str):
        raise ValueError(f"must_have is a sequence of names, such as ({must_have!r},); got the string {must_have!r}")
    known = {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES}
    unknown = [name for name in must_have if name not in known]
    if unknown:
        raise ValueError(
            f"must_have knows names of a colour ({', '.join(COLOURS)}) and a shape ({', '.join(SHAPES)}), such as "
            f"'red circle'; got {unknown[0]!r}"
        )
    if len(set(must_have)) < len(must_have):
        raise ValueError(f"must_have names each button once; got {tuple(must_have)}")
    if len(must_have) > buttons:
        raise ValueError(f"{buttons} button(s) cannot show all of {tuple(must_have)}")
