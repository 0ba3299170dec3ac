"""Colour bars, read back from their pixels and their elements."""

import numpy as np
import pytest
from PIL import Image

from inference.errors import SelectionError
from tests.visualize.drawn import INK, PAPER, holds_text
from visualize import ColourLimits, colour_bar, colour_table
from visualize.pictures.bar import ticks, unit_line

SHARES = ColourLimits(0, 0.0567)
SIGNED = ColourLimits(-0.031, 0.031, unit="share difference")
LOG = ColourLimits(0.0001, 0.1, True, "share", 99.5)
DARK = ColourLimits(0, 0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (SHARES, [(0, "0"), (2 / 5.67, "2"), (4 / 5.67, "4"), (1, "5.67")]),
        (SIGNED, [(0, "−3.1"), (1.1 / 6.2, "−2"), (0.5, "0"), (5.1 / 6.2, "+2"), (1, "+3.1")]),
        (
            ColourLimits(-0.5, 0.5, unit="nats"),
            [(0, "−0.5"), (0.25, "−0.25"), (0.5, "0"), (0.75, "+0.25"), (1, "+0.5")],
        ),
        (LOG, [(0, "0.01"), (1 / 3, "0.1"), (2 / 3, "1"), (1, "10")]),
        (ColourLimits(0.002, 2.0, True, "bits"), [(0, "0.002"), (0.233, "0.01"), (0.566, "0.1"), (1, "2")]),
        (
            ColourLimits(0, 0.9, unit="bits"),
            [(0, "0"), (0.25 / 0.9, "0.25"), (0.5 / 0.9, "0.5"), (1, "0.9")],
        ),
        (DARK, [(0, "0")]),
        (ColourLimits(0, 0, unit="share difference"), [(0.5, "0")]),
    ],
)
def test_both_ends_are_written_exactly_and_round_values_where_there_is_room(limits, expected):
    found = ticks(limits)
    assert [text for _, text in found] == [text for _, text in expected]
    assert [place for place, _ in found] == pytest.approx([place for place, _ in expected], abs=1e-3)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (SHARES, "% of the token's attention"),
        (SIGNED, "percentage points of attention"),
        (LOG, "% of the token's attention · logarithmic · clipped at percentile 99.5"),
        (ColourLimits(0, 1, unit="bits", percentile=99), "bits · clipped at percentile 99"),
        (DARK, "% of the token's attention: all 0"),
    ],
)
def test_the_unit_and_what_is_special_about_the_scale_are_said(limits, words):
    assert unit_line(limits) == words


@pytest.mark.parametrize(
    ("limits", "name"), [(SHARES, "viridis"), (SIGNED, "RdBu_r"), (LOG, "magma"), (DARK, "cividis")]
)
@pytest.mark.parametrize(("width", "unit"), [(480, 1), (131, 1), (960, 2), (1100, 1.77), (1200, 2.3)])
def test_a_drawn_bar_is_its_colours_in_a_frame_with_ticks_and_unit(limits, name, width, unit):
    bar = colour_bar(limits, colormap=name, width=width, unit=unit)
    margin, thick, pen = round(31 * unit), round(15 * unit), round(unit)
    pixels, length = np.asarray(bar), width - 2 * margin
    assert bar.size == (width, thick + round(49 * unit))
    index = np.floor((np.arange(length) + 0.5) * 256 / length).astype(int)
    strip = np.broadcast_to(colour_table(name)[index], (thick, length, 3)).astype(int)
    np.testing.assert_allclose(
        pixels[pen : pen + thick, margin : margin + length], strip, atol=4
    )  # one colour, where a centre is on an edge
    around = pixels[: thick + 2 * pen, margin - pen : margin + length + pen].copy()
    around[pen : pen + thick, pen : pen + length] = INK
    assert {tuple(pixel) for pixel in around.reshape(-1, 3)} == {INK}
    first, last = thick + round(2 * unit), thick + round(6 * unit)
    for place, text in ticks(limits):
        x = margin + place * (length - 1)
        assert {tuple(pixel) for pixel in pixels[first : last + 1, int(x)]} == {INK}
        assert tuple(pixels[last + 1, int(x)]) == PAPER
        if width != 131:
            assert holds_text(bar, (x, thick + round(9 * unit)), text, size=round(14 * unit), anchor="ma")
    if width != 131:
        at = (width / 2, bar.height - round(2 * unit))
        assert holds_text(bar, at, unit_line(limits), size=round(14 * unit), anchor="md")


def test_a_bar_too_narrow_for_its_margins_keeps_some_colours():
    assert len({tuple(pixel) for pixel in np.asarray(colour_bar(SHARES, width=60))[5]}) > 10


def test_a_colormap_of_the_other_kind_is_refused():
    with pytest.raises(SelectionError, match="diverging"):
        colour_bar(SIGNED, colormap="viridis")


def test_a_bar_for_a_larger_picture_is_the_same_bar_with_everything_larger():
    limits = ColourLimits(0, 0.05)
    usual, large = colour_bar(limits, width=300), colour_bar(limits, width=600, unit=2)
    assert large.size == (600, 2 * usual.height)
    assert holds_text(large, (300, large.height - 4), unit_line(limits), size=28, anchor="md")
    shrunk = np.asarray(large.resize(usual.size, Image.Resampling.BOX), int)
    assert np.abs(shrunk - np.asarray(usual, int)).mean() < 8
