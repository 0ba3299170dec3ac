"""Decide what a browser gets of how each token's row changed, layer by layer, against one variant."""

import threading
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from inference.measures import Measure
from inference.recording import Recording
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.caption import variant_name
from visualize.numbers.change import LargestChange, largest_change, row_changes
from visualize.numbers.token_choice import answer_indices


def sides_of(comparison: Comparison, against: str) -> tuple[Recording, list[Recording]]:
    """The recording of one variant (see `changes_against`), and those that are compared with it."""
    named = {variant_name(each): each for each in comparison.recordings}
    first = (named.get(against) or comparison.recording(against)) if against else comparison.recordings[0]
    return first, [each for each in comparison.recordings if each is not first]


def changes_against(comparison: Comparison, against: str = "") -> dict[str, Measure]:
    """How much each token's row changed in each layer, per other variant.

    Args:
        comparison: what was recorded.
        against: the variant that the others are compared with: `base` or an adapter's name; "" is the first recorded.

    Returns:
        Per other variant `(tokens, layers)` in bits, see `row_changes`; empty where each replayed its own answer.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    first, others = sides_of(comparison, against)
    return {variant_name(each): row_changes(first, each) for each in others} if comparison.tokens else {}


class FindChanges(Protocol):
    """`changes_against`, or what keeps what it found."""

    def __call__(self, comparison: Comparison, against: str = "") -> Mapping[str, Measure]:
        """See `changes_against`."""


class KeptChanges:
    """`changes_against` of one comparison, against each variant once, of whichever of its images is shown.

    It belongs to whoever holds the comparison. Any thread may call it; who comes second waits for the first.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], dict[str, Measure]] = {}
        self._lock = threading.Lock()

    def __call__(self, comparison: Comparison, against: str = "") -> dict[str, Measure]:
        """See `changes_against`; the comparison is the one, or has the same rows."""
        key = comparison.shown, variant_name(sides_of(comparison, against)[0])
        with self._lock:
            if key not in self._kept:
                self._kept[key] = changes_against(comparison, against)
            return self._kept[key]

    @staticmethod
    def most_bytes(comparison: Comparison) -> int:
        """Bytes that it holds at most: of each image and pair of variants, both ways, a number per token and layer."""
        tokens, layers = len(comparison.tokens), comparison.model.num_layers
        variants = len(comparison.recordings)
        return len(comparison.images) * variants * (variants - 1) * tokens * layers * np.dtype(np.float64).itemsize


def of_answer(comparison: Comparison, changes: Mapping[str, Measure]) -> dict[str, Measure]:
    """The changes of the answer's tokens alone, `(answer tokens, layers)`; none where nothing was answered."""
    answered = list(answer_indices(comparison.tokens))
    return {name: rows[answered] for name, rows in changes.items()} if answered else {}


def most_changed(comparison: Comparison, changes: Mapping[str, Measure]) -> LargestChange | None:
    """Where in the answer the variants differ most, by what `changes_against` found; None where nowhere."""
    return largest_change(of_answer(comparison, changes), answer_indices(comparison.tokens))


def changes_json(comparison: Comparison, against: str = "", find: FindChanges = changes_against) -> dict[str, Json]:
    """What changed against one variant, in plain values.

    Args:
        comparison: what was recorded.
        against: see `changes_against`.
        find: what finds them: that function, or a `KeptChanges`.

    Returns:
        `against`; `rows`, per other variant, token and layer, in bits; and `most`, the answer's token, its layer and
        the variant in which rows changed most, or None.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    changes = find(comparison, against)
    most = most_changed(comparison, changes)
    return {
        "against": variant_name(sides_of(comparison, against)[0]),
        "rows": {name: [[float(f"{bits:.4g}") for bits in row] for row in rows] for name, rows in changes.items()},
        "most": None if most is None else {"token": most.token, "layer": most.layer, "variant": most.variant},
    }
