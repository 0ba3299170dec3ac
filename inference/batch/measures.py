"""What is measured on an answer: the figures of the summary, a row per variant; `inference.batch` explains them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.records import Comparison, Recording

Cell = str | int | float | None
Row = Mapping[str, Cell]


def measured(comparison: Comparison) -> list[Row]:
    """What the summary says of an answer: a row per variant, see the columns in `inference.batch`.

    Raises:
        SelectionError: the variants' rows cannot be compared.
    """
    from inference.measures import effective_cells
    from visualize import shift_matrix  # late: a batch that is only planned draws and measures nothing

    variants = [recording.adapter for recording in comparison.recordings]
    seconds = comparison.timings.get("total", sum(comparison.timings.values()))
    rows: list[Row] = []
    for recording in comparison.recordings:
        row: dict[str, Cell] = {
            "adapter": recording.adapter or "base",
            "answer": recording.answer,
            "replayed": "".join(token.text for token in recording.tokens if token.role == "answer"),
            "replayed_tokens": len(recording.logprobs),
            "logprob": _figure(recording.logprobs.sum(dtype=np.float64)),
            **_focus(recording),
            "image_share": _figure(_share(recording)),
            "effective_cells": _mean(effective_cells(recording.by_head)),
            "cells": comparison.grid[0] * comparison.grid[1],
            "seconds": _figure(seconds),
            "notes": " ".join(comparison.notes),
        }
        if recording.adapter is not None and None in variants:
            matrix = shift_matrix(comparison, None, recording.adapter)  # (layers, heads) in bits
            row["js_mean"] = _mean(matrix)
            if not np.isnan(matrix).all():
                layer, head = np.unravel_index(int(np.nanargmax(matrix)), matrix.shape)
                row |= {"js_max": _figure(matrix[layer, head]), "js_layer": int(layer), "js_head": int(head)}
        rows.append(row)
    return rows


def _focus(recording: Recording) -> Row:
    """Which tokens of the answer the measures are taken at: their places in it, and what they spell."""
    start = next(index for index, token in enumerate(recording.tokens) if token.role in ("answer", "end"))
    return {
        "focus_tokens": " ".join(str(index - start) for index in recording.focus),
        "focus_text": "".join(recording.tokens[index].text for index in recording.focus),
    }


def _share(recording: Recording) -> Any:
    """Image share of the focus rows: mean over them, all layers and heads."""
    return recording.image_share[list(recording.focus)].mean(dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return _figure(known.mean()) if known.size else None


def _figure(value: Any) -> float:
    """Six significant digits: a summary is for reading, the files have every bit."""
    return float(f"{float(value):.6g}") + 0.0  # no −0.0
