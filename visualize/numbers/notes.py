"""Decide what a careful colleague would say of a layer's numbers: what a view leaves out, what a number is not."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visualize.numbers.caption import plain
from visualize.numbers.reduce import Selection
from visualize.numbers.scale import ColourLimits


def stack_notes(
    selection: Selection,
    limits: ColourLimits,
    sinks: NDArray[np.bool_],
    *,
    log: bool,
    own_answers: bool,
    equal: bool,
    empty: Sequence[str] = (),
) -> tuple[str, ...]:
    """The notes of one layer, each a sentence.

    Args:
        selection: what is shown.
        limits: the variants' colour scale.
        sinks: `(grid_h, grid_w)` bool, sinks of any variant.
        log: whether a logarithmic scale was asked for.
        own_answers: whether several variants each replayed their own answer.
        equal: whether the difference is 0 everywhere.
        empty: the variants whose map is 0 everywhere.
    """
    notes = []
    if own_answers:
        notes.append("Each variant replayed its own answer: their rows follow different words and have no difference.")
    if selection.view == "sink-masked" and sinks.any():
        notes.append(f"Left out as sinks: {sinks.sum()} of {sinks.size} cells.")
    elif selection.view == "sink-masked":
        notes.append("No cell is a sink here: nothing is left out.")
    if selection.view != "raw":
        notes.append("Image share, entropy and divergence are those of the raw row.")
    if limits.empty:
        notes.append("All values are 0: there is nothing to colour.")
    elif empty:
        notes.append(f"All values of {' and '.join(map(plain, empty))} are 0.")
    if empty and selection.view == "relative":
        notes.append("Where the general prompt's row puts nothing on the image there is no ratio, and 0 is shown.")
    if log and limits.signed:
        notes.append("Signed values are drawn on a linear scale.")
    if selection.head == "max":
        notes.append("A maximum over heads is no single row: it has no share of attention on the image.")
    if isinstance(selection.head, tuple):
        notes.append("These heads are of fixed layers: another layer shows the same.")
    if equal:
        notes.append("The two maps are equal: the difference is 0.")
    return tuple(notes)
