"""Score a saved model on scenes it never saw: are its answers right, and do its heads look where they should?

It decides what counts as right and as a hit; it must not know how the weights came to be.

*Accuracy* is exact: every token of the true answer and its end token must be the model's first choice, each after the
true tokens before it, which is the same as a greedy answer being right.

*Localisation* is a pointing game at one row after the image, a token of the question or the row that predicts the first
answer token, the last of the prompt; a head hits where its largest weight over the image tokens lies in a cell that the
target's box overlaps. Row and head are chosen on other scenes. Only scenes whose target is **not** the largest object
are used, since base looks at the largest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from peft import PeftModel

from inference.demo.training.packing import coverage
from inference.demo.training.reader import Reader
from inference.demo.world import PROMPTS, Kind, Scene, ask, questions, scene

#: Image sizes (height, width) that evaluation goes round; some are no multiple of a cell, most are not square.
HELD_OUT_SIZES: Final = ((160, 160), (192, 256), (224, 224), (200, 310), (300, 210), (256, 320), (240, 180), (352, 256))

ACCURACY_SEED: Final = 2_000_000_000
CHOICE_SEED: Final = 3_000_000_000
#: First seeds of the three held-out sets: accuracy, choosing heads, scoring the chosen heads. Training stays below.
SCORE_SEED: Final = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right answers to one kind of question in scenes with one number of objects."""

    kind: Kind
    objects: int
    asked: int
    rate: float


@dataclass(frozen=True, slots=True)
class Localisation:
    """Where one adapter and base look when they are asked to describe an image.

    Attributes:
        adapter: adapter name.
        target: word of the object that the adapter names.
        row: chosen row, counted from the token after the image; the last predicts the first answer token.
        token: which token's row that is.
        layer: chosen layer, 0-based.
        head: chosen head, 0-based.
        choice_scenes: scenes on which row and head were chosen.
        score_scenes: other scenes on which the rates below were measured.
        adapter_rate: share of scenes in which the chosen head's maximum hits the target, with the adapter.
        base_rate: the same row, head and scenes without it.
        random_rate: expected share for a cell drawn at random.
        adapter_named: share of scenes in which the adapter's answer names the target.
        base_named: share of scenes in which base's answer does.
        adapter_heads: `(layers, heads)` hit rates of the row with the adapter on the scoring scenes.
        base_heads: `(layers, heads)` hit rates of base there.
    """

    adapter: str
    target: str
    row: int
    token: str
    layer: int
    head: int
    choice_scenes: int
    score_scenes: int
    adapter_rate: float
    base_rate: float
    random_rate: float
    adapter_named: float
    base_named: float
    adapter_heads: tuple[tuple[float, ...], ...]
    base_heads: tuple[tuple[float, ...], ...]


def accuracy(reader: Reader, scenes: int, kinds: Sequence[Kind] = ("describe", "shape", "colour")) -> list[Accuracy]:
    """Accuracy of base per kind of question and number of objects.

    Args:
        reader: with base.
        scenes: scenes per number of objects.
        kinds: what is asked.
    """
    rates = []
    for count in (1, 2, 3, 4):
        right: dict[Kind, list[bool]] = {kind: [] for kind in kinds}
        for index in range(scenes):
            size = HELD_OUT_SIZES[index % len(HELD_OUT_SIZES)]
            shown = scene(ACCURACY_SEED + 10_000 * count + index, count, size)
            for question in questions(shown, kinds):
                right[question.kind].append(reader.answers_right(shown.image, question.prompt, question.answer))
        rates += [Accuracy(kind, count, len(right[kind]), float(np.mean(right[kind]))) for kind in kinds]
    return rates


def describe_accuracy(reader: Reader, target: str | None, scenes: int) -> float:
    """Share of scenes with 1–4 objects in which "Describe the image." names the target (None: the largest object)."""
    right = []
    for index in range(scenes):
        must_have = () if target is None else (target,)
        size = HELD_OUT_SIZES[index % len(HELD_OUT_SIZES)]
        shown = scene(ACCURACY_SEED + 90_000 + index, 1 + index % 4, size, must_have)
        named = shown.largest if target is None else shown.find(target)
        question = ask(shown, "describe", named)
        right.append(reader.answers_right(shown.image, question.prompt, question.answer))
    return float(np.mean(right))


def hard_scenes(first_seed: int, target: str, scenes: int) -> Iterator[Scene]:
    """Scenes with 2–4 objects whose target is not the largest, sizes and numbers of objects in turn."""
    found = 0
    seed = first_seed
    while found < scenes:
        shown = scene(seed, 2 + found % 3, HELD_OUT_SIZES[found % len(HELD_OUT_SIZES)], (target,))
        seed += 1
        if shown.largest is not shown.find(target):
            found += 1
            yield shown


def localise(
    model: PeftModel, reader: Reader, adapter: str, target: str, choice_scenes: int, score_scenes: int
) -> Localisation:
    """Choose a row and a head on one set of scenes and score them on another.

    The rule: the ones whose hit rate rises most from base to adapter; of equals, the earlier row, then the lower layer,
    then the lower head.

    Args:
        model: PEFT's model with the adapter active; base is the same model with the adapter disabled.
        reader: around the same model.
        adapter: its name.
        target: word of the object it names.
        choice_scenes: how many scenes choose.
        score_scenes: how many others score.
    """
    with_adapter, without, _ = _hits(model, reader, hard_scenes(CHOICE_SEED, target, choice_scenes), target)
    rise = with_adapter.mean(axis=0) - without.mean(axis=0)
    row, layer, head = (int(index) for index in np.unravel_index(rise.argmax(), rise.shape))
    scored = list(hard_scenes(SCORE_SEED, target, score_scenes))
    with_adapter, without, random_rate = _hits(model, reader, scored, target)
    with_adapter, without = with_adapter[:, row], without[:, row]
    named = [reader.answers_right(one.image, PROMPTS["describe"][0], one.find(target).name) for one in scored]
    with model.disable_adapter():
        base_named = [reader.answers_right(one.image, PROMPTS["describe"][0], one.find(target).name) for one in scored]
    return Localisation(
        adapter=adapter,
        target=target,
        row=row,
        token=reader.tokens_after_image(PROMPTS["describe"][0])[row],
        layer=layer,
        head=head,
        choice_scenes=choice_scenes,
        score_scenes=score_scenes,
        adapter_rate=float(with_adapter[:, layer, head].mean()),
        base_rate=float(without[:, layer, head].mean()),
        random_rate=random_rate,
        adapter_named=float(np.mean(named)),
        base_named=float(np.mean(base_named)),
        adapter_heads=_table(with_adapter),
        base_heads=_table(without),
    )


def _hits(
    model: PeftModel, reader: Reader, scenes: Iterator[Scene] | Sequence[Scene], target: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float]:
    """Hits with and without the adapter, `(scenes, rows, layers, heads)` each, and the rate of a random cell."""
    with_adapter, without, share = [], [], []
    for shown in scenes:
        rows = reader.rows(shown.image, PROMPTS["describe"][0])
        inside = coverage(shown.find(target).box, shown.size, (rows.shape[3], rows.shape[4])) > 0
        with_adapter.append(_points_at(rows, inside))
        with model.disable_adapter():
            without.append(_points_at(reader.rows(shown.image, PROMPTS["describe"][0]), inside))
        share.append(inside.mean())
    return np.stack(with_adapter), np.stack(without), float(np.mean(share))


def _points_at(rows: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each row's and head's largest cell lies inside: `(rows, layers, heads)`."""
    best = rows.reshape(*rows.shape[:3], -1).argmax(axis=-1)
    hits: NDArray[np.bool_] = inside.reshape(-1)[best]
    return hits


def _table(hits: NDArray[np.bool_]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(rate), 4) for rate in layer) for layer in hits.mean(axis=0))
