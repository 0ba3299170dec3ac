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

from inference.errors import SelectionError
from inference.measures import peak_cell
from inference.recording import FloatArray, Recording
from inference.records import Comparison
from visualize.numbers.at_once import each_at_once
from visualize.numbers.caption import LIMITS, alternative_text, caption, heading, variant_name
from visualize.numbers.figures import Change, Measures, changes_of, measures_of, probability_of
from visualize.numbers.head_choice import Head
from visualize.numbers.layer_limits import LayerLimits, Way, layer_limits
from visualize.numbers.notes import stack_notes
from visualize.numbers.rank_heads import RankedHead, Ranking, rank_heads
from visualize.numbers.reduce import Layer, Selection
from visualize.numbers.scale import ColourLimits
from visualize.numbers.side_by_side import Cells, recordings_of, side_by_side
from visualize.numbers.token_choice import TokenChoice, heads_recorded
from visualize.numbers.views import View

Cell = tuple[int, int]


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
        lines: per layer, the caption, with `LIMITS` in place of the words of the limits.
        sentences: per layer, one sentence for those who cannot see the picture, with `LIMITS` in it, too.
        measures: per layer, of a variant; empty for a difference.
        changes: per layer, of a difference; empty for a variant.
        probability: 0–1, that the variant gives to the shown token; None for a word of the prompt, a mean over tokens,
            a difference, or where each variant replayed its own answer.
    """

    variant: str
    maps: FloatArray
    limits: tuple[ColourLimits, ...]
    peaks: tuple[Cell | None, ...]
    lines: tuple[str, ...]
    sentences: tuple[str, ...]
    measures: tuple[Measures, ...] = ()
    changes: tuple[Change, ...] = ()
    probability: float | None = None

    @property
    def captions(self) -> tuple[str, ...]:
        """Per layer, one line, see `caption`."""
        return self._filled(self.lines)

    @property
    def alts(self) -> tuple[str, ...]:
        """Per layer, one sentence for those who cannot see the picture."""
        return self._filled(self.sentences)

    def _filled(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(line.replace(LIMITS, each.words()) for line, each in zip(lines, self.limits, strict=True))


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

    @property
    def view(self) -> View:
        """The view that all layers are shown in."""
        return self.selections[0].view

    @property
    def left_out(self) -> Cells | None:
        """The cells that the view leaves out, `(layers, grid_h, grid_w)` bool; None for a view that shows all."""
        return self.sinks if self.view == "sink-masked" else None

    def hidden(self, index: int) -> Cells | None:
        """The cells that a layer's pictures leave uncoloured, `(grid_h, grid_w)` bool; None where there are none."""
        return _hidden(self.selections[index], self.sinks[index])

    def scaled(self, ways: Sequence[Way]) -> "tuple[Stack, ...]":
        """The same numbers on other colour scales, with the notes that belong to them; one stack per way.

        Raises:
            SelectionError: a percentile outside 50–100.
        """
        limits = layer_limits(
            [pane.maps for pane in self.variants],
            [pane.maps for pane in self.differences],
            ways,
            view=self.view,
            hidden=self.left_out,
        )
        empty = [
            [pane.variant for pane in self.variants if not pane.maps[index].any()]
            for index in range(len(self.selections))
        ]
        return tuple(self._placed(way, each, empty) for way, each in zip(ways, limits, strict=True))

    def _placed(self, way: Way, limits: LayerLimits, empty: Sequence[Sequence[str]]) -> "Stack":
        """The stack on these scales; `empty` are each layer's variants without a value."""
        shared, signed = limits
        notes = [
            stack_notes(
                selection,
                shared[index],
                self.sinks[index],
                log=way.log,
                own_answers=len(self.variants) > 1 and not self.differences,
                equal=bool(signed) and signed[index].empty,
                empty=empty[index],
            )
            for index, selection in enumerate(self.selections)
        ]
        return replace(
            self,
            variants=tuple(replace(pane, limits=shared) for pane in self.variants),
            differences=tuple(replace(pane, limits=signed) for pane in self.differences),
            notes=tuple(notes),
        )


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
    rank: Ranking = rank_heads,
) -> Stack:
    """The numbers of a choice.

    Args:
        comparison: what was recorded.
        token, head, view: see `Selection`.
        layers: 0-based indices, or windows `(first, last)` whose layers are averaged; None is every layer.
        variants: the adapters to show side by side, None is the base model; by default all, in the order recorded.
        log: logarithmic colour scale for the variants; signed scales stay linear.
        percentile: 50–100, where the colour scales are clipped; 100 clips nothing.
        rank: what ranks the heads of a layer.

    Raises:
        SelectionError: a variant, layer, head, token, view or percentile that this comparison does not have.
    """
    recordings = recordings_of(comparison, variants)
    chosen = range(recordings[0].by_head.shape[0]) if layers is None else layers
    selections = tuple(Selection(layer, token, head, view) for layer in chosen)
    if not selections:
        raise SelectionError("A stack of no layers shows nothing.", "Choose at least one layer.")
    shown = side_by_side(comparison, recordings, selections)
    raw = [replace(selection, view="raw") for selection in selections]
    weights = shown if view == "raw" else side_by_side(comparison, recordings, raw)
    model, names = comparison.model.id, [variant_name(recording) for recording in recordings]
    panes, differences = [], []
    for name, recording, maps, rows in zip(names, recordings, shown.variants, weights.variants, strict=True):
        pane = _pane(model, name, recording, selections, maps, shown.sinks)
        probability = probability_of(recording, token) if comparison.tokens else None
        panes.append(replace(pane, measures=measures_of(rows, head), probability=probability))
    for index, maps in enumerate(shown.differences, 1):
        name = f"{names[index]} − {names[0]}"
        pane = _pane(model, name, recordings[index], selections, maps, shown.sinks, is_change=True)
        changes = changes_of(weights.variants[0], weights.variants[index], head)
        differences.append(replace(pane, changes=changes))
    heads = tuple(each_at_once(lambda selection: _heads(comparison, recordings, selection, rank), selections))
    headings = tuple(heading(recordings, selection) for selection in selections)
    made = Stack(selections, tuple(panes), tuple(differences), shown.sinks, heads, headings, ())
    (scaled,) = made.scaled([Way(log, percentile)])
    return scaled


def _pane(
    model: str,
    name: str,
    recording: Recording,
    selections: Sequence[Selection],
    maps: FloatArray,
    sinks: Cells,
    *,
    is_change: bool = False,
) -> PaneStack:
    peaks, lines, sentences = [], [], []
    for selection, heat, cells in zip(selections, maps, sinks, strict=True):
        peak = peak_cell(np.abs(heat) if is_change else heat, _hidden(selection, cells))
        line = caption(model, name, recording, selection, LIMITS)
        peaks.append(peak)
        lines.append(line)
        sentences.append(alternative_text(line, peak, cells, view=selection.view, is_change=is_change))
    return PaneStack(name, maps, (), tuple(peaks), tuple(lines), tuple(sentences))


def _hidden(selection: Selection, sinks: Cells) -> Cells | None:
    return sinks if selection.view == "sink-masked" and sinks.any() else None


def _heads(
    comparison: Comparison, recordings: Sequence[Recording], selection: Selection, rank: Ranking
) -> tuple[RankedHead, ...]:
    if not all(heads_recorded(each, selection.token) for each in recordings):
        return ()
    # rows of different words are not compared
    return rank(recordings if comparison.tokens else recordings[:1], selection.layer)
