"""Deletion and insertion by blurring: replays on pictures some of whose cells are blurred; it loads no adapter.

Each picture is the photo with other pixels: same size, same ids. A variant reads it anew, from the vision tower on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFilter

from inference.errors import SelectionError
from inference.explanations import Blur
from inference.model.context import RequestContext
from inference.model.replays import Replays
from inference.photo import Photo, upright_rgb
from inference.questions import BlurOptions


def check_order(context: RequestContext, options: BlurOptions) -> None:
    """Raise SelectionError unless a question orders the cells that the image has."""
    height, width = context.prompt.grid
    if len(options.order) != height * width:
        raise SelectionError(
            f"order holds {len(options.order):,} cells; this image has {height} × {width} = {height * width:,}.",
            "Order all of them, the most important first.",
        )


def blur(replays: Replays, options: BlurOptions) -> Blur:
    """All replays of one question.

    Args:
        replays: of its variants.
        options: what is asked, after `check_order`.

    Raises:
        CaptureError: a number that is not finite.
    """
    photo, grid, cells, steps = replays.context.request.image, replays.prompt.grid, len(options.order), options.steps
    radius = (photo.size[0] / grid[0] + photo.size[1] / grid[1]) / 2
    blurred = upright_rgb(photo.to_pil().filter(ImageFilter.GaussianBlur(radius)))
    order, counts = np.array(options.order, dtype=np.int64), np.arange(steps + 1) * cells // steps
    deletion, insertion = (np.empty((len(replays.names), steps + 1)) for _ in range(2))

    def outcome(name: str, ground: Photo, over: Photo, step: int, what: str) -> float:
        words = f"{counts[step]:,} of {cells:,} cells {what}"
        prefix = replays.read(mix(ground, over, order[: counts[step]], grid), f"{name} reads the photo with {words}")
        return replays.logprob(replays.run(0, f"{words}, of {name}", prefix=prefix))

    for variant, name in enumerate(replays.names):
        with replays.switch(variant):
            natural = replays.run(variant, f"the photo as it is, of {name}")
            deletion[variant, 0] = insertion[variant, -1] = replays.logprob(natural)
            for step in range(1, steps + 1):
                deletion[variant, step] = outcome(name, photo, blurred, step, "blurred")
            insertion[variant, 0] = deletion[variant, -1]  # nothing shown is all blurred
            for step in range(1, steps):
                insertion[variant, step] = outcome(name, blurred, photo, step, "shown")
    return Blur(
        grid=grid,
        radius=radius,
        order=order,
        counts=counts,
        deletion=deletion,
        insertion=insertion,
        **replays.record(),
    )


def mix(ground: Photo, over: Photo, cells: NDArray[np.int64], grid: tuple[int, int]) -> Photo:
    """A photo with some cells of another one laid over it; a cell's edges are the nearest between two pixels."""
    chosen = np.zeros(grid, dtype=np.bool_)
    chosen.flat[cells] = True
    rows, columns = (
        np.repeat(np.arange(count), np.diff(np.round(np.arange(count + 1) * side / count).astype(int)))
        for count, side in zip(grid, ground.size, strict=True)
    )
    pixels = np.where(chosen[rows][:, columns][..., None], over.pixels, ground.pixels)  # (height, width, 3)
    return upright_rgb(pixels)
