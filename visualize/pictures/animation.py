"""Decide how pictures become a film: one sheet per frame, each with its own caption and bar; it knows no layer.

What changes from frame to frame is the business of who makes the frames: layers, windows, checkpoints of one run.
"""

import io
from collections.abc import Iterable
from typing import Literal, get_args

from PIL import Image

from inference.errors import SelectionError
from visualize.pictures.panes import Pane, Panes
from visualize.pictures.sheet import sheet

#: What a film is saved as. WebP keeps a picture's colours; GIF has 256 of them in a frame, and plays everywhere.
Kind = Literal["WebP", "GIF"]
Which = Literal["base", "adapter", "difference"]

_PAPER = (255, 255, 255)


def animation(
    frames: Iterable[Panes], *, kind: Kind = "WebP", pane: Which | None = None, seconds: float = 0.5, column: int = 420
) -> bytes:
    """A film that plays round and round, from pictures that follow one another.

    Each frame is the sheet of its panes, so it says by itself what it shows and on what scale. Pictures of layers have
    a scale each, as on the page; for checkpoints on one scale make the frames with `panes(…, beside=checkpoints)`:

        animation(panes(comparison, Selection(layer, 14), adapter="find-red") for layer in range(36))

    Args:
        frames: in the order of playing; drawn one after another.
        kind: `"WebP"` or `"GIF"`.
        pane: one pane of each frame alone; None is all of them side by side.
        seconds: how long each frame stays, 0.02–60, kept to a hundredth.
        column: width of a pane in pixels, see `sheet`.

    Returns:
        The file's bytes. All frames are as large as the largest; what a smaller one lacks at its right and its foot is
        white.

    Raises:
        SelectionError: no frame, a pane that a frame does not have, or another kind or time.
    """
    if kind not in get_args(Kind):
        raise SelectionError(f"kind must be one of {', '.join(get_args(Kind))}; not {kind!r}.")
    if not 0.02 <= seconds <= 60:
        raise SelectionError(f"A frame stays 0.02–60 seconds; not {seconds!r}.")
    first, *others = _of_one_size([sheet(panes, only=_only(panes, pane), column=column) for panes in frames])
    stay, buffer = round(seconds * 100) * 10, io.BytesIO()
    if kind == "WebP":
        first.save(buffer, "WebP", append_images=others, duration=stay, loop=0, quality=90)
    else:
        first, *others = [_with_256_colours(frame) for frame in (first, *others)]
        first.save(buffer, "GIF", append_images=others, duration=stay, loop=0)
    return buffer.getvalue()


def _only(panes: Panes, which: Which | None) -> Pane | None:
    if which is None:
        return None
    if which not in get_args(Which):
        raise SelectionError(f"pane must be one of {', '.join(get_args(Which))}; not {which!r}.")
    pane: Pane | None = getattr(panes, which)
    if pane is None:
        have = ", ".join(name for name in get_args(Which) if getattr(panes, name) is not None)
        raise SelectionError(f"There is no {which} pane here.", f"Choose one of {have}.")
    return pane


def _of_one_size(frames: list[Image.Image]) -> list[Image.Image]:
    if not frames:
        raise SelectionError("A film needs at least one frame.", "Choose at least one layer.")
    size = (max(frame.width for frame in frames), max(frame.height for frame in frames))
    canvases = []
    for frame in frames:
        canvas = Image.new("RGB", size, _PAPER)
        canvas.paste(frame)
        canvases.append(canvas)
    return canvases


def _with_256_colours(frame: Image.Image) -> Image.Image:
    """The frame with a palette of its own, without dithering: flat cells stay flat."""
    return frame.quantize(256, Image.Quantize.MEDIANCUT)
