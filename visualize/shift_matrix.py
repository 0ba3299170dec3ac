"""Decide what "where did it change?" shows: one number per layer and head, and its picture.

Heads are recorded for the focus tokens only, so the matrix is about those; the picture's caption names them.
"""

from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from inference.errors import SelectionError
from inference.records import Comparison
from visualize.bar import colour_bar
from visualize.caption import plain, token_words
from visualize.change import check_same_tokens, pair_of
from visualize.measures import Measure, entropy, image_share, js_divergence
from visualize.palette import check_colormap, colour_table
from visualize.panes import variant_name
from visualize.reduce import Selection
from visualize.scale import ColourLimits, Unit, diverging_limits, shared_limits
from visualize.typeface import typeface, unbroken, wrap

ShiftMeasure = Literal["js", "share", "entropy"]

_UNITS: dict[str, Unit] = {"js": "bits", "share": "share difference", "entropy": "nats"}
_WORDS = {"js": "JS divergence over the image", "share": "Δ image share", "entropy": "Δ entropy over the image"}
_INK, _PAPER, _MISSING = (32, 33, 36), (255, 255, 255), (200, 200, 200)


def shift_matrix(
    comparison: Comparison, base: str | None, adapter: str | None, measure: ShiftMeasure = "js"
) -> Measure:
    """How much each head of each layer changed, for the focus token(s).

    Args:
        comparison: what was recorded.
        base, adapter: variants of it; None is the base model.
        measure: `"js"` in bits, 0–1, between the rows renormalised over the image; `"share"` the image share,
            `"entropy"` the entropy over the image in nats, both adapter − base.

    Returns:
        `(layers, heads)` float64; nan where a head puts nothing on the image and the measure does not exist.

    Raises:
        SelectionError: an unknown variant or measure, or variants that replayed different tokens or have another focus.
    """
    first, second = pair_of(comparison, base, adapter)
    check_same_tokens(first, second)
    if first.focus != second.focus:
        raise SelectionError(f"The variants' heads follow different tokens: {first.focus} and {second.focus}.")
    if measure == "js":
        return js_divergence(first.by_head, second.by_head)
    if measure == "share":
        return np.asarray(image_share(second.by_head) - image_share(first.by_head))
    if measure == "entropy":
        return np.asarray(entropy(second.by_head) - entropy(first.by_head))
    raise SelectionError(f"measure must be one of {', '.join(get_args(ShiftMeasure))}; not {measure!r}.")


def shift_limits(matrix: Measure, measure: ShiftMeasure) -> ColourLimits:
    """The matrix's colour scale: from 0 for `"js"`, else signed and symmetric about 0; nan cells do not count."""
    known = matrix[~np.isnan(matrix)].astype(np.float32)[None]
    if measure == "js":
        return shared_limits(known, unit="bits")
    return diverging_limits(known, unit=_UNITS[measure])


def shift_matrix_image(
    comparison: Comparison,
    base: str | None,
    adapter: str | None,
    measure: ShiftMeasure = "js",
    *,
    colormap: str | None = None,
) -> Image.Image:
    """Draw the matrix: layers down, heads across, layer 0 and head 0 at the top left; the largest change is framed.

    Heads without the measure are grey with a stroke through them.

    Args:
        comparison, base, adapter, measure: see `shift_matrix`.
        colormap: sequential for `"js"`, else diverging; None is the default of its kind.

    Returns:
        PIL RGB with axes, colour bar and caption.

    Raises:
        SelectionError: see `shift_matrix`; or a colormap of the wrong kind.
    """
    matrix = shift_matrix(comparison, base, adapter, measure)
    limits = shift_limits(matrix, measure)
    layers, heads = matrix.shape
    cell = max(10, min(34, 640 // max(layers, heads)))
    left, top, gap = 52, 34, 16
    width = max(left + heads * cell + gap, 420)
    left = max(left, (width - heads * cell) // 2)
    recording = comparison.recording(adapter)
    tokens = token_words(recording, Selection(0, "focus"))
    name = f"{variant_name(recording)} − {variant_name(comparison.recording(base))}"
    model = plain(comparison.model.id, most=100)
    words = " · ".join([_WORDS[measure], model, name, tokens, f"{recording.attention} attention"])
    font = typeface(13)
    lines = wrap(unbroken(words), font, width - 2 * gap)
    bar = colour_bar(limits, colormap=colormap, width=width, ink=_INK, paper=_PAPER)
    below = top + layers * cell + gap
    image = Image.new("RGB", (width, below + bar.height + 10 + 18 * len(lines) + gap), _PAPER)
    _draw_cells(image, matrix, limits, check_colormap(colormap, signed=limits.signed), (top, left), cell)
    _draw_axes(image, (layers, heads), (top, left), cell)
    image.paste(bar, (0, below))
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        draw.text((gap, below + bar.height + 10 + 18 * index), line, font=font, fill=_INK)
    return image


def _draw_cells(
    image: Image.Image, matrix: Measure, limits: ColourLimits, colormap: str, corner: tuple[int, int], cell: int
) -> None:
    draw = ImageDraw.Draw(image)
    table = colour_table(colormap)
    missing = np.isnan(matrix)
    index = np.minimum(limits.place(np.where(missing, 0, matrix)) * 256, 255).astype(np.uint8)
    for (layer, head), place in np.ndenumerate(index):
        y, x = corner[0] + layer * cell, corner[1] + head * cell
        edges = (x, y, x + cell - 2, y + cell - 2)
        draw.rectangle(edges, fill=_MISSING if missing[layer, head] else tuple(int(part) for part in table[place]))
        if missing[layer, head]:
            draw.line(edges, fill=_INK)
    if not limits.empty:
        layer, head = np.unravel_index(int(np.nanargmax(np.abs(matrix))), matrix.shape)
        y, x = corner[0] + int(layer) * cell, corner[1] + int(head) * cell
        draw.rectangle((x - 3, y - 3, x + cell + 1, y + cell + 1), outline=_PAPER, width=1)
        draw.rectangle((x - 2, y - 2, x + cell, y + cell), outline=_INK, width=2)


def _draw_axes(image: Image.Image, shape: tuple[int, int], corner: tuple[int, int], cell: int) -> None:
    draw, font = ImageDraw.Draw(image), typeface(12)
    for count, down in zip(shape, (True, False), strict=True):
        every = next(step for step in (1, 2, 4, 5, 10, 20, 50, 100) if step * cell >= 26 or step >= count)
        for index in range(0, count, every):
            along = (index + 0.5) * cell - 1
            if down:
                draw.text((corner[1] - 6, corner[0] + along), str(index), font=font, fill=_INK, anchor="rm")
            else:
                draw.text((corner[1] + along, corner[0] - 5), str(index), font=font, fill=_INK, anchor="mb")
    draw.text((corner[1], 4), "head →", font=font, fill=_INK, anchor="la")
    draw.text((corner[1] - 6, 4), "layer ↓", font=font, fill=_INK, anchor="ra")
