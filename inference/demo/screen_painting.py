"""How a laid-out screen becomes pixels: whole rectangles, runs of pixels and signs blended in integers.

It decides borders, the softness of signs and the noise. It must not choose anything: all numbers come with the layout.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.demo.screen_layout import CURSOR, RGB, Button, Layout, Part
from inference.demo.shapes import shape_mask
from inference.demo.world import Box

_PLATE_BORDER: Final[RGB] = (124, 124, 124)  # lighter than every window and bar
_FRAME: Final = 40  # levels by which a window's frame is lighter than the window
_CURSOR_BORDER: Final[RGB] = (235, 235, 235)


def paint(layout: Layout) -> Image.Image:
    """Paint every part in its order, then the noise: an RGB picture."""
    pixels = np.empty((*layout.size, 3), dtype=np.int32)
    pixels[:] = layout.desktop
    for part in layout.parts:
        if isinstance(part, Button):
            _paint_button(pixels, part)
        else:
            _paint_part(pixels, part)
    first, second = np.random.default_rng(layout.grain_seed).integers(0, 256, (2, *layout.size), dtype=np.int32)
    pixels += ((first + second - 255) * layout.grain // 104)[:, :, None]  # 104: their standard deviation
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _paint_button(pixels: NDArray[np.int32], button: Button) -> None:
    _fill(pixels, button.box, _PLATE_BORDER)
    top, left, bottom, right = button.box
    _fill(pixels, (top + 1, left + 1, bottom - 1, right - 1), button.fill)
    coverage = shape_mask(np.random.default_rng(button.sign_seed), button.shape, button.sign_side)
    levels = (coverage * 255 + 0.5).astype(np.int32)  # 0–255
    rows, columns = levels.shape
    top, left = (top + bottom - rows) // 2, (left + right - columns) // 2
    area = pixels[top : top + rows, left : left + columns]
    area += (np.array(button.ink, dtype=np.int32) - area) * levels[:, :, None] // 255


def _paint_part(pixels: NDArray[np.int32], part: Part) -> None:
    top, left, bottom, right = part.box
    match part.kind:
        case "window":
            red, green, blue = part.fill
            _fill(pixels, part.box, (red + _FRAME, green + _FRAME, blue + _FRAME))
            _fill(pixels, (top + 1, left + 1, bottom - 1, right - 1), part.fill)
        case "line":
            for start, end in part.words:
                _fill(pixels, (top, start, bottom, end), part.fill)
        case "cursor":
            for row, (start, end) in enumerate(CURSOR):
                _fill(pixels, (top + row, left + start, top + row + 1, left + end), _CURSOR_BORDER)
                _fill(pixels, (top + row, left + start + 1, top + row + 1, left + end - 1), part.fill)
        case _:
            _fill(pixels, part.box, part.fill)


def _fill(pixels: NDArray[np.int32], box: Box, fill: RGB) -> None:
    top, left, bottom, right = box
    if left < right:
        pixels[top:bottom, left:right] = fill
