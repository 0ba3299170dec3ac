"""Decide which panes share a colour scale: the variants one, their differences another, never each its own.

The same rule makes the scale of one layer and the one scale of many small maps side by side: of what is given, all
counts together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.recording import FloatArray
from visualize.numbers.scale import (
    ColourLimits,
    diverging_limits,
    limits_about_zero,
    limits_from_zero,
    shared_limits,
    tops,
)
from visualize.numbers.views import VIEWS, View


class Way(NamedTuple):
    """How values are placed on colours.

    Attributes:
        log: logarithmic colours for variants that are not signed.
        percentile: 50–100, where scales are clipped; 100 clips nothing.
    """

    log: bool = False
    percentile: float = 100.0


class LayerLimits(NamedTuple):
    """Scales, one per layer: of the variants, and of their differences (none where there are no differences)."""

    shared: tuple[ColourLimits, ...]
    signed: tuple[ColourLimits, ...]


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
    ways: Sequence[Way],
    *,
    view: View,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[LayerLimits, ...]:
    """The scales of each layer, from that layer alone, in several ways at once: what they share is computed once.

    Args:
        variants, differences, hidden: as for `pane_limits`, `(layers, grid_h, grid_w)` each.
        ways: how values are placed.
        view: see `pane_limits`.

    Returns:
        The scales of each way.

    Raises:
        SelectionError: a percentile outside 50–100.
    """
    kind = VIEWS[view]
    percentiles = tuple(dict.fromkeys(way.percentile for way in ways))
    of_variants = _tops(variants, percentiles, hidden, signed=kind.signed)
    of_differences = _tops(differences, percentiles, hidden, signed=True) if differences else {}
    made = []
    for log, percentile in ways:
        shared = [
            limits_about_zero(high, percentile=percentile, unit=kind.unit)
            if kind.signed
            else limits_from_zero(high, log=log, percentile=percentile, unit=kind.unit)
            for high in of_variants[percentile]
        ]
        signed = [
            limits_about_zero(high, percentile=percentile, unit=kind.change)
            for high in of_differences.get(percentile, ())
        ]
        made.append(LayerLimits(tuple(shared), tuple(signed)))
    return tuple(made)


def _tops(
    maps: Sequence[FloatArray], percentiles: Sequence[float], hidden: NDArray[np.bool_] | None, *, signed: bool
) -> dict[float, list[float]]:
    """Per percentile, where the scale of each layer ends that all maps share."""
    values = np.stack(maps, axis=1)  # (layers, maps, grid_h, grid_w)
    if signed:
        values = np.abs(values)
    if hidden is not None:
        values[np.broadcast_to(hidden[:, None], values.shape)] = 0  # as if they were not there
    found = tops(values.reshape(len(values), -1), percentiles)
    return dict(zip(percentiles, found.tolist(), strict=True))
