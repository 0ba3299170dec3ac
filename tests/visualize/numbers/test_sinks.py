from dataclasses import replace

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize.factory import recording, tokens
from visualize import sink_cells

GRID = (4, 6)


def with_hot(cells, rows, *, share=0.5, level=0.6):
    """Attention spread evenly but for `cells`, which hold `level` of it in the token rows `rows`."""
    row = tokens()
    maps = np.full((len(row), 2, 3, *GRID), share / 24)
    for token in rows:
        maps[token, 1] *= 1 - level
        for cell in cells:
            maps[token, 1, :, cell[0], cell[1]] += share * level / len(cells)
    return recording(row=row, maps=maps, grid=GRID)


def test_a_cell_that_every_text_row_looks_at_is_a_sink_in_that_layer_only():
    found = with_hot([(3, 1)], range(10))
    assert np.argwhere(sink_cells(found, 1)).tolist() == [[3, 1]]
    assert not sink_cells(found, 0).any()


def test_two_sinks_away_from_the_corners_are_both_found():
    found = with_hot([(1, 4), (2, 2)], range(10), level=0.9)
    assert np.argwhere(sink_cells(found, 1)).tolist() == [[1, 4], [2, 2]]


def test_a_cell_that_only_the_answer_looks_at_is_no_sink():
    assert not sink_cells(with_hot([(3, 1)], (7, 8, 9)), 1).any()


def test_a_cell_that_half_of_the_text_rows_look_at_is_no_sink():
    assert not sink_cells(with_hot([(3, 1)], (0, 1, 2)), 1).any()


def test_a_layer_that_hardly_looks_at_the_image_is_judged_like_any_other():
    loud, quiet = with_hot([(0, 5)], range(10)), with_hot([(0, 5)], range(10), share=1e-5)
    np.testing.assert_array_equal(sink_cells(loud, 1), sink_cells(quiet, 1))


def test_the_threshold_is_eight_times_an_even_share():
    even = 1 / 24
    for level, is_sink in ((8.2, True), (7.8, False)):  # share of the cell in units of an even share
        added = (level * even - even) / (1 - even)
        assert sink_cells(with_hot([(2, 3)], range(10), level=added), 1)[2, 3] == is_sink


def test_a_window_averages_its_layers_before_judging():
    found = with_hot([(3, 1)], range(10), level=0.9)
    mean = found.background[:2].mean(axis=0)
    low = found.background_low[:2].mean(axis=0)
    np.testing.assert_array_equal(sink_cells(found, (0, 1)), low >= 8 * mean.mean())


@pytest.mark.parametrize(("times", "is_sink"), [(8.1, True), (7.9, False)])
@pytest.mark.parametrize("window", [(0, 1), (1, 2), (2, 3), (1, 1)])
def test_a_windows_other_layers_do_not_count(window, times, is_sink):
    """Layers of very different attention: the even share of one is nothing beside another's."""
    plain = recording(grid=GRID)
    each_layer = np.array([1e-3, 0.4, 1e-5, 0.2], np.float32)[:, None, None] / 24
    background = np.broadcast_to(each_layer, plain.background.shape).astype(np.float32)
    background_low = np.zeros_like(background)
    background_low[:, 1, 2] = times * background[:, 1, 2]
    found = sink_cells(replace(plain, background=background, background_low=background_low, background_rows=4), window)
    assert np.argwhere(found).tolist() == [[1, 2]] * is_sink


def test_no_cell_is_a_sink_where_too_few_rows_or_no_attention_tell():
    row = tokens()
    dark = recording(row=row, maps=np.zeros((len(row), 2, 3, *GRID)), grid=GRID)
    assert not sink_cells(dark, 0).any()
    assert not sink_cells(recording(rows=3), 0).any()


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(SelectionError, match="layers 0–3"):
        sink_cells(recording(), 4)


@pytest.mark.parametrize(("low", "rows", "is_sink"), [(8, 4, True), (8, 3, False), (7.99, 4, False)])
def test_exactly_eight_times_the_even_share_in_exactly_four_rows_is_a_sink(low, rows, is_sink):
    even = np.float32(2**-10)  # so that eight times of it, and the mean over the cells, are exact
    plain = recording(grid=GRID)
    background = np.full(plain.background.shape, even)
    background_low = np.zeros_like(background)
    background_low[:, 2, 3] = low * even
    found = sink_cells(replace(plain, background=background, background_low=background_low, background_rows=rows), 0)
    assert np.argwhere(found).tolist() == ([[2, 3]] if is_sink else [])
