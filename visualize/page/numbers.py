"""Decide which numbers the page's table shows, in which unit and order."""

import math

from visualize.data_url import Json
from visualize.figures import Change
from visualize.panes import Panes
from visualize.scale import Unit, number
from visualize.stack import PaneStack


def numbers_json(drawn: Panes) -> dict[str, Json]:
    """The table of measures: one row per measure, one column per variant, and adapter − base.

    Variants that each replayed their own answer have no difference: their rows follow different words.
    """
    shown = drawn.stack.variants
    change = drawn.change
    measures = [pane.measures[0] for pane in shown]
    unit = "percentage points" if drawn.stack.selections[0].view == "contrast" else "%"
    rows: list[dict[str, Json]] = [
        _row("Share of attention on the image", "%", [each.image_share for each in measures], "share"),
        _row(
            f"Spread over the image: effective cells of {drawn.sinks.size}",
            "cells",
            [each.effective_cells for each in measures],
        ),
        _row("Entropy over the image", "nats", [each.entropy for each in measures]),
        {"label": "Largest value shown", "unit": unit, "values": [_peak(pane) for pane in shown], "delta": ""},
    ]
    given = [pane.probability for pane in shown if pane.probability is not None]
    if given:
        rows.append(_row("Probability of this token", "%", given, "share"))
    rows += [] if change is None else _divergences(change)
    return {
        "columns": [pane.variant for pane in shown],
        "rows": [row if change is not None else {**row, "delta": ""} for row in rows],
        "change": drawn.stack.differences[0].variant if drawn.stack.differences else "",
    }


def _divergences(change: Change) -> list[dict[str, Json]]:
    rows = [("Jensen–Shannon divergence over the image", change.js_divergence)]
    if not math.isnan(change.row_divergence):
        rows.append(("Jensen–Shannon divergence of the whole row", change.row_divergence))
    return [{"label": label, "unit": "bits", "values": [], "delta": number(value, "bits")} for label, value in rows]


def _row(label: str, unit: str, values: list[float], kind: Unit = "nats") -> dict[str, Json]:
    delta = ""
    if len(values) > 1 and all(map(math.isfinite, values)):
        points: Unit = "share difference" if kind == "share" else kind
        delta = number(values[1] - values[0], points, sign=True) + (" pp" if kind == "share" else "")
    return {"label": label, "unit": unit, "values": [number(value, kind) for value in values], "delta": delta}


def _peak(pane: PaneStack) -> str:
    peak = pane.peaks[0]
    if peak is None:
        return "–"
    value = float(pane.maps[0][peak])
    return f"{number(value, pane.limits[0].unit)} at row {peak[0]}, column {peak[1]}"
