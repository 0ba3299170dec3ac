"""Decide which cells of the image a set holds: those that a box covers, or where a map is largest."""

from collections.abc import Sequence

import numpy as np

from inference.boxes import Box
from inference.errors import SelectionError
from inference.measures import cell_coverage
from inference.recording import FloatArray


def top_cells(heat: FloatArray, percent: float) -> tuple[int, ...]:
    """The cells with the largest values.

    Args:
        heat: `(grid_h, grid_w)`.
        percent: how many of all cells, above 0 to 100; at least one cell, and never one that is not above 0.

    Returns:
        Cells row by row, cell (y, x) is y · grid_w + x; of equal values the first.

    Raises:
        SelectionError: another percentage, or a map without a value above 0.
    """
    if not 0 < percent <= 100:
        raise SelectionError(f"top must be above 0 and at most 100 (percent of the cells); not {percent!r}.")
    values = heat.ravel()
    count = min(max(1, round(values.size * percent / 100)), int((values > 0).sum()))
    if not count:
        raise SelectionError(
            "This map has no value above 0: nothing of it is largest.", "Choose another token or head."
        )
    return tuple(sorted(int(cell) for cell in np.argsort(-values, kind="stable")[:count]))


def box_cells(boxes: Sequence[Box], image_size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, ...]:
    """The cells that boxes together cover by half or more; where they cover none so far, those they cover most.

    Args:
        boxes: `(top, left, bottom, right)` each, in pixels of the photo.
        image_size: (height, width) of the photo.
        grid: (grid_h, grid_w).

    Raises:
        SelectionError: an empty box, or one that reaches outside the photo.
    """
    covered = cell_coverage(boxes, image_size, grid).ravel()
    least = min(0.5, float(covered.max()))
    return tuple(int(cell) for cell in np.flatnonzero(covered >= least))
