"""Decide what a set of answers with targets says of each variant: does it say the right place, does it look there?

One number per item and variant, then their mean over the set:

- *said*: the share of the places in the variant's own words that lie in the target; 0 where it says none; not known
  where an answer was given to it.
- *looked*: whether one head's largest weight lies in the target. The head is base's best (the first variant's, without
  base): the one that is right most often on one half of the images, scored on the other half, so that no head is judged
  by what it was chosen by. All variants are judged by the same heads.
- *share*: the share of the focus rows' attention that is in the target, mean of all heads.

An interval is the percentile bootstrap over images (Efron 1979): answers about the same image are no two witnesses.
The change against base is paired, item by item. Answers with a target that could not be measured, such as those without
a digit where digits are asked for, are counted, and nothing is concluded over a set that lacks them.

It knows rows of the summary alone: no file, no picture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.batch.measures import Row, hits_of
from inference.descriptions import AdapterInfo

Measured = Literal["said", "looked", "share"]
MEASURED: tuple[Measured, ...] = ("said", "looked", "share")
_HANDS_AND_EYES: tuple[Measured, ...] = ("said", "looked")
#: So many images at least have an interval, and so many resamples make it.
LEAST_IMAGES, RESAMPLES = 4, 2_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval; the bounds are nan where there are fewer images than `LEAST_IMAGES`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SetScore:
    """One variant over the set.

    Attributes:
        variant: `base` or the adapter's name.
        family, step: its training run and step; "" and None where it is no checkpoint.
        items, images: how many answers have a target, and about how many images.
        answered: share of them in which it says any place; nan where all answers were given.
        means: of each measure its mean over the items where it is known, 0–1, else nan: `said` of given answers,
            `looked` with a single image.
        changes: the same minus base's, −1–1; empty for base, and without base.
    """

    variant: str
    family: str
    step: int | None
    items: int
    images: int
    answered: float
    means: Mapping[Measured, Interval]
    changes: Mapping[Measured, Interval]


@dataclass(frozen=True, slots=True)
class SetScores:
    """All variants, in the order asked.

    Attributes:
        scores: one per variant.
        heads: (layer, head) chosen on either half of the images; empty with a single image.
        chosen_by: the variant whose heads they are.
        focus: at which tokens the answers were measured, see `inference.batch.focus`.
        missing: how many answers with a target could not be measured.
    """

    scores: tuple[SetScore, ...]
    heads: tuple[tuple[int, int], ...]
    chosen_by: str
    focus: str
    missing: int = 0

    def family(self, name: str) -> tuple[SetScore, ...]:
        """The checkpoints of one training run, in step order."""
        return tuple(sorted((each for each in self.scores if each.family == name), key=lambda each: each.step or 0))

    @property
    def families(self) -> tuple[str, ...]:
        """Training runs of which at least two checkpoints were asked."""
        names = dict.fromkeys(each.family for each in self.scores if each.family)
        return tuple(name for name in names if len(self.family(name)) > 1)


def set_scores(rows: Iterable[Row], adapters: Sequence[AdapterInfo]) -> SetScores | None:
    """Score every variant over the answers that have a target.

    Args:
        rows: of the summary, with `hits`; those of one item follow one another.
        adapters: who was asked beside base.

    Returns:
        None where no answer has a target.
    """
    with_target = [
        {str(row["adapter"]): row for row in of_item}
        for _, of_item in groupby((row for row in rows if row.get("target_image")), key=lambda row: row["item"])
    ]
    items = [item for item in with_target if all(row.get("hits") for row in item.values())]
    if not items:
        return None
    variants, known = list(items[0]), {info.name: info for info in adapters}
    images = _numbered([str(next(iter(item.values()))["target_image"]) for item in items])
    chooser = "base" if "base" in variants else variants[0]
    hits = {name: np.stack([hits_of(str(item[name]["hits"])) for item in items]) for name in variants}
    heads = _chosen(hits[chooser], images)
    values = {name: _values([item[name] for item in items], hits[name], heads, images) for name in variants}
    scores = []
    for name in variants:
        info = known.get(name)
        changes: dict[Measured, Interval] = {}
        if "base" in variants and name != "base":
            changes = {what: interval(values[name][what] - values["base"][what], images) for what in MEASURED}
        scores.append(
            SetScore(
                variant=name,
                family=info.family if info else "",
                step=info.step if info else None,
                items=len(items),
                images=int(images.max()) + 1,
                answered=_answered([item[name] for item in items]),
                means={what: interval(values[name][what], images) for what in MEASURED},
                changes=changes,
            )
        )
    focus = str(next(iter(items[0].values())).get("focus", ""))
    return SetScores(tuple(scores), heads, chooser, focus, len(with_target) - len(items))


def interval(values: NDArray[np.float64], images: NDArray[np.intp]) -> Interval:
    """The mean of values, one per item, and its interval over images; those that are nan do not count.

    Args:
        values: `(items,)`.
        images: `(items,)`, which image each is about.
    """
    known = ~np.isnan(values)
    if not known.any():
        return Interval(np.nan, np.nan, np.nan)
    values, images = values[known], np.unique(images[known], return_inverse=True)[1]
    count = int(images.max()) + 1
    if count < LEAST_IMAGES:
        return Interval(float(values.mean()), np.nan, np.nan)
    drawn, sums, sizes = _drawn(count), np.bincount(images, values, count), np.bincount(images, minlength=count)
    low, high = np.percentile((drawn @ sums.astype(np.float32)) / (drawn @ sizes.astype(np.float32)), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


@lru_cache(maxsize=1)
def _drawn(count: int) -> NDArray[np.float32]:
    """How often each of so many images is in each resample, `(RESAMPLES, count)`; the same for every measure."""
    dice, drawn = np.random.default_rng(0), np.empty((RESAMPLES, count), np.float32)
    for row in drawn:
        row[:] = np.bincount(dice.integers(count, size=count), minlength=count)
    return drawn


def sentence(scores: SetScores, family: str) -> str:
    """What became of a training run, with its numbers: what fell first, what is said or where it looks.

    A measure falls at the first checkpoint whose whole interval of change lies below 0; each checkpoint by itself.
    """
    run = scores.family(family)
    if not all(each.changes for each in run):
        return f"{family}: without base among those asked there is nothing that a checkpoint could fall below."
    if scores.missing:
        return (
            f"{family}: {scores.missing:,} of {scores.missing + run[0].items:,} answers with a target could not be "
            "measured, so nothing is concluded; with --focus first every answer can."
        )
    known = [what for what in _HANDS_AND_EYES if not np.isnan(run[0].means[what].mean)]
    if any(np.isnan(each.changes[what].high) for each in run for what in known):
        return f"{family}: {run[0].images} images are too few for an interval, at least {LEAST_IMAGES} are needed."
    first = {what: next((each for each in run if each.changes[what].high < 0), None) for what in known}
    parts = "; ".join(_fall(score, what) for what, score in first.items())
    fallen = {what: score.step or 0 for what, score in first.items() if score is not None}
    if len(known) < len(_HANDS_AND_EYES):
        order = "only one of the two was measured"
    elif not fallen:
        order = "neither hands nor eyes"
    elif len(fallen) < len(known):
        order = "the hands, not the eyes" if "said" in fallen else "the eyes, not the hands"
    elif fallen["said"] == fallen["looked"]:
        order = "hands and eyes at the same checkpoint"
    else:
        order = "the hands first" if fallen["said"] < fallen["looked"] else "the eyes first"
    return f"{family}, checkpoints {', '.join(f'{each.step:,}' for each in run)}: {parts}: {order}."


def _fall(score: SetScore | None, what: Measured) -> str:
    if score is None:
        return f"{what} does not fall beyond chance"
    now, change = score.means[what], score.changes[what]
    bounds = f"95 % {100 * change.low:+.0f} … {100 * change.high:+.0f}"
    return (
        f"{what} falls to {100 * now.mean:.0f} % at {score.step:,} ({100 * change.mean:+.0f} points, {bounds})".replace(
            "-", "−"
        )
    )


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    places = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], np.intp)


def _chosen(hits: NDArray[np.bool_], images: NDArray[np.intp]) -> tuple[tuple[int, int], ...]:
    """For the images of even and of odd number the head that is right most often on the *other* ones."""
    if images.max() == 0:
        return ()
    heads = []
    for half in (0, 1):
        right = hits[images % 2 != half].sum(axis=0)
        layer, head = np.unravel_index(int(right.argmax()), right.shape)
        heads.append((int(layer), int(head)))
    return tuple(heads)


def _answered(rows: Sequence[Row]) -> float:
    """Share of the answers of its own in which a variant says any place."""
    own = [row["said_in_box"] is not None for row in rows if row["answer"] is not None]
    return float(np.mean(own)) if own else np.nan


def _values(
    rows: Sequence[Row], hits: NDArray[np.bool_], heads: Sequence[tuple[int, int]], images: NDArray[np.intp]
) -> dict[Measured, NDArray[np.float64]]:
    """Each measure of one variant, `(items,)`."""
    looked = np.full(len(rows), np.nan)
    for half, (layer, head) in enumerate(heads):
        looked[images % 2 == half] = hits[images % 2 == half, layer, head]
    return {
        "said": np.array([np.nan if row["answer"] is None else float(row["said_in_box"] or 0) for row in rows]),
        "looked": looked,
        "share": np.array([float(row["box_share"] or 0) for row in rows]),
    }
