"""What is measured on a map, by exact formulas in float64; it knows no colours and no recordings.

Maps are `(…, grid_h, grid_w)`; a measure reduces the last two axes and keeps the leading ones, so that one call
serves a map or all heads of all layers. A map without any attention has no entropy, no divergence and no share in a
box: those are nan there, never 0.

Boxes are `(top, left, bottom, right)` in pixels of the original image, half-open (the pixel `bottom` is outside); of
several, the union is measured: what lies in two of them counts once. They meet the cells by fraction: cell `(r, c)` is
the image's part from `r/grid_h` to `(r+1)/grid_h` of its height and from `c/grid_w` to `(c+1)/grid_w` of its width,
whatever size the model resized the image to.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.boxes import Box, as_boxes, check_inside
from inference.errors import SelectionError

Measure = NDArray[np.float64]
#: One box, or several whose union is meant.
Boxes = Box | Sequence[Box]


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


def localization(maps: ArrayLike) -> Measure:
    """Image share × (1 − entropy / ln(cells)), 0–1: looks at the image, and at few of its cells.

    After LocalizationHeads (Kang et al., CVPR 2025, arXiv 2503.06287), which takes heads with a large image share and a
    low spatial entropy; its entropy is of connected regions, this one of cells. 0 where a map has no attention.
    """
    values = _float64(maps)
    cells = values.shape[-2] * values.shape[-1]
    most = np.log(max(cells, 2))  # of one cell the entropy is 0, whatever it is divided by
    return np.asarray(image_share(values) * (1 - np.nan_to_num(entropy(values)) / most))


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


def cell_coverage(boxes: Boxes, image_size: tuple[int, int], grid: tuple[int, int]) -> Measure:
    """Which fraction of each cell's area a box, or the union of several, covers.

    The edges of all boxes cut the photo into strips; where a strip of rows and a strip of columns cross, all of the
    crossing is in the union or nothing of it.

    Args:
        boxes: `(top, left, bottom, right)` in pixels of the original image, half-open; or several.
        image_size: (height, width) of that image in pixels.
        grid: (grid_h, grid_w).

    Returns:
        `(grid_h, grid_w)`, 0–1.

    Raises:
        SelectionError: an empty box, or one that reaches outside the image.
    """
    several = as_boxes(boxes)
    check_inside(several, image_size)
    (height, width), (rows, columns) = image_size, grid
    down = list(pairwise(sorted({edge for top, _, bottom, _ in several for edge in (top, bottom)})))
    along = list(pairwise(sorted({edge for _, left, _, right in several for edge in (left, right)})))
    inside = np.zeros((len(down), len(along)))
    for top, left, bottom, right in several:
        strips = [top <= start and stop <= bottom for start, stop in down]
        inside[np.ix_(strips, [left <= start and stop <= right for start, stop in along])] = 1
    of_rows = np.array([_covered(*strip, height, rows) for strip in down])  # (strips of rows, grid_h)
    of_columns = np.array([_covered(*strip, width, columns) for strip in along])  # (strips of columns, grid_w)
    return np.asarray(of_rows.T @ inside @ of_columns)


def pointing_game(maps: ArrayLike, boxes: Boxes, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether each map's maximum lies in the box: a hit when its cell shares any area with it.

    The first maximum in reading order counts; a map without a value above 0 misses. (Zhang et al. 2016; there a point,
    here a cell, because the model has no finer place.)

    Raises:
        SelectionError: see `cell_coverage`.
    """
    values = _float64(maps)
    touched = _touched(boxes, image_size, values)
    flat = values.reshape(*values.shape[:-2], -1)
    peak = flat.argmax(axis=-1)
    return np.asarray(touched.ravel()[peak] & (flat.max(axis=-1) > 0))


def box_share(maps: ArrayLike, boxes: Boxes, image_size: tuple[int, int]) -> Measure:
    """Σ in the box: the share of a row's whole attention that is in it, 0–1; of the row as it is, not renormalised.

    A cell that the box covers partly counts by the fraction covered.

    Raises:
        SelectionError: see `cell_coverage`.
    """
    values = _float64(maps)
    return _weighted(values, cell_coverage(boxes, image_size, (values.shape[-2], values.shape[-1])))


def in_box_mass(maps: ArrayLike, boxes: Boxes, image_size: tuple[int, int]) -> Measure:
    """Σ in the box / Σ over the image, 0–1: `box_share` of the row renormalised over the image.

    Raises:
        SelectionError: see `cell_coverage`.
    """
    return box_share(_renormalised(maps), boxes, image_size)


def attention_ratio(maps: ArrayLike, boxes: Boxes, image_size: tuple[int, int]) -> Measure:
    """Mean in the box / mean over all boxes of the same size; above 1 the model looks there more than elsewhere.

    The box is widened to whole cells: all those it touches, h × w of them. The boxes of the same size are all h × w
    blocks of cells on the grid, the box itself among them. (mllms_know, ICLR 2025.) Several boxes are one shape, the
    cells that any of them touches; it is held against all places on the grid where the shape fits.

    Raises:
        SelectionError: see `cell_coverage`.
    """
    values = _float64(maps)
    touched = _touched(boxes, image_size, values)
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    shape = touched[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float64)
    # how often a cell is inside, over all places: (grid_h, h) @ (h, w) @ (w, grid_w), each 1 where a place puts it
    down, along = (_places(size, part) for size, part in zip(touched.shape, shape.shape, strict=True))
    places = (touched.shape[0] - shape.shape[0] + 1) * (touched.shape[1] - shape.shape[1] + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside, everywhere = _weighted(values, touched.astype(np.float64)), _weighted(values, down @ shape @ along.T)
        return np.asarray(inside * places / everywhere)


def _places(size: int, part: int) -> Measure:
    """`(size, part)`: 1 where some place of a run of `part` cells among `size` puts its cell j on cell i."""
    start = np.subtract.outer(np.arange(size), np.arange(part))
    return ((start >= 0) & (start <= size - part)).astype(np.float64)


#: So much of a cell's area at least is in a box that touches it: edges are written with ten digits.
_TOUCHED = 1e-6


def _touched(boxes: Boxes, image_size: tuple[int, int], maps: Measure) -> NDArray[np.bool_]:
    return np.asarray(cell_coverage(boxes, image_size, (maps.shape[-2], maps.shape[-1])) > _TOUCHED)


def _weighted(maps: Measure, weights: Measure) -> Measure:
    """Σ over the cells of map · weight, `(…)`."""
    return np.asarray(maps.reshape(*maps.shape[:-2], -1) @ weights.ravel())


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
