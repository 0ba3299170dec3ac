"""Decide what the viewer gets to draw a finding's picture from: plain values, with every text in them.

A value is drawn by its place on the picture's own scale, which always holds 0; `alt` says in words what it shows.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.measures import Measure
from visualize.json_values import Json, finite
from visualize.numbers.scale import ColourLimits
from visualize.pictures.bar import limits_json


def bars(
    rows: Sequence[tuple[str, float, str]],
    *,
    alt: str,
    title: str = "",
    mark: tuple[float, str] | None = None,
    least: float = 0.0,
) -> Json:
    """One bar from 0 per (label, value, text); `mark` is a value that all are held against, and its words.

    The longest bar fills its room unless every value is below `least`: what is nothing looks like nothing.
    """
    values = [value for _, value, _ in rows] + ([mark[0]] if mark else [])
    if max(map(abs, values), default=0.0) < least:
        values.append(least)
    made: list[Json] = [{"label": label, "value": _short(value), "text": text} for label, value, text in rows]
    marked: Json = None if mark is None else {"value": _short(mark[0]), "text": mark[1]}
    return {"kind": "bars", "title": title, "alt": alt, "rows": made, "mark": marked, **_ends(values)}


def marks(rows: Sequence[tuple[str, float, Sequence[float], str]], *, alt: str, title: str = "") -> Json:
    """Per (label, value, others, text) one strong mark among weak ones."""
    values = [each for _, value, others, _ in rows for each in (value, *others)]
    made: list[Json] = [
        {"label": label, "value": _short(value), "others": [_short(each) for each in others], "text": text}
        for label, value, others, text in rows
    ]
    return {"kind": "marks", "title": title, "alt": alt, "rows": made, **_ends(values)}


def curve(
    points: Sequence[tuple[float, float, str]],
    *,
    alt: str,
    title: str,
    across: str,
    lines: Sequence[tuple[float, str]] = (),
) -> Json:
    """A line through (x, y, text); `lines` are heights that it is held against, with their words."""
    ys = [y for _, y, _ in points] + [height for height, _ in lines]
    low, high = min(ys), max(ys)
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.06
    made: list[Json] = [{"x": _short(x), "y": _short(y), "text": text} for x, y, text in points]
    held: list[Json] = [{"y": _short(height), "text": text} for height, text in lines]
    ends = {"low": _short(low - room), "high": _short(high + room)}
    return {"kind": "curve", "title": title, "alt": alt, "across": across, "points": made, "lines": held, **ends}


def matrix(
    values: Measure,
    texts: Sequence[Sequence[str]],
    limits: ColourLimits,
    *,
    label: str,
    alt: str,
    within: NDArray[np.bool_] | None = None,
) -> Json:
    """One cell per layer (across) and head (down), `(layers, heads)`; nan is left bare, `within` is dimmed."""
    rows: list[Json] = [[finite(_short(each)) for each in heads] for heads in values.tolist()]
    named: list[Json] = [list(row) for row in texts]
    dim: Json = None if within is None else [list(row) for row in within.tolist()]
    scale: Json = dict(limits_json(limits))
    return {
        "kind": "matrix",
        "title": label,
        "label": label,
        "alt": alt,
        "values": rows,
        "texts": named,
        "limits": scale,
        "within": dim,
    }


def cells(chosen: NDArray[np.bool_], *, alt: str, title: str) -> Json:
    """Which cells of the image a set holds, `(grid_h, grid_w)`."""
    return {
        "kind": "cells",
        "title": title,
        "alt": alt,
        "grid": list(chosen.shape),
        "cells": [int(each) for each in chosen.ravel().nonzero()[0]],
    }


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str) -> Json:
    """Texts in rows under columns."""
    return {
        "kind": "table",
        "title": title,
        "alt": title,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    }


def _ends(values: Sequence[float]) -> dict[str, Json]:
    low, high = min(0.0, *values), max(0.0, *values)
    if low == high:
        return {"low": 0.0, "high": 1.0}
    return {"low": _short(low), "high": _short(high)}


def _short(value: float) -> float:
    return float(f"{value:.5g}") if math.isfinite(value) else value
