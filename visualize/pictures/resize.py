"""Decide how the grid's numbers become one number per pixel; this file knows no colours.

Pixel y of H lies over the image's part from y/H to (y+1)/H, cell r of grid_h over the part from r/grid_h to
(r+1)/grid_h: they meet by fraction. Values stand at cell centres and pixels are asked at theirs (half-pixel centres,
what torch calls `align_corners=False`): pixel y looks at place (y + ½)·grid_h/H − ½ on the axis of cells, clamped to
the outer centres. Bilinear or nearest only: bicubic would draw attention that is not there (−0.19 … 1.11 for values
of 0 … 1).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from inference.recording import FloatArray

#: Rows of pixels computed at once, so that a large photo never needs several float copies of itself.
BAND_ROWS = 256


def resize(values: FloatArray, size: tuple[int, int], *, smooth: bool = True) -> FloatArray:
    """One number per pixel.

    Args:
        values: `(grid_h, grid_w)`.
        size: (height, width) of the picture in pixels.
        smooth: bilinear between cell centres; else every pixel has the value of the cell that its centre lies in. Along
            an axis with fewer pixels than cells, both give a pixel the mean of what it covers, so no cell is skipped.

    Returns:
        `(height, width)` float32, within the range of `values` (but for rounding).
    """
    return np.concatenate([band for _, band in bands(values, size, smooth=smooth)])


def bands(values: FloatArray, size: tuple[int, int], *, smooth: bool = True) -> Iterator[tuple[slice, FloatArray]]:
    """The rows of `resize` in bands of at most `BAND_ROWS`: (rows of pixels, their values `(rows, width)`)."""
    height, width = size
    wide = _stretch(values.T, width, 0, width, smooth).T  # (grid_h, width)
    for first in range(0, height, BAND_ROWS):
        last = min(first + BAND_ROWS, height)
        yield slice(first, last), _stretch(wide, height, first, last, smooth)


def centre_of(cell: tuple[int, int], grid: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """A cell's centre as (y, x) in pixels of a picture; pixel (0, 0) has its centre at (0.5, 0.5)."""
    return (cell[0] + 0.5) * size[0] / grid[0], (cell[1] + 0.5) * size[1] / grid[1]


def _stretch(values: FloatArray, pixels: int, first: int, last: int, smooth: bool) -> FloatArray:
    """Rows `first` to `last` of `values`, `(cells, n)`, stretched along the first axis to `(pixels, n)`."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    cells = values.shape[0]
    odd = 2 * np.arange(first, last) + 1  # twice a pixel's centre
    if pixels < cells:
        return np.asarray(_coverage(cells, pixels)[first:last] @ values, dtype=np.float32)
    if not smooth:
        return np.asarray(values[odd * cells // (2 * pixels)])  # whole numbers: no rounding at a cell's edge
    place = np.clip(odd * cells / (2 * pixels) - 0.5, 0, cells - 1)
    lower = place.astype(np.intp)
    upper = np.minimum(lower + 1, cells - 1)
    weight = (place - lower).astype(np.float32)[:, None]
    return np.asarray(values[lower] + (values[upper] - values[lower]) * weight)  # exact where neighbours are equal


def _coverage(cells: int, pixels: int) -> NDArray[np.float32]:
    """`(pixels, cells)`: which fraction of each pixel lies over each cell, where pixels are the larger ones."""
    edges = np.arange(pixels + 1) * cells / pixels
    starts, stops = edges[:-1, None], edges[1:, None]
    overlap = np.minimum(stops, np.arange(1, cells + 1)) - np.maximum(starts, np.arange(cells))
    return np.asarray(np.clip(overlap, 0, None) * pixels / cells, dtype=np.float32)
