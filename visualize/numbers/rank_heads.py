"""Decide in which order single heads are offered: what a ranking counts, not what it means.

A head that changed most need not be one that matters for the answer: a ranking is a place to begin looking.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from inference.measures import image_share, row_divergence
from inference.recording import Recording
from visualize.numbers.reduce import Layer, check_layers
from visualize.numbers.scale import number

#: Of one comparison, so many layers' (or windows') rankings are kept: more than the largest models have layers.
MOST_KEPT = 128
_BYTES_OF_HEAD = 256  # a `RankedHead` with its score and words, and its place, rounded up


@dataclass(frozen=True, slots=True)
class RankedHead:
    """One head and what it was ranked by.

    Attributes:
        head: 0-based.
        score: divergence of the whole row between two variants, in bits, 0–1; or the share of attention on the image,
            0–1.
        unit: which of the two: `"bits"` or `"share"`.
        words: the head and its score as people read them: `head 3 · row changed 0.0212 bits`.
    """

    head: int
    score: float
    unit: Literal["bits", "share"]
    words: str


#: What ranks a layer's heads: `rank_heads`, or one that keeps what it found.
Ranking: TypeAlias = Callable[[Sequence[Recording], Layer], tuple[RankedHead, ...]]


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
    order = np.argsort(-scores, kind="stable").tolist()
    return tuple(RankedHead(head, float(scores[head]), unit, _words(head, float(scores[head]), unit)) for head in order)


class KeptRanks:
    """`rank_heads` for the variants of one comparison, each layer once: whatever head is shown, the order is the same.

    It belongs to whoever holds the comparison. The least recently used leave first. Any thread may call it; who comes
    second waits for the first.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[tuple[str | None, ...], Layer], Future[tuple[RankedHead, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, recordings: Sequence[Recording], layer: Layer) -> tuple[RankedHead, ...]:
        """See `rank_heads`; the recordings are those of the one comparison."""
        key = tuple(each.adapter for each in recordings), layer
        with self._lock:
            is_first = key not in self._kept
            ranked = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        if is_first:
            try:
                ranked.set_result(rank_heads(recordings, layer))
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it, too
                ranked.set_exception(error)
                with self._lock:
                    self._kept.pop(key, None)
        return ranked.result()

    @staticmethod
    def most_bytes(heads: int) -> int:
        """Bytes that it holds at most, of a model with so many heads per layer."""
        return MOST_KEPT * heads * _BYTES_OF_HEAD


def _words(head: int, score: float, unit: Literal["bits", "share"]) -> str:
    text = number(score, unit)
    return f"head {head} · " + (f"row changed {text} bits" if unit == "bits" else f"{text} % on the image")
