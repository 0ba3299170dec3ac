"""Decide which maps stand side by side: those of several variants for the same selections, and their differences.

All leave out the same cells, those that are sinks in any of the variants; a difference is of what is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.recording import FloatArray, Recording
from inference.records import Comparison
from visualize.numbers.caption import variant_name
from visualize.numbers.reduce import Selection, difference, select, sinks_of

Cells = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """Maps that are compared with each other.

    Attributes:
        sinks: `(selections, grid_h, grid_w)` bool, cells that are sinks in any of the variants.
        variants: per variant, `(selections, grid_h, grid_w)` float32.
        differences: per later variant, its maps − the first one's; empty where there is one variant, or where each
            replayed its own answer: rows of different words have no difference.
    """

    sinks: Cells
    variants: tuple[FloatArray, ...]
    differences: tuple[FloatArray, ...]


def side_by_side(
    comparison: Comparison, recordings: Sequence[Recording], selections: Sequence[Selection]
) -> SideBySide:
    """The maps of some variants for some selections.

    Args:
        comparison: what was recorded.
        recordings: of it, in the order shown.
        selections: what to show of each.

    Raises:
        SelectionError: see `select`.
    """
    sinks = _sinks(recordings, selections)
    variants = tuple(
        np.stack([select(recording, each, sinks=cells) for each, cells in zip(selections, sinks, strict=True)])
        for recording in recordings
    )
    later = variants[1:] if comparison.tokens else ()
    return SideBySide(sinks, variants, tuple(difference(maps, variants[0]) for maps in later))


def recordings_of(comparison: Comparison, variants: Sequence[str | None] | None) -> tuple[Recording, ...]:
    """The recordings of some variants by their adapter's name (None is the base model); of all for None.

    Raises:
        SelectionError: none, one twice, or one that was not recorded.
    """
    if variants is None:
        return comparison.recordings
    recordings = tuple(comparison.recording(name) for name in variants)
    if not recordings or len({id(recording) for recording in recordings}) < len(recordings):
        raise SelectionError(
            f"Variants side by side must differ; got {', '.join(map(variant_name, recordings)) or 'none'}.",
            "Choose each variant once.",
        )
    return recordings


def _sinks(recordings: Sequence[Recording], selections: Sequence[Selection]) -> Cells:
    of_layers = {
        selection.shown_layers: np.logical_or.reduce([sinks_of(recording, selection) for recording in recordings])
        for selection in selections
    }
    return np.stack([of_layers[selection.shown_layers] for selection in selections])
