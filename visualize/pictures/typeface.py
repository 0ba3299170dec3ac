"""Decide the letters on pictures: matplotlib's own DejaVu Sans, so that a picture looks the same on every machine."""

from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

Font = ImageFont.FreeTypeFont


@lru_cache(maxsize=64)
def typeface(size: int, *, bold: bool = False) -> Font:
    """DejaVu Sans at a size in pixels."""
    return ImageFont.truetype(_path(bold), size)


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    return frozenset(FT2Font(_path(False)).get_charmap()) & frozenset(FT2Font(_path(True)).get_charmap())


def drawable(text: str) -> str:
    """The text with each letter that the typeface lacks (Chinese, emoji, …) written as its code point: `⟨U+732B⟩`."""
    return "".join(letter if ord(letter) in _letters() else f"⟨U+{ord(letter):04X}⟩" for letter in text)


def wrap(text: str, font: Font, width: int, *, most: int | None = None) -> list[str]:
    """Break a text into lines that fit.

    Args:
        text: one paragraph; breaks at spaces, inside a word only where the word alone is too wide.
        font: what it will be drawn in.
        width: in pixels.
        most: lines to keep; a longer text ends in an ellipsis.
    """
    lines = [""]
    for word in drawable(text).split(" "):
        for piece in _fitting(word, font, width):
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if font.getlength(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    if most is not None and len(lines) > most:
        last = lines[most - 1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], last + "…"]
    return lines


def unbroken(line: str) -> str:
    """A line of parts joined by ` · `, made to break between its parts only."""
    return "\N{NO-BREAK SPACE}· ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in line.split(" · "))


def _fitting(word: str, font: Font, width: int) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _path(bold: bool) -> str:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))
