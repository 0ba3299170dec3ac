"""Decide the picture that leaves the tool: question and answers, panes side by side, colour bars, numbers, captions.

Everything is drawn anew from the numbers at the sheet's own size: a coloured picture is never stretched. At the photo's
own size letters and bars grow with it, so that they can be read on it.
"""

import math

from PIL import Image, ImageDraw

from visualize.numbers.caption import plain, size_words
from visualize.numbers.scale import Unit, number
from visualize.pictures.bar import colour_bar
from visualize.pictures.panes import Pane, Panes
from visualize.pictures.typeface import Font, typeface, unbroken, wrap

#: Longest side in pixels of a picture at the photo's own size.
LARGEST = 4_096

_INK, _SOFT, _PAPER = (32, 33, 36), (95, 99, 104), (255, 255, 255)
_MARGIN, _GAP = 28, 28
_LINE = 19
_TALLEST = 900
_NARROWEST = 560  # of a column at the photo's own size: its words need room
_BAR = 640
_LONGEST = 2_000  # characters of a prompt or an answer
_MOST_LINES = 4  # of a prompt or an answer


def sheet(panes: Panes, *, only: Pane | None = None, column: int | None = 560) -> Image.Image:
    """One picture of all panes, or of one, with the prompt and the answers, for export.

    Args:
        panes: what to show.
        only: one of them, to show it alone.
        column: width of a column in pixels; photos are drawn as wide as that, or as tall as 900 px. Photos more than 2½
            times as wide as tall stand below one another, as wide as two columns. None draws them at their own size;
            one with a longer side than `LARGEST` is drawn that large, which the picture says.

    Returns:
        PIL image, mode RGB, on white.
    """
    photo = panes.base.drawing.photo
    shown = list(panes) if only is None else [only]
    stacked = photo.width > 2.5 * photo.height and len(shown) > 1
    width, size = _own(photo) if column is None else _fitting(photo, 2 * column if stacked else column)
    unit = 1.0 if column is not None else max(1.0, width / (2 * _NARROWEST))
    columns = [_column(pane, numbers_line(panes, pane), width, size, unit) for pane in shown]
    gap, margin, line = round(_GAP * unit), round(_MARGIN * unit), round(_LINE * unit)
    across = width if stacked else len(columns) * width + (len(columns) - 1) * gap
    words = [row for text in _words(panes) for row in wrap(text, _body(unit), across, most=_MOST_LINES)]
    foot = [row for note in _foot(panes, size if column is None else None) for row in wrap(note, _body(unit), across)]
    top = margin + line * len(words) + round(14 * unit)
    down = (
        sum(column_image.height for column_image in columns) + gap * (len(columns) - 1)
        if stacked
        else max(column_image.height for column_image in columns)
    )
    low = top + down + round(10 * unit)
    image = Image.new("RGB", (across + 2 * margin, low + line * len(foot) + margin), _PAPER)
    _write(image, words, (margin, margin), unit, ink_lines=len(words))
    at = top if stacked else margin
    for column_image in columns:
        image.paste(column_image, (margin, at) if stacked else (at, top))
        at += (column_image.height if stacked else column_image.width) + gap
    _write(image, foot, (margin, low), unit)
    return image


def numbers_line(panes: Panes, pane: Pane) -> str:
    """The numbers of one pane in words: `image share 21.3 % · entropy 3.1 nats (22.2 cells) · peak row 3, column 5`."""
    peak = "no peak" if pane.peak is None else f"peak row {pane.peak[0]}, column {pane.peak[1]}"
    if pane.measures is not None:
        share = _with_unit(pane.measures.image_share, "share", "%")
        spread = _with_unit(pane.measures.entropy, "nats", "nats")
        cells = number(pane.measures.effective_cells, "nats")
        return f"image share {share} · entropy {spread} ({cells} cells) · {peak}"
    assert panes.change is not None  # a pane without measures is a difference
    share = _with_unit(panes.change.delta_share, "share difference", "points", sign=True)
    spread = _with_unit(panes.change.delta_entropy, "nats", "nats", sign=True)
    divergence = _with_unit(panes.change.js_divergence, "bits", "bits")
    return f"Δ image share {share} · JS divergence {divergence} · Δ entropy {spread} · {peak}"


def _with_unit(value: float, unit: Unit, word: str, *, sign: bool = False) -> str:
    return "–" if math.isnan(value) else f"{number(value, unit, sign=sign)} {word}"


def _fitting(photo: Image.Image, width: int) -> tuple[int, tuple[int, int]]:
    """A column's width and the (height, width) that a photo is drawn at in it."""
    scale = min(width / photo.width, _TALLEST / photo.height)
    return width, (max(round(photo.height * scale), 1), max(round(photo.width * scale), 1))


def _own(photo: Image.Image) -> tuple[int, tuple[int, int]]:
    """The same at the photo's own size, as far as `LARGEST` goes."""
    scale = min(1.0, LARGEST / max(photo.size))
    size = (max(round(photo.height * scale), 1), max(round(photo.width * scale), 1))
    return max(size[1], _NARROWEST), size


def _words(panes: Panes) -> list[str]:
    """The question, and what each variant answered itself."""
    answers = [f"{name}: “{plain(text, most=_LONGEST)}”" for name, text in panes.answers if text is not None]
    return [f"Prompt: “{plain(panes.prompt, most=_LONGEST)}”", *answers]


def _foot(panes: Panes, size: tuple[int, int] | None) -> list[str]:
    """What the marks mean, what was said, the notes, and whether a photo of its own `size` had to be reduced."""
    key = "Ring: the largest value, of a difference the largest change."
    if panes.sinks.any():
        key += " Cross: a sink, a cell that nearly every text row looks at."
    photo = panes.base.drawing.photo
    if size in (None, (photo.height, photo.width)):
        return [key, *panes.said, *panes.notes]
    whole = size_words((photo.height, photo.width))
    return [key, *panes.said, *panes.notes, f"The photo has {whole}; it is drawn at {size_words(size)}."]


def _column(pane: Pane, numbers: str, width: int, size: tuple[int, int], unit: float) -> Image.Image:
    title, body = typeface(round(20 * unit), bold=True), _body(unit)
    head = wrap(pane.variant, title, width, most=2)
    bar_width = min(width, round(_BAR * unit))
    bar = colour_bar(pane.drawing.limits, colormap=pane.drawing.colormap, width=bar_width, unit=unit)
    lines = [*wrap(unbroken(numbers), body, width), "", *wrap(unbroken(pane.caption), body, width)]
    title_line, between = round(28 * unit), round(12 * unit)
    top = title_line * len(head) + round(6 * unit)
    below = top + size[0] + between
    foot = below + bar.height + between
    image = Image.new("RGB", (width, foot + round(_LINE * unit) * len(lines)), _PAPER)
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(head):
        draw.text((0, title_line * index), line, font=title, fill=_INK)
    image.paste(pane.drawing.at(size), ((width - size[1]) // 2, top))
    image.paste(bar, ((width - bar_width) // 2, below))
    _write(image, lines, (0, foot), unit, ink_lines=lines.index(""))
    return image


def _write(image: Image.Image, lines: list[str], corner: tuple[int, int], unit: float, *, ink_lines: int = 0) -> None:
    draw, line_height = ImageDraw.Draw(image), round(_LINE * unit)
    for index, line in enumerate(lines):
        fill = _INK if index < ink_lines else _SOFT
        draw.text((corner[0], corner[1] + line_height * index), line, font=_body(unit), fill=fill)


def _body(unit: float) -> Font:
    return typeface(round(14 * unit))
