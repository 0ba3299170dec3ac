"""Decide what pictures stand side by side: base, adapter and adapter − base of one layer, drawn from a stack's numbers.

Nothing is drawn before it is asked for: a pane holds what its picture is drawn from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.boxes import Box
from inference.errors import SelectionError
from inference.records import Comparison
from visualize.numbers.caption import size_words, variant_name
from visualize.numbers.figures import Change, Measures
from visualize.numbers.looked_said import said_line, words_of
from visualize.numbers.reduce import Selection
from visualize.numbers.side_by_side import Cells
from visualize.numbers.stack import Cell, PaneStack, Stack, stack
from visualize.pictures.bar import colour_bar
from visualize.pictures.drawing import Drawing
from visualize.pictures.marks import Marks
from visualize.pictures.overlay import rgb_photo
from visualize.pictures.palette import check_colormap
from visualize.pictures.said_marks import SaidMark, style_of

Photo = Image.Image | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Pane:
    """One picture and all that is said of it.

    Attributes:
        variant: `base`, an adapter's name, or `find-red − base`.
        drawing: what the picture is drawn from; `drawing.heat` is the map, `drawing.limits` its colour scale.
        caption: one line, see `caption`.
        alt: one sentence for those who cannot see it.
        peak: (row, column) of the largest value (of the largest change, for a difference), or None where no value is
            above 0.
        measures: of the attention itself; None for a difference.
    """

    variant: str
    drawing: Drawing
    caption: str
    alt: str
    peak: Cell | None
    measures: Measures | None

    @property
    def image(self) -> Image.Image:
        """The picture, PIL RGB at the photo's own size; drawn anew each time."""
        return self.drawing.at()

    @property
    def bar(self) -> Image.Image:
        """Its colour bar, PIL RGB."""
        return colour_bar(self.drawing.limits, colormap=self.drawing.colormap)


@dataclass(frozen=True, slots=True, eq=False)
class Panes:
    """Pictures that belong together.

    Attributes:
        stack: the numbers of the one layer (or window) that is shown.
        base: the left pane; the only one where a single variant was asked for.
        adapter: the second variant, or None.
        difference: adapter − base; None where there is one variant, or each replayed its own answer.
        notes: what a careful colleague would say of these pictures.
        prompt: what was asked.
        answers: per variant shown, its name and what it wrote itself; None where an answer was given.
        said: per variant shown that says a place, or began to, a sentence with its mark; empty where marks are not
            wanted.
    """

    stack: Stack
    base: Pane
    adapter: Pane | None
    difference: Pane | None
    notes: tuple[str, ...]
    prompt: str
    answers: tuple[tuple[str, str | None], ...]
    said: tuple[str, ...] = ()

    @property
    def change(self) -> Change | None:
        """The difference in numbers; None where there is no difference."""
        return self.stack.differences[0].changes[0] if self.difference else None

    @property
    def sinks(self) -> Cells:
        """`(grid_h, grid_w)` bool, cells that are sinks in either variant."""
        return np.asarray(self.stack.sinks[0])

    def __iter__(self) -> Iterator[Pane]:
        """The panes there are, from left to right."""
        return iter([pane for pane in (self.base, self.adapter, self.difference) if pane is not None])


def panes(
    comparison: Comparison,
    selection: Selection,
    *,
    base: str | None = None,
    adapter: str | None = None,
    beside: Sequence[str | None] = (),
    colormap: str | None = None,
    diverging: str | None = None,
    opacity: float = 0.6,
    smooth: bool = True,
    fade: bool = False,
    log: bool = False,
    percentile: float = 100.0,
    boxes: tuple[Box, ...] = (),
    said: bool = True,
    original_image: Photo | None = None,
) -> Panes:
    """The pictures of one or two variants of a comparison and of their difference.

    Args:
        comparison: what was recorded.
        selection: layer, token, head and view.
        base: the variant on the left; None is the base model.
        adapter: the variant on the right, `"base"` for the base model; None shows the left one alone.
        beside: variants that are not shown, but whose values count for the colour scales: pictures of several adapters
            that are looked at one after another then share one scale. The two that are shown may be among them.
        colormap: sequential map of base and adapter, see `palette`; not used by the contrast view, which is signed.
        diverging: map of signed pictures (difference, contrast).
        opacity, smooth: see `overlay`.
        fade: let the photo through where the difference is small, see `overlay`; the variants' pictures never fade.
        log: logarithmic colours for base and adapter; signed pictures stay linear.
        percentile: 50–100, where the colour scales are clipped; 100 clips nothing.
        boxes: `(top, left, bottom, right)` to mark, in pixels of the photo drawn on.
        said: mark the points and boxes that the shown variants say, each with a style of its own.
        original_image: draw on this photo instead of the comparison's, of the same shape but any size.

    Raises:
        SelectionError: a variant, layer, head, token, view or option that this comparison does not have.
    """
    variants = [base] if adapter is None else [base, None if adapter == "base" else adapter]
    shown = stack(
        comparison,
        selection.token,
        head=selection.head,
        view=selection.view,
        layers=(selection.layer,),
        variants=[*variants, *(name for name in beside if name not in variants)],
        log=log,
        percentile=percentile,
    )
    photo = rgb_photo(comparison.image) if original_image is None else _fitting(original_image, comparison.image_size)

    spoken = said_marks(comparison, variants) if said else SaidMarks()
    down, along = photo.height / comparison.image_size[0], photo.width / comparison.image_size[1]
    places = tuple(mark.scaled(down, along) for mark in spoken.marks)

    def pane(numbers: PaneStack, *, fade: bool = False) -> Pane:
        limits, sinks = numbers.limits[0], shown.sinks[0]
        table = check_colormap(diverging if limits.signed else colormap, signed=limits.signed)
        marks = Marks(numbers.peaks[0], sinks, boxes, places)
        drawing = Drawing(photo, numbers.maps[0], limits, table, opacity, smooth, fade, shown.hidden(0), marks)
        measures = numbers.measures[0] if numbers.measures else None
        return Pane(numbers.variant, drawing, numbers.captions[0], numbers.alts[0], numbers.peaks[0], measures)

    left, *right = map(pane, shown.variants[: len(variants)])
    difference = next((pane(numbers, fade=fade) for numbers in shown.differences[: len(variants) - 1]), None)
    faded = ("Colours of the difference fade towards 0: there they are paler than on the bar.",)
    recordings = [comparison.recording(name) for name in variants]
    return Panes(
        shown,
        left,
        next(iter(right), None),
        difference,
        shown.notes[0] + (faded if fade and difference else ()),
        str(comparison.prompt),
        tuple((variant_name(recording), recording.answer) for recording in recordings),
        spoken.lines,
    )


@dataclass(frozen=True, slots=True)
class SaidMarks:
    """The places that some variants say, in pixels of the comparison's photo, and a sentence for each variant."""

    marks: tuple[SaidMark, ...] = ()
    lines: tuple[str, ...] = ()


def said_marks(comparison: Comparison, variants: Sequence[str | None]) -> SaidMarks:
    """What is drawn and said of the places in the words of some variants; nothing of those without any.

    Args:
        comparison: what was recorded; the order of its variants gives each its style.
        variants: None is the base model.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    marks, lines = list[SaidMark](), list[str]()
    for recording in map(comparison.recording, variants):
        words, index = words_of(comparison, recording), comparison.recordings.index(recording)
        marks += [SaidMark(index, place.corners) for place in words.said.places]
        if words.said.places or words.said.unread:
            lines.append(f"{style_of(index).words.capitalize()}: {said_line(words)}.")
    return SaidMarks(tuple(marks), tuple(lines))


def _fitting(image: Photo, size: tuple[int, int]) -> Image.Image:
    photo = rgb_photo(image)
    if abs(photo.height * size[1] / (photo.width * size[0]) - 1) > 0.02 + 1 / min(photo.size) + 1 / min(size):
        raise SelectionError(
            f"The photo to draw on has {size_words((photo.height, photo.width))}, the recorded one {size_words(size)}.",
            "Pass the same photo, upright and uncropped; it may be larger or smaller, of the same shape.",
        )
    return photo
