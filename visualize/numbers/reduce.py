"""Decide which numbers a picture shows: from a recording to one map of the image's cells; knows nothing of pixels.

A recording holds two reductions: `by_token` (every token, head mean) and `by_head` (every head, mean over `focus`).
What neither holds is an error that names the request which would record it, never the nearest thing that is there.
"""

from dataclasses import dataclass
from reprlib import repr as shortened
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.recording import FloatArray, Recording
from visualize.numbers.head_choice import Head, check_head_choice, head_words
from visualize.numbers.sinks import check_sinks_known, sink_cells
from visualize.numbers.token_choice import (
    TokenChoice,
    check_range,
    check_token_choice,
    heads_recorded,
    is_index,
    token_indices,
)
from visualize.numbers.views import VIEWS, View

Layer = int | tuple[int, int]
#: Where the general prompt's row looks less than this part of its mean over the image, that is what is divided by.
FLOOR = 0.01


@dataclass(frozen=True, slots=True)
class Selection:
    """Which layer, token, head and view a picture shows.

    Args:
        layer: 0-based index, or a window `(first, last)`, both included, whose layers are averaged.
        token: index into the recording's tokens; a range `(first, last)`, both included, is the mean over it;
            `"answer"` the mean over the tokens with role answer (the end token is not one of them); `"digits"` the mean
            over those that spell its digits, see `inference.focus`; `"focus"` the mean over the recording's `focus`.
        head: `"mean"` or `"max"` over the heads of each layer, one 0-based head, or the mean of a set of heads
            `(layer, head)`, whatever `layer` is. All but `"mean"` exist only for exactly the tokens of the recording's
            `focus`. A window takes the maximum in each layer, then the mean over layers.
        view: `"raw"` is the attention itself; `"sink-masked"` the same without the sink cells; `"contrast"` the row
            minus the mean of the other rows before the shown answer (signed, and head means only: the background has no
            heads). Of several tokens each has its own contrast, and their mean is shown. `"relative"` divides by the
            row of a general prompt, `"gradient"` is weight × gradient, `"named"` and `"named alone"` are what the cells
            themselves say, the same in every layer: see `Recording.general`, `gradient`, `named` and `named_alone`. The
            last three exist only for exactly the tokens of the recording's `focus`.

    Raises:
        SelectionError: a value outside these choices.
    """

    layer: Layer
    token: TokenChoice = "answer"
    head: Head = "mean"
    view: View = "raw"

    def __post_init__(self) -> None:
        window = self.layer if isinstance(self.layer, tuple) else (self.layer, self.layer)
        if len(window) != 2 or not all(is_index(each) for each in window) or window[0] > window[1]:
            raise SelectionError(
                f"layer must be a 0-based index or a window (first, last), first ≤ last; not {shortened(self.layer)}."
            )
        check_token_choice(self.token)
        check_head_choice(self.head)
        if self.view not in get_args(View):
            raise SelectionError(f"view must be one of {', '.join(get_args(View))}; not {shortened(self.view)}.")
        if not VIEWS[self.view].heads and self.head != "mean":
            raise SelectionError(
                f"The {self.view} view is of no single head: {head_words(self.head)} has none.",
                "Choose head mean, or another view.",
            )

    @property
    def layers(self) -> slice:
        """The chosen layers as a slice of the layer axis."""
        first, last = self.layer if isinstance(self.layer, tuple) else (self.layer, self.layer)
        return slice(first, last + 1)

    @property
    def shown_layers(self) -> tuple[Layer, ...]:
        """Of which layers the map is: the chosen one or window, or those of a set of heads."""
        if isinstance(self.head, tuple):
            return tuple(sorted({layer for layer, _ in self.head}))
        return (self.layer,)


def select(recording: Recording, selection: Selection, *, sinks: NDArray[np.bool_] | None = None) -> FloatArray:
    """Reduce a recording to the one map that a selection names.

    Args:
        recording: what one variant attended to.
        selection: layer or window, token, head and view.
        sinks: for the sink-masked view, the cells to leave out, `(grid_h, grid_w)` bool; None takes this recording's
            own (`sink_cells`). Maps that stand side by side must leave out the same cells: pass the union.

    Returns:
        `(grid_h, grid_w)` float32, shares of one row's attention: 0–1, in the contrast view −1–1; ratios or logits from
        0 up in the views that count these (`VIEWS`). Cells left out of the sink-masked view are 0, and so is a relative
        view whose general row puts nothing on the image.

    Raises:
        SelectionError: a layer, head or token this recording does not have, a view that was not recorded, sinks that
            cannot be told, or a contrast with no other row to subtract.
    """
    if selection.view in ("gradient", "named", "named alone"):
        return _recorded(recording, selection)
    raw = _raw(recording, selection)
    if selection.view == "relative":
        general = _general(recording, selection)
        return np.divide(raw, general, out=np.zeros_like(raw), where=general > 0).astype(np.float32)
    if selection.view == "contrast":
        return np.asarray(raw - _background(recording, selection), dtype=np.float32)
    if selection.view == "sink-masked":
        check_sinks_known(recording)
        left_out = sinks_of(recording, selection) if sinks is None else sinks
        return np.where(left_out, 0, raw).astype(np.float32)
    return raw.astype(np.float32)


def sinks_of(recording: Recording, selection: Selection) -> NDArray[np.bool_]:
    """The cells that are sinks in any of the layers that a map is of, `(grid_h, grid_w)`; see `sink_cells`."""
    return np.asarray(np.logical_or.reduce([sink_cells(recording, layer) for layer in selection.shown_layers]))


def difference(adapter_map: FloatArray, base_map: FloatArray) -> FloatArray:
    """Adapter − base, always that sign: positive where the adapter looks more.

    Args:
        adapter_map, base_map: `(grid_h, grid_w)` (or any equal shapes), shares of attention.

    Returns:
        The same shape, float32, −1–1.

    Raises:
        SelectionError: the shapes differ.
    """
    if adapter_map.shape != base_map.shape:
        raise SelectionError(
            f"A difference needs two maps of one shape; got adapter {adapter_map.shape} and base {base_map.shape}.",
            "Compare variants on the same image.",
        )
    return (adapter_map.astype(np.float64) - base_map).astype(np.float32)


def check_layers(layer: Layer, count: int) -> slice:
    """The slice of layers that `layer` stands for, if the model has them.

    Raises:
        SelectionError: a layer past the last.
    """
    layers = Selection(layer).layers
    check_range("layer", layers.stop - 1, count)
    return layers


def check_heads(head: Head, layers: int, heads: int) -> None:
    """Pass a choice of heads that a model with so many layers and heads has.

    Raises:
        SelectionError: a head, or a layer of a set of them, past the last.
    """
    for layer, one in head if isinstance(head, tuple) else () if isinstance(head, str) else ((0, head),):
        check_range("layer", layer, layers)
        check_range("head", one, heads)


def around(layer: int, window: int, count: int) -> Layer:
    """The layers `layer − window … layer + window` that exist among `count`, as a layer or a window."""
    low, high = max(0, layer - window), min(count - 1, layer + window)
    return layer if low == high else (low, high)


def view_recorded(recording: Recording, view: View) -> bool:
    """Whether a recording holds what a view shows; of which tokens is another question."""
    needed = VIEWS[view].recorded
    return needed is None or getattr(recording, {"relative": "general"}.get(needed, needed)) is not None


def is_recorded(recording: Recording, token: TokenChoice, head: Head, view: View) -> bool:
    """Whether a recording holds what is chosen.

    Raises:
        SelectionError: a token that this recording does not have.
    """
    of_focus = head != "mean" or VIEWS[view].recorded not in (None, "relative")
    return view_recorded(recording, view) and (not of_focus or heads_recorded(recording, token))


def _check_view(recording: Recording, selection: Selection) -> None:
    needed = VIEWS[selection.view].recorded
    if not view_recorded(recording, selection.view):
        raise SelectionError(
            f"The {selection.view} view was not recorded.", f'Send a new request with views=("{needed}",).'
        )
    if needed != "relative" and not heads_recorded(recording, selection.token):
        raise SelectionError(
            f"The {selection.view} view is recorded for tokens {_listed(recording.focus)} only.",
            f'Send a new request with these tokens as focus and views=("{needed}",).',
        )


def _recorded(recording: Recording, selection: Selection) -> FloatArray:
    """A view that is shown as it was recorded: of layers and heads, or of neither."""
    _check_view(recording, selection)
    check_layers(selection.layer, recording.by_head.shape[0])
    if selection.view == "gradient":
        assert recording.gradient is not None
        return np.asarray(_of_heads(recording.gradient, selection), dtype=np.float32)
    shown = recording.named if selection.view == "named" else recording.named_alone
    assert shown is not None
    return shown


def _general(recording: Recording, selection: Selection) -> NDArray[np.float64]:
    """What the relative view divides by: the general prompt's row of the same layers and heads, with a floor."""
    _check_view(recording, selection)
    assert recording.general is not None
    row = _of_heads(recording.general, selection)
    return np.asarray(np.maximum(row, FLOOR * row.mean()))


def _of_heads(every: FloatArray, selection: Selection) -> NDArray[np.float64]:
    """What is chosen of `(layers, heads, grid_h, grid_w)`, as `(grid_h, grid_w)`.

    The mean of a set of heads; else one head, or the mean or maximum over them, then the mean over layers.
    """
    layers, head = check_layers(selection.layer, every.shape[0]), selection.head
    check_heads(head, *every.shape[:2])
    if isinstance(head, tuple):
        return np.asarray(np.mean([every[one] for one in head], axis=0, dtype=np.float64))
    if isinstance(head, str):
        values = every[layers].astype(np.float64)
        return np.asarray((values.mean(axis=1) if head == "mean" else values.max(axis=1)).mean(axis=0))
    return np.asarray(every[layers, head].mean(axis=0, dtype=np.float64))


def _raw(recording: Recording, selection: Selection) -> NDArray[np.float64]:
    layers = check_layers(selection.layer, recording.by_head.shape[0])
    tokens = token_indices(recording, selection.token)
    if selection.head == "mean":
        rows = recording.by_token[list(tokens), layers]  # (chosen tokens, chosen layers, grid_h, grid_w)
        return np.asarray(rows.mean(axis=(0, 1), dtype=np.float64))
    check_heads(selection.head, *recording.by_head.shape[:2])
    if not heads_recorded(recording, selection.token):
        raise SelectionError(
            f"Single heads are recorded for tokens {_listed(recording.focus)} only; asked for {_listed(tokens)}.",
            f"Send a new request with focus=({', '.join(map(str, tokens))},), or choose head mean.",
        )
    return _of_heads(recording.by_head, selection)


def _background(recording: Recording, selection: Selection) -> NDArray[np.float64]:
    """What the contrast view subtracts: the mean background of the chosen tokens and layers, `(grid_h, grid_w)`.

    `Recording.background` is the mean of the first `background_rows` tokens' rows. Where the shown row is one of those,
    it is taken out of the mean again: with it, every contrast came out 1/n too small.
    """
    count = recording.background_rows
    whole = recording.background[selection.layers].mean(axis=0, dtype=np.float64)
    rows = {token.query: index for index, token in enumerate(recording.tokens[:count])}
    backgrounds = []
    for token in token_indices(recording, selection.token):
        own = rows.get(recording.tokens[token].query)
        others = count if own is None else count - 1
        if others < 1:
            raise SelectionError(
                "The contrast view subtracts the mean of the other rows before the answer; there is none here.",
                "Choose another view.",
            )
        row = 0 if own is None else recording.by_token[own, selection.layers].mean(axis=0, dtype=np.float64)
        backgrounds.append((count * whole - row) / others)
    return np.asarray(np.mean(backgrounds, axis=0))


def _listed(indices: tuple[int, ...]) -> str:
    return ", ".join(map(str, indices[:8])) + (", …" if len(indices) > 8 else "")
