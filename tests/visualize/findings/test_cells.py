"""Which cells a set holds, against cells counted by hand."""

import numpy as np
import pytest

from inference.errors import SelectionError
from visualize.findings.cells import box_cells, top_cells

HEAT = np.array([[0.0, 0.3, 0.1], [0.2, 0.0, 0.4]], dtype=np.float32)


@pytest.mark.parametrize(("percent", "cells"), [(1, (5,)), (33, (1, 5)), (50, (1, 3, 5)), (100, (1, 2, 3, 5))])
def test_the_top_is_the_largest_values_and_never_an_empty_cell(percent, cells):
    assert top_cells(HEAT, percent) == cells


@pytest.mark.parametrize("percent", [0, -1, 100.5])
def test_other_percentages_are_refused(percent):
    with pytest.raises(SelectionError, match="top must be"):
        top_cells(HEAT, percent)


def test_a_map_without_anything_has_no_top():
    with pytest.raises(SelectionError, match="no value above 0"):
        top_cells(np.zeros((2, 3), dtype=np.float32), 10)


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((0, 0, 10, 10), (0,)),
        ((0, 0, 20, 10), (0, 3)),
        ((0, 5, 10, 20), (0, 1)),  # half of the first cell, all of the second
        ((0, 6, 10, 20), (1,)),  # less than half of the first
        ((2, 2, 4, 4), (0,)),  # none by half: the one it covers most
        ((8, 8, 12, 12), (0, 1, 3, 4)),  # four alike
    ],
)
def test_a_box_holds_the_cells_that_it_covers_by_half(box, cells):
    assert box_cells(box, (20, 30), (2, 3)) == cells


def test_a_box_beyond_the_photo_is_refused():
    with pytest.raises(SelectionError, match="box"):
        box_cells((0, 0, 21, 10), (20, 30), (2, 3))
