"""Decide what a program gets of a comparison: answers, tokens and maps as JSON values, all maps on one scale."""

from dataclasses import asdict
from typing import Any, cast

import numpy as np

from inference.records import AdapterInfo, Comparison, ModelInfo, Recording
from visualize.marks import Marks
from visualize.measures import peak_cell
from visualize.overlay import overlay
from visualize.page import Json, data_url
from visualize.panes import variant_name
from visualize.reduce import Head, Selection, TokenChoice, View, answer_indices, select
from visualize.scale import ColourLimits, diverging_limits, shared_limits
from visualize.sinks import sink_cells


def analysis_json(
    comparison: Comparison,
    *,
    layer: int | None = None,
    head: Head = "mean",
    token: TokenChoice | None = None,
    view: str = "raw",
    pictures: bool = False,
) -> dict[str, Json]:
    """Answers, tokens and one map per variant.

    Args:
        comparison: what was recorded.
        layer: 0-based; None is the middle layer.
        head, view: see `Selection`.
        token: see `Selection`; None is the first answer token.
        pictures: add `overlay`, a PNG data URL at the image's own size, to each map.

    Returns:
        `heatmap` is grid_h × grid_w shares of attention, 0–1 (−1–1 in the contrast view); `image_share` the share of
        the row's attention on the image, None for head "max"; `limits` the one scale of all maps; `notes` what to know.

    Raises:
        SelectionError: a layer, head, token or view that this comparison does not have.
    """
    middle = comparison.recordings[0].by_head.shape[0] // 2
    chosen = [_selection(each, middle if layer is None else layer, head, token, view) for each in comparison.recordings]
    sinks = np.logical_or.reduce([sink_cells(each, chosen[0].layer) for each in comparison.recordings])
    hidden = sinks if view == "sink-masked" and sinks.any() else None
    maps = [select(each, which, sinks=sinks) for each, which in zip(comparison.recordings, chosen, strict=True)]
    limits = diverging_limits(*maps) if view == "contrast" else shared_limits(*maps, hidden=hidden)
    entries: list[Json] = []
    for recording, which, heat in zip(comparison.recordings, chosen, maps, strict=True):
        entry: dict[str, Json] = {
            "adapter": variant_name(recording),
            "layer": cast(int, which.layer),
            "head": which.head,
            "token": which.token,
            "heatmap": heat.tolist(),
            "image_share": _share(recording, which),
        }
        if pictures:
            marks = Marks(peak_cell(heat, hidden), sinks)
            entry["overlay"] = data_url(overlay(comparison.image, heat, limits, hidden=hidden, marks=marks), "PNG")
        entries.append(entry)
    return {
        "answers": [{"adapter": variant_name(each), "text": each.answer} for each in comparison.recordings],
        "tokens": _tokens(comparison),
        "grid": list(comparison.grid),
        "image_size": list(comparison.image_size),
        "view": view,
        "maps": entries,
        "limits": _limits(limits),
        "notes": list(comparison.notes),
    }


def model_json(model: ModelInfo) -> dict[str, Json]:
    """Layers, heads and the geometry of the image's cells."""
    return {
        "model": model.id,
        "layers": model.num_layers,
        "heads": model.num_heads,
        "vision_layers": model.num_vision_layers,
        "vision_heads": model.num_vision_heads,
        "patch_size": model.patch_size,
        "merge_size": model.merge_size,
    }


def adapter_json(adapter: AdapterInfo) -> dict[str, Json]:
    """What an adapter is."""
    values: dict[str, Any] = asdict(adapter)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _selection(recording: Recording, layer: int, head: Head, token: TokenChoice | None, view: str) -> Selection:
    chosen: TokenChoice = next(iter(answer_indices(recording.tokens)), "answer") if token is None else token
    return Selection(layer, chosen, head, cast(View, view))  # which checks the view's name


def _share(recording: Recording, which: Selection) -> float | None:
    if which.head == "max":
        return None
    return float(select(recording, Selection(which.layer, which.token, which.head)).sum(dtype=np.float64))


def _tokens(comparison: Comparison) -> Json:
    if not comparison.tokens:
        return [
            {"adapter": variant_name(each), "tokens": [_token(index, *pair) for index, pair in enumerate(_words(each))]}
            for each in comparison.recordings
        ]
    return [_token(index, *pair) for index, pair in enumerate(_words(comparison.recordings[0]))]


def _words(recording: Recording) -> list[tuple[str, str]]:
    return [(token.text, token.role) for token in recording.tokens]


def _token(index: int, text: str, role: str) -> Json:
    return {"index": index, "text": text, "role": role}


def _limits(limits: ColourLimits) -> Json:
    return {"low": limits.low, "high": limits.high, "unit": limits.unit, "log": limits.log}
