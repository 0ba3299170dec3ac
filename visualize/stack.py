"""Decide what one choice of token, head and view shows, for all layers or some, in numbers; it knows no picture.

Page, routes, notebook and sheet all go through it, so that all show the same:

1. each variant's map is selected; sinks are those of any variant, so that all leave out the same cells;
2. the variants of a layer share one colour scale, from 0 (signed and about 0 in the contrast view); a difference is
   adapter − base of what is shown, on a signed scale of its own;
3. numbers are measured on the attention itself, whatever the view shows; peaks belong to the view;
4. layers do not know of each other: a layer's limits, peaks and numbers are the same in a stack of all layers and in
   one of that layer alone. A scale over all layers would leave most of them dark, since a few hold most attention.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.records import Comparison, FloatArray, Recording
from visualize.caption import alternative_text, caption, heading, variant_name
from visualize.figures import Change, Measures, change_of, measures_of, probability_of
from visualize.measures import peak_cell
from visualize.notes import stack_notes
from visualize.rank_heads import RankedHead, rank_heads
from visualize.reduce import Head, Layer, Selection, TokenChoice, View, difference, select, token_indices
from visualize.scale import ColourLimits, diverging_limits, shared_limits
from visualize.sinks import sink_cells

Cell = tuple[int, int]
Cells = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PaneStack:
    """One pane through the layers of a stack.

    Attributes:
        variant: `base`, an adapter's name, or `find-red − base`.
        maps: `(layers, grid_h, grid_w)` float32, shares of a row's attention, 0–1; signed in the contrast view and for
            a difference. Cells that the view leaves out are 0.
        limits: per layer, the values at the ends of the colour scale.
        peaks: per layer, (row, column) of the largest value (of the largest change, for a difference); None where no
            value is above 0: a contrast in which no cell gets more than the background has no peak.
        captions: per layer, one line, see `caption`.
        alts: per layer, one sentence for those who cannot see the picture.
        measures: per layer, of a variant; empty for a difference.
        changes: per layer, of a difference; empty for a variant.
        probability: 0–1, that the variant gives to the shown token; None for a word of the prompt, a mean over tokens,
            a difference, or where each variant replayed its own answer.
    """

    variant: str
    maps: FloatArray
    limits: tuple[ColourLimits, ...]
    peaks: tuple[Cell | None, ...]
    captions: tuple[str, ...]
    alts: tuple[str, ...]
    measures: tuple[Measures, ...] = ()
    changes: tuple[Change, ...] = ()
    probability: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """What one choice of token, head and view shows.

    Attributes:
        selections: per layer (or window of layers), what was chosen.
        variants: the panes of the variants, in the order asked for.
        differences: each later variant − the first; empty for one variant, or where each replayed its own answer.
        sinks: `(layers, grid_h, grid_w)` bool, cells that are sinks in any of the variants.
        heads: per layer, the heads in the order of `rank_heads`; empty where the token's heads were not recorded.
        headings: per layer, what stands over the pictures.
        notes: per layer, what a careful colleague would say of these numbers.
    """

    selections: tuple[Selection, ...]
    variants: tuple[PaneStack, ...]
    differences: tuple[PaneStack, ...]
    sinks: Cells
    heads: tuple[tuple[RankedHead, ...], ...]
    headings: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]

    def hidden(self, index: int) -> Cells | None:
        """The cells that a layer's pictures leave uncoloured, `(grid_h, grid_w)` bool; None where there are none."""
        return _hidden(self.selections[index], self.sinks[index])


def stack(
    comparison: Comparison,
    token: TokenChoice,
    *,
    head: Head = "mean",
    view: View = "raw",
    layers: Iterable[Layer] | None = None,
    variants: Sequence[str | None] | None = None,
    log: bool = False,
    percentile: float = 100.0,
) -> Stack:
    """The numbers of a choice.

    Args:
        comparison: what was recorded.
        token, head, view: see `Selection`.
        layers: 0-based indices, or windows `(first, last)` whose layers are averaged; None is every layer.
        variants: the adapters to show side by side, None is the base model; by default all, in the order recorded.
        log: logarithmic colour scale for the variants; signed scales stay linear.
        percentile: 50–100, where the colour scales are clipped; 100 clips nothing.

    Raises:
        SelectionError: a variant, layer, head, token, view or percentile that this comparison does not have.
    """
    recordings = _recordings(comparison, variants)
    chosen = range(recordings[0].by_head.shape[0]) if layers is None else layers
    selections = tuple(Selection(layer, token, head, view) for layer in chosen)
    if not selections:
        raise SelectionError("A stack of no layers shows nothing.", "Choose at least one layer.")
    layered = [_layer(comparison, recordings, selection, log, percentile) for selection in selections]
    ranked = [_heads(comparison, recordings, selection) for selection in selections]
    base = recordings[0]
    probabilities = [probability_of(each, token) if comparison.tokens else None for each in recordings]
    shown = tuple(
        _pane(comparison, layered, variant_name(recording), recording, index, probabilities[index])
        for index, recording in enumerate(recordings)
    )
    differences = tuple(
        _pane(comparison, layered, f"{variant_name(recording)} − {variant_name(base)}", recording, index)
        for index, recording in enumerate(recordings[1:] if comparison.tokens else (), len(recordings))
    )
    return Stack(
        selections,
        shown,
        differences,
        np.stack([layer.sinks for layer in layered]),
        tuple(ranked),
        tuple(heading(recordings, selection) for selection in selections),
        tuple(_notes(layer, bool(comparison.tokens), log) for layer in layered),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """All panes of one layer: maps and limits of the variants, then of the differences."""

    selection: Selection
    sinks: Cells
    maps: list[FloatArray]
    limits: list[ColourLimits]
    measures: list[Measures]
    changes: list[Change]


def _recordings(comparison: Comparison, variants: Sequence[str | None] | None) -> tuple[Recording, ...]:
    if variants is None:
        return comparison.recordings
    recordings = tuple(comparison.recording(name) for name in variants)
    if not recordings or len({id(recording) for recording in recordings}) < len(recordings):
        raise SelectionError(
            f"Variants side by side must differ; got {', '.join(map(variant_name, recordings)) or 'none'}.",
            "Choose each variant once.",
        )
    return recordings


def _layer(
    comparison: Comparison, recordings: Sequence[Recording], selection: Selection, log: bool, percentile: float
) -> _Layer:
    sinks = np.logical_or.reduce([sink_cells(recording, selection.layer) for recording in recordings])
    hidden = _hidden(selection, sinks)
    maps = [select(recording, selection, sinks=sinks) for recording in recordings]
    if selection.view == "contrast":
        shared = diverging_limits(*maps, percentile=percentile)
    else:
        shared = shared_limits(*maps, percentile=percentile, log=log, hidden=hidden)
    raw = replace(selection, view="raw")
    weights = maps if selection.view == "raw" else [select(recording, raw) for recording in recordings]
    measured = [measures_of(each, selection.head) for each in weights]
    deltas = [difference(each, maps[0]) for each in maps[1:]] if comparison.tokens else []
    changes = [change_of(weights[0], weights[index], selection.head) for index in range(1, len(deltas) + 1)]
    limits = [shared] * len(maps)
    if deltas:
        limits += [diverging_limits(*deltas, percentile=percentile, hidden=hidden)] * len(deltas)
    return _Layer(selection, sinks, [*maps, *deltas], limits, measured, changes)


def _hidden(selection: Selection, sinks: Cells) -> Cells | None:
    return sinks if selection.view == "sink-masked" and sinks.any() else None


def _heads(comparison: Comparison, recordings: Sequence[Recording], selection: Selection) -> tuple[RankedHead, ...]:
    shown = recordings if comparison.tokens else recordings[:1]  # rows of different words are not compared
    if any(set(token_indices(each, selection.token)) != set(each.focus) for each in recordings):
        return ()
    return rank_heads(shown, selection.layer)


def _pane(
    comparison: Comparison,
    layered: Sequence[_Layer],
    name: str,
    recording: Recording,
    index: int,
    probability: float | None = None,
) -> PaneStack:
    of_variants = len(layered[0].measures)
    is_change = index >= of_variants
    captions, peaks, alts = [], [], []
    for layer in layered:
        heat = layer.maps[index]
        peak = peak_cell(np.abs(heat) if is_change else heat, _hidden(layer.selection, layer.sinks))
        line = caption(comparison.model.id, name, recording, layer.selection, layer.limits[index])
        peaks.append(peak)
        captions.append(line)
        alts.append(alternative_text(line, peak, layer.sinks, is_change=is_change))
    return PaneStack(
        name,
        np.stack([layer.maps[index] for layer in layered]),
        tuple(layer.limits[index] for layer in layered),
        tuple(peaks),
        tuple(captions),
        tuple(alts),
        () if is_change else tuple(layer.measures[index] for layer in layered),
        tuple(layer.changes[index - of_variants] for layer in layered) if is_change else (),
        probability,
    )


def _notes(layer: _Layer, same_words: bool, log: bool) -> tuple[str, ...]:
    several = len(layer.measures) > 1
    return stack_notes(
        layer.selection,
        layer.limits[0],
        layer.sinks,
        log=log,
        own_answers=several and not same_words,
        equal=several and same_words and layer.limits[-1].empty,
    )
