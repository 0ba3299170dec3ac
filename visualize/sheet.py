"""Decide the picture that leaves the tool: question and answers, panes side by side, colour bars, numbers, captions.

Everything is drawn anew from the numbers at the sheet's own size: a coloured picture is never stretched.
"""

import math

from PIL import Image, ImageDraw

from visualize.bar import colour_bar
from visualize.caption import plain
from visualize.panes import Pane, Panes
from visualize.scale import Unit, number
from visualize.typeface import typeface, unbroken, wrap

_INK, _SOFT, _PAPER = (32, 33, 36), (95, 99, 104), (255, 255, 255)
_MARGIN, _GAP = 28, 28
_LINE = 19
_TALLEST = 900
_LONGEST = 2_000  # characters of a prompt or an answer
_MOST_LINES = 4  # of a prompt or an answer


def sheet(panes: Panes, *, column: int = 560) -> Image.Image:
    """One picture of all panes with the prompt and the answers, for export.

    Args:
        panes: what to show.
        column: width of a column in pixels; photos are drawn as wide as that, or as tall as 900 px. Photos more than 2½
            times as wide as tall stand below one another, as wide as two columns.

    Returns:
        PIL image, mode RGB, on white.
    """
    photo = panes.base.drawing.photo
    stacked = photo.width > 2.5 * photo.height
    width = 2 * column if stacked else column
    scale = min(width / photo.width, _TALLEST / photo.height)
    size = (max(round(photo.height * scale), 1), max(round(photo.width * scale), 1))
    columns = [_column(pane, numbers_line(panes, pane), width, size) for pane in panes]
    across = width if stacked else len(columns) * width + (len(columns) - 1) * _GAP
    words = [line for text in _words(panes) for line in wrap(text, typeface(14), across, most=_MOST_LINES)]
    notes = [line for note in panes.notes for line in wrap(note, typeface(14), across)]
    key = "Ring: the largest value, of a difference the largest change."
    if panes.sinks.any():
        key += " Cross: a sink, a cell that nearly every text row looks at."
    foot = [*wrap(key, typeface(14), across), *notes]
    top = _MARGIN + _LINE * len(words) + 14
    down = (
        sum(column_image.height for column_image in columns) + _GAP * (len(columns) - 1)
        if stacked
        else max(column_image.height for column_image in columns)
    )
    image = Image.new("RGB", (across + 2 * _MARGIN, top + down + _MARGIN + 10 + _LINE * len(foot)), _PAPER)
    _write(image, words, (_MARGIN, _MARGIN), ink_lines=len(words))
    at = top if stacked else _MARGIN
    for column_image in columns:
        image.paste(column_image, (_MARGIN, at) if stacked else (at, top))
        at += (column_image.height if stacked else column_image.width) + _GAP
    _write(image, foot, (_MARGIN, top + down + 10))
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


def _words(panes: Panes) -> list[str]:
    """The question, and what each variant answered itself."""
    answers = [f"{name}: “{plain(text, most=_LONGEST)}”" for name, text in panes.answers if text is not None]
    return [f"Prompt: “{plain(panes.prompt, most=_LONGEST)}”", *answers]


def _column(pane: Pane, numbers: str, width: int, size: tuple[int, int]) -> Image.Image:
    title, body = typeface(20, bold=True), typeface(14)
    head = wrap(pane.variant, title, width, most=2)
    bar_width = min(width, 640)
    bar = colour_bar(pane.drawing.limits, colormap=pane.drawing.colormap, width=bar_width)
    lines = [*wrap(unbroken(numbers), body, width), "", *wrap(unbroken(pane.caption), body, width)]
    top = 28 * len(head) + 6
    image = Image.new("RGB", (width, top + size[0] + 12 + bar.height + 12 + _LINE * len(lines)), _PAPER)
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(head):
        draw.text((0, 28 * index), line, font=title, fill=_INK)
    image.paste(pane.drawing.at(size), ((width - size[1]) // 2, top))
    image.paste(bar, ((width - bar_width) // 2, top + size[0] + 12))
    _write(image, lines, (0, top + size[0] + 12 + bar.height + 12), ink_lines=lines.index(""))
    return image


def _write(image: Image.Image, lines: list[str], corner: tuple[int, int], *, ink_lines: int = 0) -> None:
    draw, font = ImageDraw.Draw(image), typeface(14)
    for index, line in enumerate(lines):
        fill = _INK if index < ink_lines else _SOFT
        draw.text((corner[0], corner[1] + _LINE * index), line, font=font, fill=fill)
