"""Decide which numbers the table beside the pictures shows, in which unit and order."""

import math
from collections.abc import Sequence

from visualize.json_values import Json
from visualize.numbers.looked_said import LookedSaid, point_words, says
from visualize.numbers.scale import Unit, number
from visualize.numbers.stack import PaneStack, Stack
from visualize.numbers.views import VIEWS


def numbers_json(stack: Stack, index: int, said: Sequence[LookedSaid] = ()) -> dict[str, Json]:
    """The table of measures of one layer: one row per measure, one column per variant, and each later one − the first.

    Variants that each replayed their own answer have no differences: their rows follow different words.

    Args:
        stack: what is shown.
        index: of the layer in the stack.
        said: where its variants look beside where they say, see `looked_said`; rows of it where any says a place.

    Returns:
        `columns`, the variants; `changes`, the differences; `rows` of `label`, `unit`, `values` (one text per variant,
        or none) and `deltas` (one text per difference).
    """
    shown = stack.variants
    measures = [pane.measures[index] for pane in shown]
    count = len(stack.differences)
    unit = {"share": "%", "share difference": "percentage points", "ratio": "×"}.get(VIEWS[stack.view].unit, "logits")
    rows = [
        _row("Share of attention on the image", "%", [each.image_share for each in measures], count, "share"),
        _row(
            f"Spread over the image: effective cells of {stack.sinks[index].size}",
            "cells",
            [each.effective_cells for each in measures],
            count,
        ),
        _row("Entropy over the image", "nats", [each.entropy for each in measures], count),
        _texts("Largest value shown", unit, [_peak(pane, index) for pane in shown], [""] * count),
    ]
    given = [pane.probability for pane in shown if pane.probability is not None]
    if given:
        rows.append(_row("Probability of this token", "%", given, count, "share"))
    return {
        "columns": [pane.variant for pane in shown],
        "changes": [pane.variant for pane in stack.differences],
        "rows": [*rows, *_divergences(stack, index), *_looked_said(said, index, count)],
    }


def _looked_said(said: Sequence[LookedSaid], index: int, differences: int) -> list[Json]:
    if not any(each.words.said.places for each in said):
        return []
    none = [""] * differences
    return [
        _texts("Says", "x, y in pixels", [says(each.words.said) for each in said], none),
        _texts("Looks at: the peak's cell", "x, y in pixels", [point_words(each.looked[index]) for each in said], none),
        _row("From where it looks to where it says", "pixels", [each.pixels[index] for each in said], differences),
        _row("From where it looks to where it says", "cells", [each.cells[index] for each in said], differences),
        _row("Share of attention where it says", "%", [each.share[index] for each in said], differences, "share"),
    ]


def _divergences(stack: Stack, index: int) -> list[Json]:
    changes = [pane.changes[index] for pane in stack.differences]
    rows = {
        "Jensen–Shannon divergence over the image": [each.js_divergence for each in changes],
        "Jensen–Shannon divergence of the whole row": [each.row_divergence for each in changes],
    }
    if stack.selections[index].head == "max":
        rows.popitem()  # a maximum over heads is no row
    return [
        _texts(label, "bits", [], [number(each, "bits") for each in values]) for label, values in rows.items() if values
    ]


def _row(label: str, unit: str, values: list[float], differences: int, kind: Unit = "nats") -> Json:
    points: Unit = "share difference" if kind == "share" else kind
    deltas = []
    for value in values[1 : 1 + differences]:
        text = number(value - values[0], points, sign=True)
        finite = math.isfinite(value) and math.isfinite(values[0])
        deltas.append(text + (" pp" if kind == "share" else "") if finite else "")
    return _texts(label, unit, [number(value, kind) for value in values], deltas)


def _texts(label: str, unit: str, values: list[str], deltas: list[str]) -> Json:
    return {"label": label, "unit": unit, "values": list(values), "deltas": list(deltas)}


def _peak(pane: PaneStack, index: int) -> str:
    peak = pane.peaks[index]
    if peak is None:
        return "–"
    value = float(pane.maps[index][peak])
    return f"{number(value, pane.limits[index].unit)} at row {peak[0]}, column {peak[1]}"
