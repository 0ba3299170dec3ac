"""What is measured on an answer: the figures of the summary, a row per variant; `inference.batch` explains them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.batch.target import NOWHERE, Target
from inference.boxes import Box, text_of
from inference.recording import Recording
from inference.records import Comparison

Cell = str | int | float | None
Row = Mapping[str, Cell]


def measured(comparison: Comparison, target: Target = NOWHERE) -> list[Row]:
    """What the summary says of an answer: a row per variant, see the columns in `inference.batch`.

    With a target a row also has `hits`, which no column shows and a set of answers is judged by: which heads have their
    largest weight in it, see `hits_of`.

    Args:
        comparison: the answer.
        target: measure in this, too.

    Raises:
        SelectionError: the variants' rows cannot be compared, or the target misses the photo.
    """
    from inference.measures import effective_cells

    area = target.area(comparison.image_size, comparison.grid) if target else ()
    in_box = _in_boxes(comparison, area) if area else [{}] * len(comparison.recordings)
    from visualize import shift_matrix  # late: a batch that is only planned draws and measures nothing

    variants = [recording.adapter for recording in comparison.recordings]
    seconds = comparison.timings.get("total", sum(comparison.timings.values()))
    rows: list[Row] = []
    for recording, of_box in zip(comparison.recordings, in_box, strict=True):
        row: dict[str, Cell] = {
            "adapter": recording.adapter or "base",
            "answer": recording.answer,
            "replayed": "".join(token.text for token in recording.tokens if token.role == "answer"),
            "replayed_tokens": len(recording.logprobs),
            "logprob": _figure(recording.logprobs.sum(dtype=np.float64)),
            **_focus(recording),
            "said": _said(comparison, recording),
            "image_share": _figure(_share(recording)),
            "effective_cells": _mean(effective_cells(recording.by_head)),
            "cells": comparison.grid[0] * comparison.grid[1],
            "seconds": _figure(seconds),
            "notes": " ".join(comparison.notes),
            **of_box,
        }
        if recording.adapter is not None and None in variants:
            matrix = shift_matrix(comparison, None, recording.adapter)  # (layers, heads) in bits
            row["js_mean"] = _mean(matrix)
            if not np.isnan(matrix).all():
                layer, head = np.unravel_index(int(np.nanargmax(matrix)), matrix.shape)
                row |= {"js_max": _figure(matrix[layer, head]), "js_layer": int(layer), "js_head": int(head)}
        rows.append(row)
    return rows


def _in_boxes(comparison: Comparison, boxes: Sequence[Box]) -> list[Row]:
    from visualize import box_scores  # late, too
    from visualize.numbers.verdict import said_beside

    scores = box_scores(comparison, boxes)
    said = said_beside(comparison, scores.variants, scores.boxes)
    assert scores.heads is not None  # of the focus, the heads were recorded
    means = scores.heads.share.mean(axis=(1, 2))
    base = scores.variants.index("base") if "base" in scores.variants else None
    rows: list[Row] = []
    for index, variant in enumerate(scores.variants):
        best = scores.ranked(variant)[0]
        row: dict[str, Cell] = {
            "box": text_of(scores.boxes),
            "box_share": _figure(means[index]),
            "box_ratio": _mean(scores.heads.ratio[index]),
            "box_hits": _figure(scores.heads.hit[index].mean()),
            "box_share_max": _figure(best.share),
            "box_layer": best.layer,
            "box_head": best.head,
            "notes": " ".join([*comparison.notes, *scores.notes]),
            "hits": _packed(scores.heads.hit[index]),
            "said_in_box": _figure(said[index].inside / said[index].places) if said[index].places else None,
        }
        if base is not None and index != base:
            row["box_change"] = _figure(means[index] - means[base])
        rows.append(row)
    return rows


def hits_of(packed: str) -> NDArray[np.bool_]:
    """Which heads have their largest weight in the target: bool [layers, heads], of a row's `hits`."""
    shape, _, digits = packed.partition(":")
    layers, heads = map(int, shape.split("x"))
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=layers * heads)
    return bits.reshape(layers, heads).astype(bool)


def _packed(hits: NDArray[np.bool_]) -> str:
    """`LAYERSxHEADS:` and a bit per head, as hexadecimal digits."""
    return f"{hits.shape[0]}x{hits.shape[1]}:{np.packbits(hits).tobytes().hex()}"


def _focus(recording: Recording) -> Row:
    """Which tokens of the answer the measures are taken at: their places in it, and what they spell."""
    start = next(index for index, token in enumerate(recording.tokens) if token.role in ("answer", "end"))
    return {
        "focus_tokens": " ".join(str(index - start) for index in recording.focus),
        "focus_text": "".join(recording.tokens[index].text for index in recording.focus),
    }


def _said(comparison: Comparison, recording: Recording) -> str:
    """The points `x,y` and boxes `x,y,x,y` that a variant says, in pixels of the photo; several separated by `;`."""
    from visualize.numbers.looked_said import words_of  # late, too

    places = words_of(comparison, recording).said.places
    return ";".join(",".join(f"{_figure(edge):.10g}" for at in place.corners for edge in at) for place in places)


def _share(recording: Recording) -> Any:
    """Image share of the focus rows: mean over them, all layers and heads."""
    return recording.image_share[list(recording.focus)].mean(dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return _figure(known.mean()) if known.size else None


def _figure(value: Any) -> float:
    """Six significant digits: a summary is for reading, the files have every bit."""
    return float(f"{float(value):.6g}") + 0.0  # no −0.0
