"""Decide what a set of answers with targets says of each variant: does it say the right place, does it look there?

One number per item and variant, then their mean over the set:

- *said*: the share of the places in the variant's words that lie in the target; 0 where it says none.
- *looked*: whether one head's largest weight lies in the target. The head is base's best (the first variant's, without
  base): the one that is right most often on one half of the images, scored on the other half, so that no head is judged
  by what it was chosen by. All variants are judged by the same heads.
- *share*: the share of the focus rows' attention that is in the target, mean of all heads.

An interval is the percentile bootstrap over images (Efron 1979): answers about the same image are no two witnesses.
The change against base is paired, item by item. It knows rows of the summary alone: no file, no picture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.batch.measures import Row, hits_of
from inference.records import AdapterInfo

Measured = Literal["said", "looked", "share"]
MEASURED: tuple[Measured, ...] = ("said", "looked", "share")
#: So many images at least have an interval, and so many resamples make it.
LEAST_IMAGES, RESAMPLES = 4, 4_000


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
        answered: share of them in which it says any place.
        means: of each measure its mean over the items, 0–1; `looked` is nan with a single image.
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
    """

    scores: tuple[SetScore, ...]
    heads: tuple[tuple[int, int], ...]
    chosen_by: str
    focus: str

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
    items = [
        {str(row["adapter"]): row for row in of_item}
        for _, of_item in groupby((row for row in rows if row.get("hits")), key=lambda row: row["item"])
    ]
    if not items:
        return None
    variants, known = list(items[0]), {info.name: info for info in adapters}
    images = _numbered([str(next(iter(item.values()))["image"]) for item in items])
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
                answered=float(np.mean([item[name]["said_in_box"] is not None for item in items])),
                means={what: interval(values[name][what], images) for what in MEASURED},
                changes=changes,
            )
        )
    focus = str(next(iter(items[0].values())).get("focus", ""))
    return SetScores(tuple(scores), heads, chooser, focus)


def interval(values: NDArray[np.float64], images: NDArray[np.intp]) -> Interval:
    """The mean of values, one per item, and its interval over images.

    Args:
        values: `(items,)`.
        images: `(items,)`, which image each is about, 0 … N − 1.
    """
    mean, count = float(values.mean()), int(images.max()) + 1
    if count < LEAST_IMAGES or np.isnan(mean):
        return Interval(mean, np.nan, np.nan)
    drawn = np.random.default_rng(0).multinomial(count, [1 / count] * count, size=RESAMPLES)  # (resamples, images)
    sums, sizes = np.bincount(images, values, count), np.bincount(images, minlength=count)
    low, high = np.percentile((drawn @ sums) / (drawn @ sizes), [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def sentence(scores: SetScores, family: str) -> str:
    """What became of a training run, with its numbers: what fell first, what is said or where it looks.

    A measure falls at the first checkpoint whose whole interval of change lies below 0; each checkpoint by itself.
    """
    run = scores.family(family)
    if not all(each.changes for each in run):
        return f"{family}: without base among those asked there is nothing that a checkpoint could fall below."
    said, looked = (next((each for each in run if each.changes[what].high < 0), None) for what in ("said", "looked"))
    steps = ", ".join(f"{each.step:,}" for each in run)
    parts = [_fall(said, "said"), _fall(looked, "looked")]
    if said is None and looked is None:
        order = "neither hands nor eyes"
    elif said is None or looked is None:
        order = "the hands, not the eyes" if looked is None else "the eyes, not the hands"
    elif said.step == looked.step:
        order = "hands and eyes at the same checkpoint"
    else:
        order = "the hands first" if (said.step or 0) < (looked.step or 0) else "the eyes first"
    return f"{family}, checkpoints {steps}: {'; '.join(parts)}: {order}."


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


def _values(
    rows: Sequence[Row], hits: NDArray[np.bool_], heads: Sequence[tuple[int, int]], images: NDArray[np.intp]
) -> dict[Measured, NDArray[np.float64]]:
    """Each measure of one variant, `(items,)`."""
    looked = np.full(len(rows), np.nan)
    for half, (layer, head) in enumerate(heads):
        looked[images % 2 == half] = hits[images % 2 == half, layer, head]
    return {
        "said": np.array([float(row["said_in_box"] or 0) for row in rows]),
        "looked": looked,
        "share": np.array([float(row["box_share"] or 0) for row in rows]),
    }
