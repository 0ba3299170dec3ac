"""Decide what stands side by side: base, adapter and adapter − base, on one scale, with bars, captions and numbers.

The one entry of the page, the routes, the notebook and the exported sheet, so that all show the same picture:

1. each variant's map is selected; sinks are those of either variant, so both leave out the same cells;
2. base and adapter share one colour scale, from 0 (signed and about 0 in the contrast view); the difference is signed;
3. numbers are measured on the attention itself, whatever the view shows; peaks belong to the view.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.errors import SelectionError
from inference.records import Comparison, FloatArray, Recording
from visualize.bar import colour_bar
from visualize.caption import caption
from visualize.drawing import Drawing
from visualize.marks import Marks
from visualize.measures import Box, effective_cells, entropy, image_share, js_divergence, peak_cell
from visualize.overlay import rgb_photo
from visualize.palette import check_colormap
from visualize.reduce import Selection, difference, select
from visualize.scale import ColourLimits, diverging_limits, shared_limits
from visualize.sinks import sink_cells

Photo = Image.Image | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers of one variant's attention, see `visualize.measures`; nan where it has none.

    Attributes:
        image_share: share of the row's whole attention on the image, 0–1; nan for head "max", which is no row.
        entropy: over the image's cells, in nats.
        effective_cells: exp(entropy).
    """

    image_share: float
    entropy: float
    effective_cells: float


@dataclass(frozen=True, slots=True)
class Change:
    """Numbers of a difference; nan where one of the two maps has no attention on the image.

    Attributes:
        js_divergence: bits, 0–1, between the two maps renormalised over the image.
        delta_share: adapter − base, of image share, −1–1.
        delta_entropy: adapter − base, of entropy, in nats.
    """

    js_divergence: float
    delta_share: float
    delta_entropy: float


@dataclass(frozen=True, slots=True, eq=False)
class Pane:
    """One picture and all that is said of it.

    Attributes:
        variant: `base`, an adapter's name, or `find-red − base`.
        drawing: what the picture is drawn from; `drawing.heat` is the map, `drawing.limits` its colour scale.
        image: PIL RGB at the photo's own size.
        bar: its colour bar, PIL RGB; as SVG: `colour_bar_svg(drawing.limits, colormap=drawing.colormap)`.
        caption: one line, see `caption`.
        alt: one sentence for those who cannot see it.
        peak: (row, column) of the largest value (of the largest change, for a difference), or None where all are 0.
        measures: of the attention itself; None for a difference.
    """

    variant: str
    drawing: Drawing
    image: Image.Image
    bar: Image.Image
    caption: str
    alt: str
    peak: tuple[int, int] | None
    measures: Measures | None


@dataclass(frozen=True, slots=True, eq=False)
class Panes:
    """Pictures that belong together.

    Attributes:
        base: the left pane; the only one where a single variant was asked for.
        adapter: the second variant, or None.
        difference: adapter − base; None where there is one variant, or each replayed its own answer.
        change: the difference in numbers; None where there is no difference.
        sinks: `(grid_h, grid_w)` bool, cells that are sinks in either variant.
        notes: what a careful colleague would say of these pictures.
    """

    base: Pane
    adapter: Pane | None
    difference: Pane | None
    change: Change | None
    sinks: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Pane]:
        """The panes there are, from left to right."""
        return iter([each for each in (self.base, self.adapter, self.difference) if each is not None])


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What all panes have in common."""

    model: str
    selection: Selection
    photo: Image.Image
    sinks: NDArray[np.bool_]
    hidden: NDArray[np.bool_] | None
    boxes: tuple[Box, ...]
    opacity: float
    smooth: bool
    fade: bool


def panes(
    comparison: Comparison,
    selection: Selection,
    *,
    base: str | None = None,
    adapter: str | None = None,
    colormap: str | None = None,
    diverging: str | None = None,
    opacity: float = 0.6,
    smooth: bool = True,
    fade: bool = False,
    log: bool = False,
    percentile: float = 100.0,
    boxes: tuple[Box, ...] = (),
    original_image: Photo | None = None,
) -> Panes:
    """Draw one or two variants of a comparison and their difference.

    Args:
        comparison: what was recorded.
        selection: layer, token, head and view.
        base: the variant on the left; None is the base model.
        adapter: the variant on the right; None draws the left one alone.
        colormap: sequential map of base and adapter, see `palette`; not used by the contrast view, which is signed.
        diverging: map of signed pictures (difference, contrast).
        opacity, smooth, fade: see `overlay`.
        log: logarithmic colours for base and adapter; signed pictures stay linear.
        percentile: 50–100, where the colour scales are clipped; 100 clips nothing.
        boxes: `(top, left, bottom, right)` to mark, in pixels of the photo drawn on.
        original_image: draw on this photo instead of the comparison's, of the same shape but any size.

    Raises:
        SelectionError: a variant, layer, head, token, view or option that this comparison does not have.
    """
    left = comparison.recording(base)
    right = None if adapter is None else comparison.recording(adapter)
    if right is left:
        raise SelectionError(f"A comparison needs two variants; got {adapter!r} twice.", "Choose another one.")
    recordings = [left] if right is None else [left, right]
    sinks = np.logical_or.reduce([sink_cells(each, selection.layer) for each in recordings])
    hidden = sinks if selection.view == "sink-masked" and sinks.any() else None
    photo = rgb_photo(comparison.image) if original_image is None else _fitting(original_image, comparison.image_size)
    scene = _Scene(comparison.model.id, selection, photo, sinks, hidden, boxes, opacity, smooth, fade)

    maps = [select(each, selection, sinks=sinks) for each in recordings]
    if selection.view == "contrast":
        limits = diverging_limits(*maps, percentile=percentile)
    else:
        limits = shared_limits(*maps, percentile=percentile, log=log, hidden=hidden)
    table = check_colormap(diverging if limits.signed else colormap, signed=limits.signed)
    notes = _notes(limits, selection, log, fade, sinks)
    measured = [_measures(each, selection) for each in recordings]
    drawn = [_variant_pane(scene, *each, limits, table) for each in zip(recordings, maps, measured, strict=True)]
    if right is None:
        return Panes(drawn[0], None, None, None, sinks, notes)
    if not comparison.tokens:
        own = "Each variant replayed its own answer: their rows follow different words and have no difference."
        return Panes(drawn[0], drawn[1], None, None, sinks, (own, *notes))

    delta = difference(maps[1], maps[0])
    spread = diverging_limits(delta, percentile=percentile, hidden=hidden)
    pane = _difference_pane(scene, left, right, delta, spread, check_colormap(diverging, signed=True))
    change = Change(
        float(js_divergence(*(_weights(each, selection) for each in recordings))),
        measured[1].image_share - measured[0].image_share,
        measured[1].entropy - measured[0].entropy,
    )
    equal = ("The two maps are equal: the difference is 0.",) if spread.empty else ()
    return Panes(drawn[0], drawn[1], pane, change, sinks, notes + equal)


def variant_name(recording: Recording) -> str:
    """`base`, or the adapter's name."""
    return recording.adapter or "base"


def _fitting(image: Photo, size: tuple[int, int]) -> Image.Image:
    photo = rgb_photo(image)
    if abs(photo.height * size[1] / (photo.width * size[0]) - 1) > 0.02 + 1 / min(photo.size) + 1 / min(size):
        raise SelectionError(
            f"The photo to draw on is {photo.height} × {photo.width}, the recorded one {size[0]} × {size[1]} pixels.",
            "Pass the same photo, upright and uncropped; it may be larger or smaller, of the same shape.",
        )
    return photo


def _weights(recording: Recording, selection: Selection) -> FloatArray:
    return select(recording, replace(selection, view="raw"))


def _measures(recording: Recording, selection: Selection) -> Measures:
    weights = _weights(recording, selection)
    share = math.nan if selection.head == "max" else float(image_share(weights))
    return Measures(share, float(entropy(weights)), float(effective_cells(weights)))


def _variant_pane(
    scene: _Scene, recording: Recording, heat: FloatArray, measures: Measures, limits: ColourLimits, colormap: str
) -> Pane:
    peak = peak_cell(heat, scene.hidden)
    name = variant_name(recording)
    line = caption(scene.model, name, recording, scene.selection, limits)
    return _pane(scene, name, heat, limits, colormap, peak, line, measures)


def _difference_pane(
    scene: _Scene, base: Recording, adapter: Recording, delta: FloatArray, limits: ColourLimits, colormap: str
) -> Pane:
    name = f"{variant_name(adapter)} − {variant_name(base)}"
    peak = peak_cell(np.abs(delta), scene.hidden)
    line = caption(scene.model, name, adapter, scene.selection, limits)
    return _pane(scene, name, delta, limits, colormap, peak, line, None)


def _pane(
    scene: _Scene,
    name: str,
    heat: FloatArray,
    limits: ColourLimits,
    colormap: str,
    peak: tuple[int, int] | None,
    line: str,
    measures: Measures | None,
) -> Pane:
    marks = Marks(peak, scene.sinks, scene.boxes)
    drawing = Drawing(scene.photo, heat, limits, colormap, scene.opacity, scene.smooth, scene.fade, scene.hidden, marks)
    what = "Change of attention over the photo" if measures is None else "Attention over the photo"
    where = (
        "no peak" if peak is None else f"peak at row {peak[0]}, column {peak[1]} of {heat.shape[0]} × {heat.shape[1]}"
    )
    left_out = int(scene.sinks.sum())
    sinks = f", {left_out} sink cell{'s' * (left_out != 1)} marked" if left_out else ""
    bar = colour_bar(limits, colormap=colormap)
    return Pane(name, drawing, drawing.at(), bar, line, f"{what}: {line}; {where}{sinks}.", peak, measures)


def _notes(
    limits: ColourLimits, selection: Selection, log: bool, fade: bool, sinks: NDArray[np.bool_]
) -> tuple[str, ...]:
    notes = []
    if selection.view == "sink-masked" and sinks.any():
        notes.append(f"Left out as sinks: {sinks.sum()} of {sinks.size} cells.")
    elif selection.view == "sink-masked":
        notes.append("No cell is a sink here: nothing is left out.")
    if selection.view != "raw":
        notes.append("Image share, entropy and divergence are those of the raw row.")
    if limits.empty:
        notes.append("All values are 0: there is nothing to colour.")
    if log and limits.signed:
        notes.append("Signed values are drawn on a linear scale.")
    if fade:
        notes.append("Colours fade where values are low: there they are paler than on the bar.")
    if selection.head == "max":
        notes.append("A maximum over heads is no single row: it has no share of attention on the image.")
    return tuple(notes)
