"""Decide what a colour bar looks like: colours low to high, exact ends, round values between, the unit in words."""

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from visualize.json_values import Json
from visualize.numbers.scale import ColourLimits, number
from visualize.pictures.palette import check_colormap, colour_table
from visualize.pictures.typeface import typeface

#: Finds round values, at most three between the ends; made once, since making it takes longer than asking it.
_ROUND = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
_APART = 0.17  # of the bar's length, so labels do not touch
_INK, _PAPER = (32, 33, 36), (255, 255, 255)  # RGB


def ticks(limits: ColourLimits) -> tuple[tuple[float, str], ...]:
    """Where labels stand on a bar and what they say.

    Returns:
        (place 0–1, text) in order; both ends exactly, and round values between them where there is room. Shares are
        written in percent without the sign: the unit says it.
    """
    signed, unit = limits.signed, limits.unit
    if limits.empty:
        return ((0.5 if signed else 0.0, "0"),)
    low, high = limits.low, limits.high
    fixed = [low, 0.0, high] if signed else [low, high]
    values = fixed + [value for value in _round_values(limits) if low < value < high]
    placed = list(zip(limits.place(np.array(values, dtype=np.float32)).tolist(), values, strict=True))
    shown = placed[: len(fixed)]
    for place, value in placed[len(fixed) :]:
        if all(abs(place - taken) >= _APART for taken, _ in shown):
            shown.append((place, value))
    return tuple((place, number(value, unit, sign=signed)) for place, value in sorted(shown))


def colour_bar(
    limits: ColourLimits, *, colormap: str | None = None, width: int = 480, unit: float = 1.0
) -> Image.Image:
    """A horizontal colour bar with its ticks and unit.

    Args:
        limits: the values of its ends.
        colormap: see `overlay`.
        width: in pixels, at least 120 · `unit` to be legible.
        unit: how many times larger than usual everything else is.

    Returns:
        PIL image, mode RGB.

    Raises:
        SelectionError: a colormap that does not fit the scale.
    """
    strip = _strip(limits, colormap)
    font, margin, thick, pen = typeface(round(14 * unit)), round(31 * unit), round(15 * unit), round(unit)
    length = max(width - 2 * margin, 16)
    image = Image.new("RGB", (width, thick + round(49 * unit)), _PAPER)
    image.paste(Image.fromarray(strip).resize((length, thick), Image.Resampling.NEAREST), (margin, pen))
    draw = ImageDraw.Draw(image)
    draw.rectangle((margin - pen, 0, margin + length + pen - 1, thick + 2 * pen - 1), outline=_INK, width=pen)
    for place, text in ticks(limits):
        x = margin + place * (length - 1)
        draw.line((x, thick + round(2 * unit), x, thick + round(6 * unit)), fill=_INK, width=pen)
        draw.text((x, thick + round(9 * unit)), text, font=font, fill=_INK, anchor="ma")
    draw.text((width / 2, image.height - round(2 * unit)), unit_line(limits), font=font, fill=_INK, anchor="md")
    return image


def unit_line(limits: ColourLimits) -> str:
    """What stands under a bar: the unit, and what is special about the scale."""
    if limits.empty:
        return f"{limits.unit_words}: all 0"
    log = " · logarithmic" if limits.log else ""
    clipped = f" · clipped at percentile {limits.percentile:g}" if limits.percentile < 100 else ""
    return limits.unit_words + log + clipped


def limits_json(limits: ColourLimits) -> dict[str, Json]:
    """A colour scale for whoever draws it elsewhere: its ends, what kind it is, and what its bar says.

    `ticks` are (place 0–1, text) pairs; `line` stands under the bar; `words` say the ends in a sentence.
    """
    return {
        "low": limits.low,
        "high": limits.high,
        "log": limits.log,
        "signed": limits.signed,
        "empty": limits.empty,
        "words": limits.words(),
        "line": unit_line(limits),
        "ticks": [[round(place, 4), text] for place, text in ticks(limits)],
    }


def _strip(limits: ColourLimits, colormap: str | None) -> NDArray[np.uint8]:
    return colour_table(check_colormap(colormap, signed=limits.signed))[None]  # (1, 256, 3)


def _round_values(limits: ColourLimits) -> list[float]:
    """Round as stored is round as people read it: a percent is a power of ten."""
    if limits.log:
        return [10.0**power for power in range(-14, 4)]
    return [float(value) for value in _ROUND.tick_values(limits.low, limits.high)]
