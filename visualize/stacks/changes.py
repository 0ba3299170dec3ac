"""Decide what a browser gets of "where did it change?" against one variant: per token and layer, per layer and head."""

import math
from collections.abc import Mapping

import numpy as np

from inference.measures import Measure
from inference.records import Comparison, Recording
from visualize.json_values import Json, finite
from visualize.numbers.caption import variant_name
from visualize.numbers.change import LargestChange, largest_change, row_changes
from visualize.numbers.head_choice import head_text
from visualize.numbers.scale import ColourLimits, Unit, diverging_limits, number, shared_limits
from visualize.numbers.shift_matrix import ShiftMeasure, shift_matrix
from visualize.numbers.token_choice import answer_indices
from visualize.numbers.top_heads import top_heads
from visualize.pictures.bar import limits_json

_LABELS: Mapping[ShiftMeasure, tuple[str, Unit, str]] = {
    "js": ("JS divergence", "bits", "bits"),
    "share": ("Δ image share", "share difference", "pp"),
    "entropy": ("Δ entropy", "nats", "nats"),
}


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


def of_answer(comparison: Comparison, changes: Mapping[str, Measure]) -> dict[str, Measure]:
    """The changes of the answer's tokens alone, `(answer tokens, layers)`; none where nothing was answered."""
    answered = list(answer_indices(comparison.tokens))
    return {name: rows[answered] for name, rows in changes.items()} if answered else {}


def most_changed(comparison: Comparison, changes: Mapping[str, Measure]) -> LargestChange | None:
    """Where in the answer the variants differ most, by what `changes_against` found; None where nowhere."""
    return largest_change(of_answer(comparison, changes), answer_indices(comparison.tokens))


def changes_json(
    comparison: Comparison, against: str = "", changes: Mapping[str, Measure] | None = None
) -> dict[str, Json]:
    """What changed against one variant, in plain values.

    Args:
        comparison: what was recorded.
        against: see `changes_against`.
        changes: what that found, where it is known.

    Returns:
        `against`; `rows`, per other variant, token and layer, in bits; `most`, the answer's token, its layer and the
        variant in which rows changed most, or None; and `matrix`, of the focus tokens: per other variant and measure
        `values` and `texts`, `(layers, heads)`, `limits` and `label`. All variants of a measure share one scale. A
        value is None, and its text a dash, where a head puts nothing on the image. `top`, per other variant, the heads
        with the largest JS divergence, as text. Matrix and `top` are empty where there is one variant, where each
        replayed its own answer, or where heads were recorded for different tokens.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    changes = changes_against(comparison, against) if changes is None else changes
    most = most_changed(comparison, changes)
    return {
        "against": variant_name(sides_of(comparison, against)[0]),
        "rows": {name: [[float(f"{bits:.4g}") for bits in row] for row in rows] for name, rows in changes.items()},
        "most": None if most is None else {"token": most.token, "layer": most.layer, "variant": most.variant},
        **_of_heads(comparison, against),
    }


def _of_heads(comparison: Comparison, against: str) -> dict[str, Json]:
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
