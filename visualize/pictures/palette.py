"""Decide which colour maps may be used and for what; colours come from matplotlib's tables, without pyplot.

Offered are maps whose lightness rises evenly (so they read in grey and with colour blindness), and for signed values
maps whose lightness falls evenly to both sides of a light middle.
"""

from reprlib import repr as shortened
from typing import Literal, get_args

import matplotlib
import numpy as np
from numpy.typing import NDArray

from inference.errors import SelectionError

Sequential = Literal["viridis", "magma", "inferno", "plasma", "cividis"]
Diverging = Literal["RdBu_r", "PuOr_r", "coolwarm", "BrBG_r", "PiYG_r"]

SEQUENTIAL: tuple[str, ...] = get_args(Sequential)
DIVERGING: tuple[str, ...] = get_args(Diverging)


def colour_table(name: str) -> NDArray[np.uint8]:
    """The colours of a map from its low end to its high end: `(256, 3)` uint8 RGB.

    Raises:
        SelectionError: a map that is not offered.
    """
    if name not in SEQUENTIAL + DIVERGING:
        raise SelectionError(f"colormap must be one of {', '.join(SEQUENTIAL + DIVERGING)}; not {shortened(name)}.")
    table = matplotlib.colormaps[name](np.arange(256), bytes=True)
    return np.asarray(table, dtype=np.uint8)[:, :3].copy()


def check_colormap(name: str | None, *, signed: bool) -> str:
    """A map fit for the scale: `name` if it is, the default where it is None.

    Args:
        name: one of `SEQUENTIAL` or `DIVERGING`, or None for viridis or RdBu_r.
        signed: whether values have both signs, so that the middle of the map must be seen to mean 0.

    Raises:
        SelectionError: a map that is not offered, or of the other kind.
    """
    offered = DIVERGING if signed else SEQUENTIAL
    if name is None:
        return offered[0]
    if name not in offered:
        kind = "values of both signs need a diverging" if signed else "values from 0 up need a sequential"
        raise SelectionError(f"{kind} colormap, one of {', '.join(offered)}; not {shortened(name)}.")
    return name
