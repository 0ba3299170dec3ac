"""The cells that hold most of a map."""

import math

import numpy as np

from inference.records import FloatArray

#: Part of the image's cells that are taken where nobody says how many.
TOP = 0.1


def top_cells(heat: FloatArray, part: float = TOP) -> tuple[int, ...]:
    """The largest cells of a map.

    Args:
        heat: `(grid_h, grid_w)`.
        part: of all cells, above 0 to 1; at least one is taken.

    Returns:
        Their flat indices, row by row, in order; of equal cells the first in reading order.
    """
    count = max(1, math.floor(part * heat.size + 0.5))
    largest = np.argsort(-heat.ravel(), kind="stable")[:count]
    return tuple(sorted(map(int, largest)))
