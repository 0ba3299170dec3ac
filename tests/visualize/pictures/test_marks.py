"""Peaks, sinks and boxes, drawn once more from their description."""

import math

import numpy as np
import pytest
from PIL import Image

from tests.visualize.drawn import stamped
from visualize import Marks
from visualize.pictures.marks import SMALLEST, draw_marks

BLACK_ON_GREY = 128 * (1 - 190 / 255)
CASES = [  # (height, width), (grid_h, grid_w): marks of the smallest, a middle and the largest size
    ((990, 810), (44, 36)),
    ((990, 810), (30, 24)),
    ((820, 830), (4, 3)),
    ((300, 500), (20, 31)),
    ((300, 500), (3, 5)),
]


def marked(size, grid, marks):
    picture = Image.fromarray(np.full((*size, 3), 128, np.uint8))
    draw_marks(picture, marks, grid)
    return np.asarray(picture).astype(float)


def measures(size, grid):
    unit = max(1, min(size) / 450)
    return unit, min(size[0] / grid[0], size[1] / grid[1])


def assert_alike(found, expected, unit):
    """Edges are smoothed in two ways, which counts where a line is a pixel or two wide; its place may not differ."""
    near = np.abs(expected - 128).max(axis=2) > 4
    near |= np.abs(found - 128).max(axis=2) > 4
    assert np.abs(found - expected).max(axis=2)[near].mean() < (18 if unit > 1.5 else 26)
    assert np.abs(found[near].mean() - expected[near].mean()) < (8 if unit > 1.5 else 18)


@pytest.mark.parametrize(("size", "grid"), CASES)
@pytest.mark.parametrize("cell", [(1, 2), (2, 1)])
def test_a_peak_is_a_ring_with_four_ticks_outside_it(size, grid, cell):
    unit, side = measures(size, grid)
    radius = min(max(0.42 * side, 6 * unit), 13 * unit)
    end = radius + 4.5 * unit
    lines = [(radius, 0, end, 0), (0, radius, 0, end), (-radius, 0, -end, 0), (0, -radius, 0, -end)]
    centre = ((cell[0] + 0.5) * size[0] / grid[0], (cell[1] + 0.5) * size[1] / grid[1])
    expected = stamped(np.full((*size, 3), 128.0), centre, lines, radius, unit)
    assert_alike(marked(size, grid, Marks(peak=cell)), expected, unit)


@pytest.mark.parametrize(("size", "grid"), CASES)
def test_a_sink_is_a_cross_on_its_cell(size, grid):
    unit, side = measures(size, grid)
    arm = min(max(0.2 * side, 2.5 * unit), 5 * unit)
    lines = [(-arm, -arm, arm, arm), (-arm, arm, arm, -arm)]
    expected = np.full((*size, 3), 128.0)
    sinks = np.zeros(grid, bool)
    for cell in ((0, 1), (grid[0] - 1, 2)):
        sinks[cell] = True
        centre = ((cell[0] + 0.5) * size[0] / grid[0], (cell[1] + 0.5) * size[1] / grid[1])
        expected = stamped(expected, centre, lines, 0, unit)
    assert_alike(marked(size, grid, Marks(sinks=sinks)), expected, unit)


@pytest.mark.parametrize(("size", "pen"), [((300, 500), 2), ((900, 700), 2), ((1350, 1000), 3), ((1500, 1400), 5)])
def test_a_box_is_white_between_two_black_lines_and_the_white_begins_at_its_edge(size, pen):
    assert pen == max(1, round(1.5 * max(1, min(size) / 450)))
    top, left, bottom, right = 50, 60, 120, 200
    found = marked(size, (3, 5), Marks(boxes=((49.6, 60.4, 119.8, 200.2),)))
    expected = np.full((*size, 3), 128.0)
    for reach, value in ((2 * pen, 0), (pen, 255), (0, 0), (-pen, 128)):
        expected[top - reach : bottom + reach, left - reach : right + reach] = value
    np.testing.assert_array_equal(found, expected)


def test_a_box_without_a_whole_pixel_has_the_frame_of_the_pixel_that_it_begins_in():
    thin = marked((300, 500), (3, 5), Marks(boxes=((50.2, 60.2, 50.3, 60.3),)))
    np.testing.assert_array_equal(thin, marked((300, 500), (3, 5), Marks(boxes=((50, 60, 51, 61),))))
    assert (thin[49, 59:62] == 255).all()
    assert (thin[54, 56:65] == 0).all()
    assert (thin[55] == 128).all()


@pytest.mark.parametrize(("shorter", "drawn"), [(SMALLEST - 1, False), (SMALLEST, True)])
def test_a_picture_without_room_gets_no_marks(shorter, drawn):
    sinks = np.eye(3, 5, dtype=bool)
    found = marked((shorter, 200), (3, 5), Marks((1, 2), sinks, ((1, 1, 20, 20),)))
    assert (found != 128).any() == drawn
    assert SMALLEST == 24


def test_the_middle_of_a_peak_stays_to_be_seen():
    found = marked((300, 500), (3, 5), Marks(peak=(1, 2)))
    assert (found[145:156, 245:256] == 128).all()
    assert math.isclose(found.min(), BLACK_ON_GREY, abs_tol=2)
