"""What is measured on a map, by exact formulas in float64; it knows no colours and no recordings.

Maps are `(…, grid_h, grid_w)`; a measure reduces the last two axes and keeps the leading ones, so that one call
serves a map or all heads of all layers. A map without any attention has no entropy, no divergence and no share in a
box: those are nan there, never 0.

Boxes are `(top, left, bottom, right)` in pixels of the original image, half-open (the pixel `bottom` is outside). They
meet the cells by fraction: cell `(r, c)` is the image's part from `r/grid_h` to `(r+1)/grid_h` of its height and from
`c/grid_w` to `(c+1)/grid_w` of its width, whatever size the model resized the image to.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.errors import SelectionError

Measure = NDArray[np.float64]
Box = tuple[float, float, float, float]


def image_share(maps: ArrayLike) -> Measure:
    """Σ over the cells: the share of a row's whole attention that is on the image, 0–1."""
    return np.asarray(_float64(maps).sum(axis=(-2, -1)))


def entropy(maps: ArrayLike) -> Measure:
    """−Σ p ln p in nats, of the row renormalised over the image: 0 (one cell) to ln(cells) (all alike)."""
    p = _renormalised(maps)
    return np.asarray(-_p_log_p(p).sum(axis=(-2, -1))) + 0.0  # no −0.0


def effective_cells(maps: ArrayLike) -> Measure:
    """exp(entropy): over how many cells the attention is spread, 1 to their number."""
    return np.asarray(np.exp(entropy(maps)))


def js_divergence(first: ArrayLike, second: ArrayLike) -> Measure:
    """Jensen–Shannon divergence in bits of two rows, each renormalised over the image: 0 (alike) to 1 (disjoint).

    ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2 and log₂ (Lin 1991). Renormalising hides how much the rows look at the
    image at all: show it beside the change of `image_share`, or use `row_divergence`.

    Raises:
        SelectionError: the shapes differ.
    """
    p, q = _renormalised(first), _renormalised(second)
    _check_shapes(p, q)
    return _divergence(p, q, axes=(-2, -1))


def row_divergence(first: ArrayLike, second: ArrayLike) -> Measure:
    """Jensen–Shannon divergence in bits of two whole rows: the image's cells, and one outcome for everything else.

    The last outcome is 1 − image share. One number from 0 to 1 then holds both what moved within the image and what
    moved on or off it, each by its weight: two rows that hardly look at the image are hardly different, wherever they
    look.

    Raises:
        SelectionError: the shapes differ.
    """
    p, q = _with_rest(first), _with_rest(second)
    _check_shapes(p, q)
    return _divergence(p, q, axes=(-1,))


def peak_cell(heat: ArrayLike, hidden: NDArray[np.bool_] | None = None) -> tuple[int, int] | None:
    """(row, column) of the largest value, the first in reading order where several are equal.

    Args:
        heat: `(grid_h, grid_w)`.
        hidden: cells that do not count, same shape.

    Returns:
        None where no cell that counts is above 0.
    """
    values = _float64(heat)
    if hidden is not None:
        values = np.where(hidden, -np.inf, values)
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return (int(row), int(column)) if values[row, column] > 0 else None


def cell_coverage(box: Box, image_size: tuple[int, int], grid: tuple[int, int]) -> Measure:
    """Which fraction of each cell's area a box covers.

    Args:
        box: `(top, left, bottom, right)` in pixels of the original image, half-open.
        image_size: (height, width) of that image in pixels.
        grid: (grid_h, grid_w).

    Returns:
        `(grid_h, grid_w)`, 0–1.

    Raises:
        SelectionError: an empty box, or one that reaches outside the image.
    """
    height, width = image_size
    top, left, bottom, right = box
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise SelectionError(
            f"box {box} must have 0 ≤ top < bottom ≤ {height} and 0 ≤ left < right ≤ {width}.",
            "Give (top, left, bottom, right) in pixels of the original image.",
        )
    return np.multiply.outer(_covered(top, bottom, height, grid[0]), _covered(left, right, width, grid[1]))


def pointing_game(heat: ArrayLike, box: Box, image_size: tuple[int, int]) -> bool:
    """Whether the map's maximum lies in the box: a hit when its cell shares any area with it.

    The first maximum in reading order counts; a map without a value above 0 misses. (Zhang et al. 2016; there a point,
    here a cell, because the model has no finer place.)

    Raises:
        SelectionError: see `cell_coverage`.
    """
    values = _float64(heat)
    coverage = cell_coverage(box, image_size, (values.shape[0], values.shape[1]))
    peak = peak_cell(values)
    return peak is not None and bool(coverage[peak] > 0)


def in_box_mass(maps: ArrayLike, box: Box, image_size: tuple[int, int]) -> Measure:
    """Σ in the box / Σ over the image, 0–1; a cell that the box covers partly counts by the fraction covered.

    Raises:
        SelectionError: see `cell_coverage`.
    """
    p = _renormalised(maps)
    return np.asarray((p * cell_coverage(box, image_size, (p.shape[-2], p.shape[-1]))).sum(axis=(-2, -1)))


def attention_ratio(maps: ArrayLike, box: Box, image_size: tuple[int, int]) -> Measure:
    """Mean in the box / mean over all boxes of the same size; above 1 the model looks there more than elsewhere.

    The box is widened to whole cells: all those it touches, h × w of them. The boxes of the same size are all h × w
    blocks of cells on the grid, the box itself among them. (mllms_know, ICLR 2025.)

    Raises:
        SelectionError: see `cell_coverage`.
    """
    p = _renormalised(maps)
    touched = cell_coverage(box, image_size, (p.shape[-2], p.shape[-1])) > 0
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    block = (rows.size, columns.size)
    windows = np.lib.stride_tricks.sliding_window_view(p, block, axis=(-2, -1)).mean(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(windows[..., rows[0], columns[0]] / windows.mean(axis=(-2, -1)))


def _float64(maps: ArrayLike) -> Measure:
    return np.asarray(maps, dtype=np.float64)


def _renormalised(maps: ArrayLike) -> Measure:
    values = _float64(maps)
    total = values.sum(axis=(-2, -1), keepdims=True)
    return np.asarray(np.divide(values, total, out=np.full(values.shape, np.nan), where=total > 0))


def _with_rest(maps: ArrayLike) -> Measure:
    cells = _float64(maps)
    cells = cells.reshape(*cells.shape[:-2], -1)
    rest = np.clip(1 - cells.sum(axis=-1, keepdims=True), 0, None)  # float32 shares may sum to 1 + 1e-7
    whole = np.concatenate([cells, rest], axis=-1)
    return np.asarray(whole / whole.sum(axis=-1, keepdims=True))


def _p_log_p(p: Measure) -> Measure:
    """p · ln p, 0 where p is 0."""
    return np.asarray(p * np.log(np.maximum(p, np.finfo(np.float64).tiny)))


def _divergence(p: Measure, q: Measure, axes: tuple[int, ...]) -> Measure:
    """H(m) − (H(p) + H(q))/2, which is the two divergences from the middle m; exactly 0 where p and q are equal."""
    inner, *outer = (_p_log_p(each).sum(axis=axes) for each in ((p + q) / 2, p, q))
    bits = (sum(outer) / 2 - inner) / np.log(2)
    return np.asarray(np.clip(bits, 0, 1))  # rounding only: the sum itself lies in 0–1


def _check_shapes(p: Measure, q: Measure) -> None:
    if p.shape != q.shape:
        raise SelectionError(f"A divergence needs two maps of one shape; got {p.shape} and {q.shape}.")


def _covered(start: float, stop: float, size: int, cells: int) -> Measure:
    """Fraction of each of `cells` equal parts of `size` pixels that lies in [start, stop)."""
    edges = np.arange(cells + 1) * size / cells  # one division, so whole-pixel edges are exact
    overlap = np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)
    return np.asarray(np.clip(overlap, 0, None) * cells / size)
