"""What was recorded on one of several images of a conversation, and how images are put in their order; no engine.

A `Recording` holds the maps of the image that is shown, as it does where there is only one. Those of the other images
lie beside it, in the order of the images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """An image of a conversation: upright `(height, width, 3)` uint8, and its cells (grid_h, grid_w)."""

    pixels: NDArray[np.uint8] = field(repr=False)
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ImageMaps:
    """A recording's maps on one image; see the fields of the same names of `Recording`, all float32."""

    by_token: NDArray[np.float32] = field(repr=False)
    by_head: NDArray[np.float32] = field(repr=False)
    background: NDArray[np.float32] = field(repr=False)
    background_low: NDArray[np.float32] = field(repr=False)
    vision_received: NDArray[np.float32] | None = field(default=None, repr=False)


#: Names of the arrays that are recorded per image.
PER_IMAGE = tuple(each.name for each in fields(ImageMaps))


def in_order(shown: _Part, elsewhere: Sequence[_Part], index: int) -> tuple[_Part, ...]:
    """What belongs to the images, in their order.

    Args:
        shown: of the image that is shown.
        elsewhere: of the others, in order.
        index: which of all is shown.
    """
    return (*elsewhere[:index], shown, *elsewhere[index:])


def without(parts: Sequence[_Part], index: int) -> tuple[_Part, ...]:
    """All but one."""
    return (*parts[:index], *parts[index + 1 :])
