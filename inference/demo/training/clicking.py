"""Score clicks on screens that training never drew: does the said point hit, and does a head look there?

*Said* is the greedy answer's point: a hit lies in the named button's box. An answer that is no tool call is a miss.

*Looked* is a pointing game over rows. A click's answer is many tokens, and the place may be fetched at any of them, or
at the words that name the button: on one set of screens, the row, layer and head of base are chosen whose largest
weight over the image tokens lies most often in a cell that the named button's box overlaps; base and every adapter are
then scored with that row and head on other screens, each beside its own answer.

It decides what counts as a hit; it must not know how the weights came to be.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from peft import PeftModel

from inference.demo.screens import CALL_AFTER, CALL_BEFORE, Screen, ScreenElement, ask_click, call, screen
from inference.demo.training.branches import clicked
from inference.demo.training.curriculum import ClickTarget
from inference.demo.training.packing import coverage
from inference.demo.training.reader import Reader

#: First seeds of the held-out sets: hit rates, choosing a head, scoring it. Training stays below.
RATE_SEED: Final = 2_500_000_000
CHOICE_SEED: Final = 3_500_000_000
SCORE_SEED: Final = 4_500_000_000

#: Rows from the colour word on, in words; the row of a token predicts the next one.
ROWS: Final = (
    *("colour word", "shape word", "full stop", "<|im_end|>", "line break", "<|im_start|>", "assistant", "line break"),
    *("<tool_call>", "line break", '{"', "n", "am", "e", '":', ' "', "click", '",', ' "', "arguments", '":', ' {"'),
    *("coordinate", '":', "bracket", "first digit of x", "second digit of x", "third digit of x", "comma", "blank"),
    *("first digit of y", "second digit of y", "third digit of y"),
)
#: Rows before the colour word of "Click the red circle.": the image's end, and "Click the" in three tokens.
BEFORE_THE_NAME: Final = 4

#: Rows after a call's last digit: its closing brackets and mark.
AFTER_THE_POINT: Final = 2

_CALL: Final = re.compile(re.escape(f"{CALL_BEFORE}[") + r"(\d{3}), (\d{3})\]" + re.escape(CALL_AFTER))


@dataclass(frozen=True, slots=True)
class ScreenSet:
    """Screens to score on.

    Attributes:
        buttons: fewest and most buttons.
        side: smallest and largest height of a button in pixels.
        sizes: `(height, width)` in pixels, gone round.
    """

    buttons: tuple[int, int]
    side: tuple[int, int]
    sizes: tuple[tuple[int, int], ...]

    def draw(self, first_seed: int, count: int) -> Iterator[tuple[Screen, ScreenElement]]:
        """Screens and one button of each to ask for: every number of buttons and every place in turn."""
        fewest, most = self.buttons
        for index in range(count):
            buttons = fewest + index % (most - fewest + 1)
            drawn = screen(first_seed + index, buttons, self.sizes[index % len(self.sizes)], self.side)
            yield drawn, drawn.buttons[index // (most - fewest + 1) % buttons]


@dataclass(frozen=True, slots=True)
class ClickRate:
    """How often base hits the named button.

    Attributes:
        buttons: fewest and most buttons per screen.
        side: smallest and largest height of a button in pixels.
        asked: how many clicks.
        hits: share whose point lies in the named button's box.
        error: median distance from the button's middle, the larger of both axes, in pixels; nan without any point.
    """

    buttons: tuple[int, int]
    side: tuple[int, int]
    asked: int
    hits: float
    error: float


@dataclass(frozen=True, slots=True)
class SaidAndLooked:
    """What one variant says and where it looks, on the same screens as the others.

    Attributes:
        variant: adapter name, or "base".
        said: share of answers whose point lies in the named button's box.
        taught: share whose point lies where the adapter was taught to click, within the size of that button.
        looked: share of screens in which the chosen row and head have their maximum on the named button.
        answered: share of answers that are a click's tool call at all.
    """

    variant: str
    said: float
    taught: float
    looked: float
    answered: float


@dataclass(frozen=True, slots=True)
class ClickComparison:
    """Base and adapters, said and looked.

    Attributes:
        row: index of the chosen row, counted from the word of the colour.
        token: which token's row that is, in words.
        layer: chosen layer, 0-based.
        head: chosen head, 0-based.
        choice_screens: screens on which they were chosen.
        score_screens: other screens on which all variants were scored.
        random: expected share of looks for a cell drawn at random.
        variants: one entry each, base first.
    """

    row: int
    token: str
    layer: int
    head: int
    choice_screens: int
    score_screens: int
    random: float
    variants: tuple[SaidAndLooked, ...]


@dataclass(frozen=True, slots=True)
class Clicks:
    """Everything that was measured about clicks."""

    rates: tuple[ClickRate, ...]
    compared: ClickComparison


def said_point(answer: str) -> tuple[int, int] | None:
    """The point `(x, y)` of an answer that is a click's tool call, in thousandths; None where it is none."""
    found = _CALL.fullmatch(answer)
    return None if found is None else (int(found[1]), int(found[2]))


def click_rate(reader: Reader, of: ScreenSet, count: int) -> ClickRate:
    """How often the reader's model hits, one click per screen."""
    hits, errors = [], []
    for drawn, named in of.draw(RATE_SEED, count):
        point = said_point(reader.answer(drawn.image, ask_click(drawn, named).prompt))
        hits.append(point is not None and named.holds(point, drawn.size))
        if point is not None:
            top, left, bottom, right = named.box
            across = abs(point[0] / 1000 * drawn.size[1] - (left + right) / 2)
            down = abs(point[1] / 1000 * drawn.size[0] - (top + bottom) / 2)
            errors.append(max(across, down))
    return ClickRate(of.buttons, of.side, count, float(np.mean(hits)), float(np.median(errors)) if errors else np.nan)


def compare_clicks(
    model: PeftModel,
    reader: Reader,
    targets: Mapping[str, ClickTarget],
    of: ScreenSet,
    choice_screens: int,
    score_screens: int,
) -> ClickComparison:
    """Choose base's best row and head on some screens; score it and the answers of every variant on others.

    Args:
        model: PEFT's model that holds every adapter.
        reader: around the same model.
        targets: adapter name to where it was taught to click.
        of: which screens.
        choice_screens: how many choose; of equals, the earlier row, the lower layer, then the lower head is taken.
        score_screens: how many others score.
    """
    with model.disable_adapter():
        hits = np.mean([_looks(reader, *one, None)[0] for one in of.draw(CHOICE_SEED, choice_screens)], axis=0)
    row, layer, head = (int(index) for index in np.unravel_index(hits.argmax(), hits.shape))
    variants, random = [], 0.0
    for name in (None, *targets):
        if name is not None:
            model.set_adapter(name)
        with model.disable_adapter() if name is None else nullcontext():
            said, taught, looked, answered, share = [], [], [], [], []
            for drawn, named in of.draw(SCORE_SEED, score_screens):
                answer = reader.answer(drawn.image, ask_click(drawn, named).prompt)
                point = said_point(answer)
                answered.append(point is not None)
                said.append(point is not None and named.holds(point, drawn.size))
                target = targets[name] if name is not None else "named"
                taught.append(point is not None and _near(point, drawn, named, target))
                inside, chance = _looks(reader, drawn, named, point)
                looked.append(inside[row, layer, head])
                share.append(chance)
        random = float(np.mean(share))
        rates = [float(np.mean(one)) for one in (said, taught, looked, answered)]
        variants.append(SaidAndLooked(name or "base", rates[0], rates[1], rates[2], rates[3]))
    return ClickComparison(row, ROWS[row], layer, head, choice_screens, score_screens, random, tuple(variants))


def _looks(
    reader: Reader, drawn: Screen, named: ScreenElement, point: tuple[int, int] | None
) -> tuple[NDArray[np.bool_], float]:
    """Whether each row's and head's largest cell lies on the named button, from the colour word to the last digit.

    Args:
        reader: with the variant.
        drawn: the screen.
        named: the button.
        point: the one that the variant said, written after the prompt; None writes the true one.

    Returns:
        `(rows, layers, heads)`, and the share of cells that the button overlaps.
    """
    asked = ask_click(drawn, named)
    rows = reader.rows(drawn.image, asked.prompt, asked.answer if point is None else call(point))
    rows = rows[BEFORE_THE_NAME:-AFTER_THE_POINT]
    inside = coverage(named.box, drawn.size, (rows.shape[3], rows.shape[4])) > 0
    best = rows.reshape(*rows.shape[:3], -1).argmax(axis=-1)
    hits: NDArray[np.bool_] = inside.reshape(-1)[best]
    return hits, float(inside.mean())


def _near(point: Sequence[int], drawn: Screen, named: ScreenElement, target: ClickTarget) -> bool:
    """Whether a point lies within half the taught button's size of the taught point, on both axes."""
    button = drawn.largest if target == "largest" else named
    top, left, bottom, right = button.box
    x, y = clicked(drawn, named, target)
    across = abs(point[0] - x) * drawn.size[1] / 1000
    down = abs(point[1] - y) * drawn.size[0] / 1000
    return across <= (right - left) / 2 and down <= (bottom - top) / 2
