"""Decide what a browser gets of "where did it change?": one number per layer and head, its text and its scale."""

import math
from collections.abc import Mapping

import numpy as np

from inference.measures import Measure
from inference.records import Comparison
from visualize.json_values import Json, finite
from visualize.numbers.caption import variant_name
from visualize.numbers.scale import ColourLimits, Unit, diverging_limits, number, shared_limits
from visualize.numbers.shift_matrix import ShiftMeasure, shift_matrix
from visualize.pictures.bar import limits_json

_LABELS: Mapping[ShiftMeasure, tuple[str, Unit, str]] = {
    "js": ("JS divergence", "bits", "bits"),
    "share": ("Δ image share", "share difference", "pp"),
    "entropy": ("Δ entropy", "nats", "nats"),
}


def matrix_json(comparison: Comparison) -> dict[str, Json]:
    """How much each head of each layer changed, per later variant against the first, of the focus tokens.

    All variants of a measure share one scale.

    Returns:
        Per variant and measure `values` and `texts`, `(layers, heads)`, `limits` and `label`; a value is None, and its
        text a dash, where a head puts nothing on the image. Empty where there is one variant, where each replayed its
        own answer, or where their heads were recorded for different tokens.
    """
    first, *others = comparison.recordings
    if not comparison.tokens or any(each.focus != first.focus for each in others):
        return {}
    made: dict[str, dict[str, Json]] = {variant_name(each): {} for each in others}
    for measure in _LABELS if others else ():
        found = {variant_name(each): shift_matrix(comparison, first.adapter, each.adapter, measure) for each in others}
        limits = limits_json(_limits(measure, list(found.values())))
        for name, values in found.items():
            made[name][measure] = {**_values(measure, values), "limits": limits, "label": _LABELS[measure][0]}
    return dict(made)


def _limits(measure: ShiftMeasure, matrices: list[Measure]) -> ColourLimits:
    known = [np.nan_to_num(values).astype(np.float32) for values in matrices]
    if measure == "js":
        return shared_limits(*known, unit="bits")
    return diverging_limits(*known, unit=_LABELS[measure][1])


def _values(measure: ShiftMeasure, values: Measure) -> dict[str, Json]:
    _, unit, words = _LABELS[measure]
    rows: list[Json] = []
    texts: list[Json] = []
    for heads in values.tolist():
        rows.append([finite(float(f"{each:.4g}")) for each in heads])
        texts.append(
            [f"{number(each, unit, sign=measure != 'js')} {words}" if math.isfinite(each) else "–" for each in heads]
        )
    return {"values": rows, "texts": texts}
