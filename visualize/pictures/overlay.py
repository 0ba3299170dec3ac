"""Decide how a map is laid on its photo: numbers are resized, then coloured, then blended, always in that order.

The blend is plain by default: every pixel is (1 − opacity) photo and opacity colour, so equal values look equally
strong anywhere, low ones included. `fade` makes the colour's opacity grow with the value instead (on a signed scale
with its distance from 0): the photo stays clear where little happens, and colours there no longer match the bar
exactly.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.errors import SelectionError
from inference.recording import FloatArray
from visualize.numbers.scale import ColourLimits
from visualize.pictures.marks import Marks, draw_marks
from visualize.pictures.palette import check_colormap, colour_table
from visualize.pictures.resize import bands


def overlay(
    image: Image.Image | NDArray[np.uint8],
    heat: FloatArray,
    limits: ColourLimits,
    *,
    colormap: str | None = None,
    opacity: float = 0.6,
    smooth: bool = True,
    fade: bool = False,
    hidden: NDArray[np.bool_] | None = None,
    marks: Marks | None = None,
) -> Image.Image:
    """Lay a map on the photo it was recorded on.

    Args:
        image: upright photo, PIL or `(height, width, 3)` uint8; its own size is kept, whatever the model resized it to.
        heat: `(grid_h, grid_w)`, one value per cell; cells cover the image by fraction.
        limits: the values of the first and last colour; from `shared_limits` or `diverging_limits`.
        colormap: a sequential or, for signed limits, diverging name from `palette`; None is viridis or RdBu_r.
        opacity: 0 (photo only) to 1 (colours only).
        smooth: bilinear between cell centres, else flat cells.
        fade: opacity grows with the value, see above.
        hidden: cells left uncoloured, `(grid_h, grid_w)` bool; their neighbours are then drawn from visible cells
            alone.
        marks: peak, sinks and boxes to mark.

    Returns:
        PIL image, mode RGB, of the image's own size.

    Raises:
        SelectionError: an opacity, map or colormap outside these ranges.
    """
    photo = rgb_photo(image)
    if not 0 <= opacity <= 1:
        raise SelectionError(f"opacity must be 0–1, not {opacity!r}.")
    colours, strength = _coloured(heat, (photo.height, photo.width), limits, colormap, smooth, fade, hidden)
    mask = (strength * np.float32(opacity * 255) + np.float32(0.5)).astype(np.uint8)
    picture = Image.composite(Image.fromarray(colours), photo, Image.fromarray(mask))
    if marks is not None:
        draw_marks(picture, marks, (heat.shape[0], heat.shape[1]))
    return picture


def rgb_photo(image: Image.Image | NDArray[np.uint8]) -> Image.Image:
    """A PIL image of mode RGB from a PIL image or an array `(height, width, 3)` uint8.

    Raises:
        SelectionError: an array of another shape or type.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise SelectionError(f"image must be (height, width, 3) uint8; got {image.shape} {image.dtype}.")
    return Image.fromarray(image)


def _coloured(
    heat: FloatArray,
    size: tuple[int, int],
    limits: ColourLimits,
    colormap: str | None,
    smooth: bool,
    fade: bool,
    hidden: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.uint8], FloatArray]:
    """Colours `(height, width, 3)` uint8 and how strongly each pixel is tinted, `(height, width)` 0–1."""
    _check_heat(heat, hidden)
    table = colour_table(check_colormap(colormap, signed=limits.signed))
    colours = np.empty((*size, 3), dtype=np.uint8)
    strength = np.ones(size, dtype=np.float32)
    seen = np.ones(heat.shape, np.float32) if hidden is None else (~hidden).astype(np.float32)
    values = bands(heat * seen, size, smooth=smooth)
    weights = bands(seen, size, smooth=smooth) if hidden is not None else None
    for rows, band in values:
        if weights is not None:
            weight = next(weights)[1]
            band = np.divide(band, weight, out=np.zeros_like(band), where=weight > 0)
        placed = limits.place(band)
        colours[rows] = table.take(np.minimum(placed * 256, 255).astype(np.uint8), axis=0)
        if fade:
            strength[rows] = np.abs(2 * placed - 1) if limits.signed else placed
    if hidden is not None:
        for rows, band in bands(seen, size, smooth=False):
            strength[rows] *= band >= 0.5
    return colours, strength


def _check_heat(heat: FloatArray, hidden: NDArray[np.bool_] | None) -> None:
    if heat.ndim != 2 or not heat.size:
        raise SelectionError(f"a map must be (grid_h, grid_w); got {heat.shape}.")
    if not np.isfinite(heat).all():
        raise SelectionError("a map holds values that are not finite numbers; there is nothing true to draw.")
    if hidden is not None and hidden.shape != heat.shape:
        raise SelectionError(f"hidden cells must have the map's shape {heat.shape}; got {hidden.shape}.")
