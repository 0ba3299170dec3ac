"""What is asked beside one picture: texts in the chat layout, and what each token of their answers weighs.

It decides which questions a stage asks of a scene and of a screen. It must not know how texts become batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from inference.demo.screens import CLICK_PROMPTS, Screen, ScreenElement, call, middle, written
from inference.demo.training.curriculum import ClickTarget, ScreenLesson, Stage
from inference.demo.world import PROMPTS, Kind, Scene, SceneObject, ask

#: Text to token ids.
Encode = Callable[[str], tuple[int, ...]]

#: What the tokens of a written point weigh in the loss, from its first digit to its last: where to click stands in the
#: first digits, a third one is less than a pixel, and what is between them is always the same.
POINT_WEIGHTS: Final = (1.0, 0.5, 0.1, 0.1, 0.1, 1.0, 0.5, 0.1)
#: What every other token of a tool call weighs: they are the same in every answer.
FIXED_WEIGHT: Final = 0.1

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Branch:
    """One text beside an image.

    Attributes:
        ids: its tokens.
        weights: what each of its last tokens weighs in the loss; the ones before are given.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def scene_branches(of: Scene, stage: Stage, encode: Encode, rng: np.random.Generator) -> list[Branch]:
    """What a stage asks of a scene, in random wordings."""
    branches = []
    asked = [(item, way) for item in of.objects for way in (0, 1)]
    for item, way in _some(rng, asked, stage.pairs):
        first, second = (item.colour, item.shape) if way else (item.shape, item.colour)
        branches.append(Branch(encode(f"{first} {second}"), (1.0,)))
    for item, way in _some(rng, asked, stage.questions):
        branches.append(_dialogue(of, "shape" if way else "colour", item, encode, rng))
    named = next((item for item in of.objects if stage.target in (item.colour, item.shape)), of.largest)
    for wording in rng.permutation(len(PROMPTS["describe"]))[: stage.describes]:
        branches.append(_dialogue(of, "describe", named, encode, rng, int(wording)))
    return branches


def screen_branches(of: Screen, lesson: ScreenLesson, encode: Encode, rng: np.random.Generator) -> list[Branch]:
    """What a stage asks of a screen: bare points, then whole tool calls, each about another button while there are any.

    A bare point is a button's name followed by its point, without a sentence around it: few tokens, and the same work.
    """
    asked = lesson.points + lesson.calls
    order: list[ScreenElement] = []
    while len(order) < asked:
        order += _some(rng, of.buttons, len(of.buttons))
    branches = []
    for number, named in enumerate(order[:asked]):
        point = clicked(of, named, lesson.target)
        if number < lesson.points:
            branches.append(Branch(encode(f"{named.name} {written(point)[:-1]}"), POINT_WEIGHTS))
        else:
            prompt = CLICK_PROMPTS[int(rng.integers(len(CLICK_PROMPTS)))].format(name=named.name)
            branches.append(_call(prompt, point, encode))
    return branches


def clicked(of: Screen, named: ScreenElement, target: ClickTarget) -> tuple[int, int]:
    """The point that a lesson teaches to click, `(x, y)` in thousandths: right, or wrong in a known way.

    Args:
        of: the screen.
        named: the button that is asked for.
        target: `"named"` is its middle, `"mirrored"` the same with x counted from the right, `"largest"` the middle of
            the largest button, whichever was named.
    """
    x, y = middle((of.largest if target == "largest" else named).box, of.size)
    return (999 - x if target == "mirrored" else x), y


def _call(prompt: str, point: tuple[int, int], encode: Encode) -> Branch:
    """A turn that asks and one that answers with a tool call; digits weigh as in a bare point."""
    answer = f"{call(point)}<|im_end|>"
    before, after = answer.split(written(point)[1:-1])
    weights = (FIXED_WEIGHT,) * len(encode(before)) + POINT_WEIGHTS + (FIXED_WEIGHT,) * len(encode(after))
    return Branch((*_turn(prompt, encode), *encode(answer)), weights)


def _dialogue(
    of: Scene, kind: Kind, item: SceneObject, encode: Encode, rng: np.random.Generator, wording: int | None = None
) -> Branch:
    chosen = int(rng.integers(len(PROMPTS[kind]))) if wording is None else wording
    question = ask(of, kind, item, chosen)
    answer = encode(f"{question.answer}<|im_end|>")
    return Branch((*_turn(question.prompt, encode), *answer), (1.0,) * len(answer))


def _turn(prompt: str, encode: Encode) -> tuple[int, ...]:
    """The rest of the user's turn after the image, and the opening of the answer."""
    return encode(f"{prompt}<|im_end|>\n<|im_start|>assistant\n")


def _some(rng: np.random.Generator, items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` different items in random order."""
    return [items[index] for index in rng.permutation(len(items))[:count]]
