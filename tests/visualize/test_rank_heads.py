import math

import numpy as np
import pytest

from tests.visualize.factory import LAYERS, recording, tokens
from visualize import rank_heads, spatial_entropy

GRID = (6, 9)


def flood(cells):
    """Places by repeated growth of a set, in plain Python."""
    left = {tuple(map(int, cell)) for cell in np.argwhere(cells)}
    places = []
    while left:
        place, edge = set(), {left.pop()}
        while edge:
            place |= edge
            edge = {(r + i, c + j) for r, c in edge for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= edge
        places.append(place)
    return places


def test_one_place_has_no_entropy_and_two_equal_ones_have_ln_2():
    heat = np.zeros(GRID)
    heat[1:3, 1:3] = 1
    assert spatial_entropy(heat) == 0
    heat[4:6, 6:8] = 1
    assert spatial_entropy(heat) == pytest.approx(math.log(2))


def test_cells_that_touch_at_a_corner_are_one_place():
    assert spatial_entropy(np.eye(6, 60)) == 0


def test_a_map_in_which_nothing_stands_out_has_no_places():
    assert spatial_entropy(np.full(GRID, 0.1)) == math.inf
    assert spatial_entropy(np.zeros(GRID)) == math.inf


@pytest.mark.parametrize("seed", range(5))
def test_spatial_entropy_equals_places_found_another_way(seed):
    heat = np.random.default_rng(seed).gamma(0.3, size=(12, 17))
    above = np.clip(heat - 2 * heat.mean(), 0, None)
    parts = np.array([sum(above[cell] for cell in place) for place in flood(above > 0)])
    parts /= parts.sum()
    assert spatial_entropy(heat) == pytest.approx(-(parts * np.log(parts)).sum())


def test_the_head_that_looks_at_one_place_comes_before_blurred_and_blind_ones():
    row = tokens()
    maps = np.random.default_rng(0).uniform(0.5, 1, size=(len(row), LAYERS, 3, *GRID))
    maps *= 0.02 / maps.sum(axis=(-2, -1), keepdims=True)  # blind
    maps[7, 1, 2] = 0
    maps[7, 1, 2, 2:4, 3:5] = 0.15  # one place
    maps[7, 2, 0] = 0
    maps[7, 2, 0, ::4, ::4] = 0.7 / 6  # many places
    ranked = rank_heads(recording(row=row, maps=maps, grid=GRID))
    assert [(each.layer, each.head) for each in ranked[:2]] == [(1, 2), (2, 0)]
    assert [each.looks for each in ranked[:3]] == [True, True, False]
    assert ranked[0].image_share == pytest.approx(0.6)
    assert len({(each.layer, each.head) for each in ranked}) == LAYERS * 3


def test_a_head_that_only_feeds_a_sink_is_no_localiser():
    row = tokens()
    maps = np.full((len(row), LAYERS, 3, *GRID), 0.001)
    maps[:, :, 0, 0, 0] = 0.9  # in every row of every layer
    maps[7, 1, 2, 2:4, 3:5] = 0.15
    first = rank_heads(recording(row=row, maps=maps, grid=GRID))[0]
    assert (first.layer, first.head) == (1, 2)


def test_where_all_heads_look_alike_all_of_them_count():
    row = tokens()
    maps = np.full((len(row), LAYERS, 3, *GRID), 0.001)
    assert all(each.looks for each in rank_heads(recording(row=row, maps=maps, grid=GRID)))
