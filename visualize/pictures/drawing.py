"""Decide what a picture remembers: the numbers and choices it was drawn from, so that it can be drawn at any size."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.recording import FloatArray
from visualize.numbers.scale import ColourLimits
from visualize.pictures.marks import Marks
from visualize.pictures.overlay import overlay


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Everything that a picture is drawn from, so that it can be drawn again at another size from the numbers.

    Attributes: as the arguments of `overlay`; `marks.boxes` and `marks.said` are in pixels of `photo`.
    """

    photo: Image.Image
    heat: FloatArray
    limits: ColourLimits
    colormap: str
    opacity: float
    smooth: bool
    fade: bool
    hidden: NDArray[np.bool_] | None
    marks: Marks

    def at(self, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw at (height, width) in pixels; None is the photo's own size."""
        own = (self.photo.height, self.photo.width)
        height, width = size or own
        photo = self.photo if (height, width) == own else self.photo.resize((width, height), Image.Resampling.LANCZOS)
        down, along = height / own[0], width / own[1]
        boxes = tuple(
            (top * down, left * along, low * down, right * along) for top, left, low, right in self.marks.boxes
        )
        return overlay(
            photo,
            self.heat,
            self.limits,
            colormap=self.colormap,
            opacity=self.opacity,
            smooth=self.smooth,
            fade=self.fade,
            hidden=self.hidden,
            marks=replace(self.marks, boxes=boxes, said=tuple(each.scaled(down, along) for each in self.marks.said)),
        )
