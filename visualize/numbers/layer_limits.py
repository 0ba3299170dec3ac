"""Decide which panes share a colour scale: the variants one, their differences another, never each its own.

The same rule makes the scale of one layer and the one scale of many small maps side by side: of what is given, all
counts together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.records import FloatArray
from visualize.numbers.scale import ColourLimits, diverging_limits, shared_limits
from visualize.numbers.views import VIEWS, View


def pane_limits(
    variants: Sequence[FloatArray],
    differences: Sequence[FloatArray],
    *,
    view: View,
    hidden: NDArray[np.bool_] | None = None,
    log: bool = False,
    percentile: float = 100.0,
) -> tuple[ColourLimits, ColourLimits | None]:
    """The scale of the variants and that of their differences.

    Args:
        variants: a map each, `(…, grid_h, grid_w)`; of one layer, or of all that stand together.
        differences: the same shape; may be empty.
        view: that they show; values of both signs are about 0, and never logarithmic.
        hidden: cells that do not count, the same shape.
        log: logarithmic colours for variants that are not signed.
        percentile: 50–100, where both scales are clipped; 100 clips nothing.

    Returns:
        (of the variants, of the differences or None where there are none).

    Raises:
        SelectionError: a percentile outside 50–100.
    """
    kind = VIEWS[view]
    if kind.signed:
        shared = diverging_limits(*variants, percentile=percentile, hidden=hidden, unit=kind.unit)
    else:
        shared = shared_limits(*variants, percentile=percentile, log=log, hidden=hidden, unit=kind.unit)
    if not differences:
        return shared, None
    return shared, diverging_limits(*differences, percentile=percentile, hidden=hidden, unit=kind.change)


def layer_limits(
    variants: Sequence[FloatArray],
    differences: Sequence[FloatArray],
    *,
    view: View,
    hidden: NDArray[np.bool_] | None = None,
    log: bool = False,
    percentile: float = 100.0,
) -> tuple[tuple[ColourLimits, ...], tuple[ColourLimits, ...]]:
    """The scales of each layer, from that layer alone.

    Args:
        variants, differences, hidden: as for `pane_limits`, `(layers, grid_h, grid_w)` each.
        view, log, percentile: see `pane_limits`.

    Returns:
        (of the variants, of the differences): one per layer each; the second empty where there are no differences.

    Raises:
        SelectionError: a percentile outside 50–100.
    """
    pairs = [
        pane_limits(
            [maps[index] for maps in variants],
            [maps[index] for maps in differences],
            view=view,
            hidden=None if hidden is None else hidden[index],
            log=log,
            percentile=percentile,
        )
        for index in range(len(variants[0]))
    ]
    return tuple(shared for shared, _ in pairs), tuple(signed for _, signed in pairs if signed is not None)
