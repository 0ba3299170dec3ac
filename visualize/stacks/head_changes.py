"""Decide what a browser gets of all heads: how each changed against one variant, and which few stand out."""

import math
from collections.abc import Mapping

import numpy as np

from inference.measures import Measure, localization
from inference.records import Comparison
from visualize.json_values import Json, finite
from visualize.numbers.at_once import at_once
from visualize.numbers.caption import variant_name
from visualize.numbers.head_choice import head_text
from visualize.numbers.scale import ColourLimits, Unit, diverging_limits, number, shared_limits
from visualize.numbers.shift_matrix import ShiftMeasure, shift_matrix
from visualize.numbers.top_heads import top_heads
from visualize.pictures.bar import limits_json
from visualize.stacks.changes import sides_of

_LABELS: Mapping[ShiftMeasure, tuple[str, Unit, str]] = {
    "js": ("JS divergence", "bits", "bits"),
    "share": ("Δ image share", "share difference", "pp"),
    "entropy": ("Δ entropy", "nats", "nats"),
}


def head_changes_json(comparison: Comparison, against: str = "") -> dict[str, Json]:
    """What the focus tokens' heads do, in plain values.

    Args:
        comparison: what was recorded.
        against: the variant that the others are compared with, see `changes_against`.

    Returns:
        `against`; `matrix`, per other variant and measure `values` and `texts`, `(layers, heads)`, `limits` and
        `label`: all variants of a measure share one scale; a value is None, and its text a dash, where a head puts
        nothing on the image. As text, `top`, per other variant, the heads with the largest JS divergence, and
        `localizing`, per variant, those that look at the image most and at the fewest cells, by `localization`. Matrix
        and `top` are empty where there is one variant, where each replayed its own answer, or where heads were
        recorded for different tokens.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    first, _ = sides_of(comparison, against)
    return {
        "against": variant_name(first),
        **_matrix(comparison, against),
        "localizing": {
            variant_name(each): head_text(top_heads(at_once(localization, each.by_head)))
            for each in comparison.recordings
        },
    }


def _matrix(comparison: Comparison, against: str) -> dict[str, Json]:
    first, others = sides_of(comparison, against)
    if not comparison.tokens or any(each.focus != first.focus for each in others):
        return {"matrix": {}, "top": {}}
    made: dict[str, dict[str, Json]] = {variant_name(each): {} for each in others}
    top: dict[str, Json] = {}
    for measure in _LABELS if others else ():
        found = {variant_name(each): shift_matrix(comparison, first.adapter, each.adapter, measure) for each in others}
        limits = limits_json(_limits(measure, list(found.values())))
        for name, values in found.items():
            made[name][measure] = {**_values(measure, values), "limits": limits, "label": _LABELS[measure][0]}
            if measure == "js":
                top[name] = head_text(top_heads(values))
    return {"matrix": dict(made), "top": top}


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
