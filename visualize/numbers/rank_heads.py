"""Decide in which order single heads are offered: what a ranking counts, not what it means.

A head that changed most need not be one that matters for the answer: a ranking is a place to begin looking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inference.measures import image_share, row_divergence
from inference.records import Recording
from visualize.numbers.reduce import Layer, check_layers
from visualize.numbers.scale import number


@dataclass(frozen=True, slots=True)
class RankedHead:
    """One head and what it was ranked by.

    Attributes:
        head: 0-based.
        score: divergence of the whole row between two variants, in bits, 0–1; or the share of attention on the image,
            0–1.
        unit: which of the two: `"bits"` or `"share"`.
    """

    head: int
    score: float
    unit: Literal["bits", "share"]

    @property
    def words(self) -> str:
        """The head and its score as people read them: `head 3 · changed 0.0212 bits`."""
        score = number(self.score, self.unit)
        return f"head {self.head} · " + (f"changed {score} bits" if self.unit == "bits" else f"{score} % on the image")


def rank_heads(recordings: Sequence[Recording], layer: Layer) -> tuple[RankedHead, ...]:
    """The heads of a layer, those that changed most first; of one variant, those that look at the image most.

    Of more than two variants, a head's change is its largest against the first. The scores are of the maps that
    choosing a head shows: mean over `focus`, and over the layers of a window.

    Args:
        recordings: one variant, or several that replayed the same tokens.
        layer: 0-based index, or a window `(first, last)`, both included.

    Returns:
        All heads; the lower index first where scores are equal.

    Raises:
        SelectionError: a layer the model does not have.
    """
    layers = check_layers(layer, recordings[0].by_head.shape[0])
    first, *others = (each.by_head[layers].mean(axis=0, dtype=np.float64) for each in recordings)
    # first and others: (heads, grid_h, grid_w)
    if others:
        unit: Literal["bits", "share"] = "bits"
        scores = np.max([row_divergence(first, other) for other in others], axis=0)
    else:
        unit, scores = "share", image_share(first)
    return tuple(RankedHead(int(head), float(scores[head]), unit) for head in np.argsort(-scores, kind="stable"))
