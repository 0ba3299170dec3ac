"""The shapes of the drawn worlds as coverage: how a circle, a ring, a square, a triangle, a star and a cross are drawn.

It decides outlines and their soft edges. It must not know colours, scenes or screens. Corners are rounded to integers
before anything is drawn, so that a seed means the same mask on every platform.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_SUPERSAMPLING: Final = 3

_Pixels = NDArray[np.float32]


def shape_mask(rng: np.random.Generator, shape: str, side: float) -> NDArray[np.float32]:
    """Coverage (0–1) of a shape whose longer side is about `side` pixels, cut to the pixels it touches."""
    fine = round(side * _SUPERSAMPLING)
    canvas = Image.new("L", (fine + 4 * _SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(canvas)
    offset = 2 * _SUPERSAMPLING
    if shape in ("circle", "ring"):
        flat = round(fine * (0.9 + 0.1 * rng.random()))
        draw.ellipse((offset, offset, offset + fine - 1, offset + flat - 1), fill=255)
        if shape == "ring":
            wall_x, wall_y = round(fine * 0.24), round(flat * 0.24)
            hole = (offset + wall_x, offset + wall_y, offset + fine - 1 - wall_x, offset + flat - 1 - wall_y)
            draw.ellipse(hole, fill=0)
    else:
        draw.polygon([(offset + x, offset + y) for x, y in _corners(rng, shape, fine)], fill=255)
    n = _SUPERSAMPLING
    covered = np.asarray(canvas, dtype=np.float32)
    covered = covered[: covered.shape[0] // n * n, : covered.shape[1] // n * n]
    coarse: _Pixels = covered.reshape(covered.shape[0] // n, n, covered.shape[1] // n, n).mean(axis=(1, 3)) / 255
    rows, columns = np.flatnonzero(coarse.any(axis=1)), np.flatnonzero(coarse.any(axis=0))
    return coarse[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _corners(rng: np.random.Generator, shape: str, fine: int) -> list[tuple[int, int]]:
    """Integer corners of a slightly turned polygon, scaled so that its longer side spans `fine` units."""
    turn = math.radians(int(rng.integers(-18, 19)))
    if shape == "cross":
        arm = 0.34
        outline = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
        outline += [(-x, -y) for x, y in outline]
    else:
        steps = {"square": 4, "triangle": 3, "star": 10}[shape]
        start = math.pi / 4 if shape == "square" else -math.pi / 2
        outline = []
        for step in range(steps):
            radius = 0.42 if shape == "star" and step % 2 else 1.0
            angle = start + 2 * math.pi * step / steps
            outline.append((radius * math.cos(angle), radius * math.sin(angle)))
    turned = [(x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)) for x, y in outline]
    low_x, low_y = min(x for x, _ in turned), min(y for _, y in turned)
    span = max(max(x for x, _ in turned) - low_x, max(y for _, y in turned) - low_y)
    return [(round((x - low_x) / span * (fine - 1)), round((y - low_y) / span * (fine - 1))) for x, y in turned]
