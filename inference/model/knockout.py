"""Knockout: what is lost when rows may not attend to chosen cells of the image, beside other such sets of cells."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.explanations import Knockout
from inference.model.context import RequestContext
from inference.model.replays import Replays
from inference.questions import KnockoutOptions

_Cells = NDArray[np.bool_]


class ForbiddenCells:
    """Closes cells of the image to rows of the text.

    Args:
        cells: `(grid_h, grid_w)` bool, those closed.
        image_start: position of the first image token.
        first_row: position of the first row that they are closed to.
        layers: in which layers; None is all.
        device: of the model.
    """

    def __init__(
        self,
        cells: _Cells,
        image_start: int,
        first_row: int,
        layers: tuple[int, ...] | None,
        device: torch.device,
    ) -> None:
        self._keys = torch.from_numpy(np.flatnonzero(cells) + image_start).to(device)
        self._first_row = first_row
        self._layers = layers

    def closed(self, module: torch.nn.Module, first: int, rows: int, keys: int) -> torch.Tensor | None:
        """See `inference.model.capture.Forbidding`."""
        if not len(self._keys) or (self._layers is not None and module.layer_idx not in self._layers):
            return None
        closed = torch.zeros(rows, keys, dtype=torch.bool, device=self._keys.device)
        closed[max(0, self._first_row - first) :, self._keys] = True
        return closed


def check_knockout(context: RequestContext, options: KnockoutOptions) -> _Cells:
    """The cells of a question as `(grid_h, grid_w)` bool; nothing has run yet.

    Raises:
        SelectionError: a cell that the image does not have.
    """
    height, width = context.prompt.grid
    if options.cells and options.cells[-1] >= height * width:
        raise SelectionError(
            f"Cell {options.cells[-1]} is not in the image: it has {height} × {width} cells, 0–{height * width - 1}.",
            "Cell (y, x) is y · grid_w + x.",
        )
    cells = np.zeros(height * width, dtype=bool)
    cells[list(options.cells)] = True
    return cells.reshape(height, width)


def knock_out(replays: Replays, options: KnockoutOptions, cells: _Cells) -> Knockout:
    """Run each variant as it is, with the set forbidden, and with each of the other sets.

    Raises:
        CaptureError: a number that is not finite.
    """
    prompt, variants = replays.prompt, range(len(replays.names))
    controls = control_sets(cells, options)
    if len(controls) < options.controls:
        found = f"{len(controls)} other places" if options.shape == "shifted" else f"{len(controls)} other sets"
        replays.context.notes.append(
            f"The image has room for {found} of this shape; {options.controls} were asked for."
        )
    first_row = prompt.image_end if options.rows == "text" else prompt.length - 1
    outcomes = np.empty((len(controls) + 2, len(variants)))  # as it is, the set, the others
    for variant in variants:
        with replays.switch(variant):
            for index, (what, closed) in enumerate(_sets(cells, controls)):
                forbidding = ForbiddenCells(closed, prompt.image_start, first_row, options.layers, replays.model.device)
                logits = replays.run(variant, f"{what}, {replays.names[variant]}", forbidding=forbidding)
                outcomes[index, variant] = replays.logprob(logits)
    return Knockout(
        **replays.record(),
        grid=prompt.grid,
        rows=options.rows,
        layers=options.layers,
        cells=cells,
        logprobs=outcomes[0],
        changes=outcomes[1] - outcomes[0],
        control_cells=controls,
        control_changes=outcomes[2:] - outcomes[0],
        shape=options.shape,
    )


def control_sets(cells: _Cells, options: KnockoutOptions) -> _Cells:
    """Other sets of as many cells, all different and none of them the set itself: `(controls, grid_h, grid_w)` bool.

    Fewer than asked for where there are no more; none for the empty set.
    """
    rng, (height, width) = np.random.default_rng(options.seed), cells.shape
    found = list[_Cells]()
    if options.shape == "shifted" and cells.any():
        rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
        shape = cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        places = [
            (top, left)
            for top in range(height - shape.shape[0] + 1)
            for left in range(width - shape.shape[1] + 1)
            if (top, left) != (rows[0], columns[0])
        ]
        for at in rng.permutation(len(places))[: options.controls]:
            top, left = places[at]
            shifted = np.zeros_like(cells)
            shifted[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
            found.append(shifted)
    elif cells.any():
        seen = {cells.tobytes()}
        for _ in range(10 * options.controls):  # a set drawn twice is drawn again; of few cells there are few sets
            if len(found) == options.controls:
                break
            drawn = np.zeros(cells.size, dtype=bool)
            drawn[rng.choice(cells.size, int(cells.sum()), replace=False)] = True
            if drawn.tobytes() not in seen:
                seen.add(drawn.tobytes())
                found.append(drawn.reshape(cells.shape))
    return np.array(found, dtype=bool).reshape(-1, height, width)


def _sets(cells: _Cells, controls: _Cells) -> list[tuple[str, _Cells]]:
    others = [(f"other cells ({index} of {len(controls)}) closed", each) for index, each in enumerate(controls, 1)]
    return [("the text as it is", np.zeros_like(cells)), ("the chosen cells closed", cells), *others]
