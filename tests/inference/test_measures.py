import math
import warnings

import numpy as np
import pytest

from inference.errors import SelectionError
from inference.measures import (
    attention_ratio,
    box_share,
    cell_coverage,
    effective_cells,
    entropy,
    image_share,
    in_box_mass,
    js_divergence,
    localization,
    peak_cell,
    pointing_game,
    row_divergence,
)


def rows(seed, count=6, grid=(3, 5)):
    return np.random.default_rng(seed).gamma(0.5, size=(count, *grid)).astype(np.float32) / 40


def test_the_image_share_is_the_sum_over_the_cells():
    assert image_share([[0.1, 0.2, 0.0], [0.05, 0.0, 0.05]]) == pytest.approx(0.4)


def test_entropy_of_a_hand_worked_row():
    # shares ½ ¼ ¼ after renormalising: ½ ln 2 + 2 · ¼ ln 4 = 1.5 ln 2
    heat = [[0.2, 0.1, 0.0], [0.1, 0.0, 0.0]]
    assert entropy(heat) == pytest.approx(1.5 * math.log(2))
    assert effective_cells(heat) == pytest.approx(2**1.5)


def test_one_cell_has_entropy_0_and_all_alike_the_logarithm_of_their_number():
    assert entropy([[0, 0, 0.3]]) == 0
    assert entropy(np.full((3, 5), 0.01)) == pytest.approx(math.log(15))
    assert effective_cells(np.full((3, 5), 0.01)) == pytest.approx(15)


def test_entropy_equals_a_loop_in_plain_python():
    for heat in rows(0):
        total = math.fsum(map(float, heat.ravel()))
        expected = -math.fsum(float(v) / total * math.log(float(v) / total) for v in heat.ravel() if v)
        assert entropy(heat) == pytest.approx(expected)


def test_localization_is_the_image_share_times_how_few_cells_it_lies_on():
    # shares ½ ¼ ¼ of 0.4 over six cells: 0.4 (1 − 1.5 ln 2 / ln 6)
    heat = [[0.2, 0.1, 0.0], [0.1, 0.0, 0.0]]
    assert localization(heat) == pytest.approx(0.4 * (1 - 1.5 * math.log(2) / math.log(6)))
    assert localization([[0, 0, 0.3]]) == pytest.approx(0.3)  # one cell: the share itself
    assert localization(np.full((3, 5), 0.05)) == pytest.approx(0)  # all alike
    assert localization(np.zeros((3, 5))) == 0
    assert localization([[0.7]]) == pytest.approx(0.7)
    for one in rows(4):
        expected = image_share(one) * (1 - entropy(one) / math.log(15))
        assert localization(one) == pytest.approx(float(expected))


def test_js_divergence_in_bits_of_hand_worked_rows():
    assert js_divergence([[0.3, 0.0]], [[0.0, 0.1]]) == pytest.approx(1)  # disjoint: one bit
    assert js_divergence([[0.2, 0.4]], [[0.1, 0.2]]) == pytest.approx(0, abs=1e-12)  # the same after renormalising
    # p = (1, 0), q = (½, ½), m = (¾, ¼): ½ log₂(4/3) + ½ (½ log₂(2/3) + ½ log₂ 2)
    expected = 0.5 * math.log2(4 / 3) + 0.25 * math.log2(2 / 3) + 0.25
    assert js_divergence([[0.4, 0.0]], [[0.1, 0.1]]) == pytest.approx(expected)


def test_js_divergence_is_the_entropy_of_the_mixture_minus_the_mean_entropy():
    for first, second in zip(rows(1), rows(2), strict=True):
        p, q = first / first.sum(dtype=float), second / second.sum(dtype=float)
        expected = (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2) / math.log(2)
        assert js_divergence(first, second) == pytest.approx(float(expected))
        assert js_divergence(second, first) == pytest.approx(float(expected))


def test_whole_row_divergence_counts_everything_off_the_image_as_one_outcome():
    # (0.2, 0 | 0.8) and (0, 0.2 | 0.8): 0.2 of the mass is disjoint
    assert row_divergence([[0.2, 0.0]], [[0.0, 0.2]]) == pytest.approx(0.2)
    # (0.5, 0 | 0.5) and (0, 0 | 1): only the share moved
    expected = 0.5 * (0.5 * math.log2(0.5 / 0.25) + 0.5 * math.log2(0.5 / 0.75)) + 0.5 * math.log2(1 / 0.75)
    assert row_divergence([[0.5, 0.0]], [[0.0, 0.0]]) == pytest.approx(expected)


def test_rows_that_hardly_look_at_the_image_hardly_differ_wherever_they_look():
    assert js_divergence([[1e-6, 0]], [[0, 1e-6]]) == pytest.approx(1)
    assert row_divergence([[1e-6, 0]], [[0, 1e-6]]) == pytest.approx(1e-6, rel=1e-3)


def test_leading_axes_are_kept_and_equal_the_maps_one_by_one():
    first, second = rows(3).reshape(2, 3, 3, 5), rows(4).reshape(2, 3, 3, 5)
    for measure in (js_divergence, row_divergence):
        together = measure(first, second)
        assert together.shape == (2, 3)
        for index in np.ndindex(2, 3):
            assert together[index] == pytest.approx(float(measure(first[index], second[index])))
    for measure in (in_box_mass, attention_ratio):
        together = measure(first, (21, 39, 45, 61), (60, 100))
        assert together.shape == (2, 3)
        for index in np.ndindex(2, 3):
            assert together[index] == pytest.approx(float(measure(first[index], (21, 39, 45, 61), (60, 100))))


def test_a_row_without_attention_on_the_image_has_no_entropy_and_no_divergence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dark, lit = np.zeros((2, 3)), np.ones((2, 3))
        assert math.isnan(entropy(dark))
        assert math.isnan(js_divergence(dark, lit))
        assert math.isnan(in_box_mass(dark, (0, 0, 1, 1), (4, 6)))
        assert math.isnan(attention_ratio(dark, (0, 0, 1, 1), (4, 6)))
        assert image_share(dark) == 0
        assert row_divergence(dark, dark) == 0


def test_two_maps_of_different_shape_have_no_divergence():
    with pytest.raises(SelectionError, match="one shape"):
        js_divergence(np.ones((3, 5)), np.ones((5, 3)))


def test_coverage_of_a_hand_drawn_box():
    # 2 × 3 cells of 10 × 20 pixels; the box spans rows 5–20 and columns 30–40
    expected = [[0, 0.25, 0], [0, 0.5, 0]]
    np.testing.assert_allclose(cell_coverage((5, 30, 20, 40), (20, 60), (2, 3)), expected)


@pytest.mark.parametrize(("size", "grid"), [((333, 500), (10, 16)), ((97, 1024), (24, 40)), ((20, 7), (24, 40))])
def test_coverage_equals_counting_a_fine_raster(size, grid):
    box = (size[0] // 5, size[1] // 3, size[0] // 2, size[1] - 1)
    counts = []
    for start, stop, pixels, cells in ((box[0], box[2], size[0], grid[0]), (box[1], box[3], size[1], grid[1])):
        inside = np.zeros(pixels)
        inside[start:stop] = 1
        counts.append(inside.repeat(cells).reshape(cells, pixels).mean(axis=1))  # parts that both divide
    np.testing.assert_allclose(cell_coverage(box, size, grid), np.outer(*counts), atol=1e-9)


def test_a_boxs_coverage_adds_up_to_its_area():
    box, size, grid = (13, 40, 190, 333), (333, 500), (10, 16)
    area = cell_coverage(box, size, grid).sum() * (333 / 10) * (500 / 16)
    assert area == pytest.approx((190 - 13) * (333 - 40))


def test_a_box_that_ends_at_a_cells_edge_does_not_touch_the_next_cell():
    coverage = cell_coverage((0, 0, 111, 250), (333, 500), (9, 16))
    assert (coverage[:3, :8] == 1).all()
    assert not coverage[3:].any()
    assert not coverage[:, 8:].any()


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 21, 5), (0, 5, 5, 5), (0, 0, 5, math.nan)])
def test_an_empty_box_or_one_outside_the_image_is_refused(box):
    with pytest.raises(SelectionError, match="box"):
        cell_coverage(box, (20, 60), (2, 3))


def test_pointing_hits_when_the_peaks_cell_shares_any_area_with_the_box():
    heat = np.zeros((2, 3))
    heat[1, 2] = 1  # rows 10–20, columns 40–60
    assert pointing_game(heat, (0, 0, 11, 41), (20, 60))
    assert not pointing_game(heat, (0, 0, 10, 60), (20, 60))
    assert not pointing_game(heat, (0, 0, 20, 40), (20, 60))
    assert not pointing_game(np.zeros((2, 3)), (0, 0, 20, 60), (20, 60))


def test_the_first_of_equal_peaks_in_reading_order_counts():
    assert peak_cell([[0, 2, 1], [2, 0, 0]]) == (0, 1)
    assert peak_cell(np.zeros((2, 3))) is None
    assert peak_cell([[0, 2, 1], [2, 0, 0]], np.array([[False, True, False], [False, False, False]])) == (1, 0)


def test_mass_in_a_box_counts_partly_covered_cells_by_their_fraction():
    heat = np.array([[0.1, 0.2, 0.1], [0.0, 0.4, 0.0]])  # Σ 0.8
    assert in_box_mass(heat, (5, 30, 20, 40), (20, 60)) == pytest.approx((0.25 * 0.2 + 0.5 * 0.4) / 0.8)
    assert in_box_mass(heat, (0, 0, 20, 60), (20, 60)) == pytest.approx(1)


def test_the_attention_ratio_equals_the_mean_over_every_placement_of_the_box():
    size, box = (60, 100), (21, 39, 45, 61)  # touches rows 1–2 and columns 1–3 of 3 × 5 cells
    for heat in rows(5):
        blocks = [heat[r : r + 2, c : c + 3].mean(dtype=float) for r in range(2) for c in range(3)]
        expected = heat[1:3, 1:4].mean(dtype=float) / np.mean(blocks)
        assert attention_ratio(heat, box, size) == pytest.approx(float(expected))


def test_the_attention_ratio_of_an_even_map_is_1():
    assert attention_ratio(np.full((3, 5), 0.01), (0, 0, 10, 10), (60, 100)) == pytest.approx(1)


# several boxes


def raster(boxes, size, grid):
    """Second route to a union: every pixel of a raster that both pixels and cells divide, once."""
    inside = np.zeros(size, dtype=bool)
    for top, left, bottom, right in boxes:
        inside[top:bottom, left:right] = True
    fine = inside.repeat(grid[0], axis=0).repeat(grid[1], axis=1)
    return fine.reshape(grid[0], size[0], grid[1], size[1]).mean(axis=(1, 3))


SEVERAL = [(13, 40, 90, 133), (60, 100, 120, 180), (0, 0, 20, 20), (61, 101, 70, 110)]


@pytest.mark.parametrize(("size", "grid"), [((123, 181), (10, 16)), ((120, 180), (3, 5)), ((121, 180), (34, 60))])
def test_the_union_of_boxes_counts_what_lies_in_two_of_them_once(size, grid):
    np.testing.assert_allclose(cell_coverage(SEVERAL, size, grid), raster(SEVERAL, size, grid), atol=1e-9)
    assert cell_coverage(SEVERAL, size, grid).max() <= 1 + 1e-12


def test_a_box_twice_or_with_one_inside_it_is_that_box():
    once = cell_coverage((5, 30, 20, 40), (20, 60), (2, 3))
    np.testing.assert_array_equal(cell_coverage([(5, 30, 20, 40)] * 2, (20, 60), (2, 3)), once)
    np.testing.assert_allclose(cell_coverage([(5, 30, 20, 40), (6, 31, 9, 39)], (20, 60), (2, 3)), once)


def test_two_boxes_of_a_hand_drawn_grid():
    # 2 × 3 cells of 10 × 20 pixels: the left half of cell (0, 0), and all of cell (1, 2)
    boxes = [(0, 0, 10, 10), (10, 40, 20, 60)]
    heat = np.array([[0.2, 0.0, 0.1], [0.0, 0.1, 0.3]])
    assert box_share(heat, boxes, (20, 60)) == pytest.approx(0.5 * 0.2 + 0.3)
    assert in_box_mass(heat, boxes, (20, 60)) == pytest.approx((0.5 * 0.2 + 0.3) / 0.7)
    assert pointing_game(heat, boxes, (20, 60))
    assert not pointing_game(heat, [boxes[0], (0, 20, 10, 40)], (20, 60))
    # the shape fills the grid: there is one place for it
    assert attention_ratio(heat, boxes, (20, 60)) == pytest.approx(1)


def test_the_share_in_a_box_is_of_the_whole_row():
    heat = np.array([[0.1, 0.2, 0.1], [0.0, 0.4, 0.0]]) / 2
    assert box_share(heat, (5, 30, 20, 40), (20, 60)) == pytest.approx((0.25 * 0.2 + 0.5 * 0.4) / 2)
    assert box_share(np.zeros((2, 3)), (0, 0, 20, 60), (20, 60)) == 0


def test_the_ratio_of_several_boxes_holds_their_shape_against_every_place_it_fits():
    size, grid = (60, 100), (3, 5)  # cells of 20 × 20 pixels; an L of the cells (0, 1), (1, 1), (1, 2)
    boxes = [(0, 20, 40, 40), (25, 45, 35, 55)]
    shape = [(0, 0), (1, 0), (1, 1)]
    for heat in rows(6):
        means = [np.mean([heat[r + y, c + x] for y, x in shape], dtype=float) for r in range(2) for c in range(4)]
        assert attention_ratio(heat, boxes, size) == pytest.approx(means[1] / np.mean(means))
    assert attention_ratio(np.full(grid, 0.02), boxes, size) == pytest.approx(1)


def test_pointing_keeps_leading_axes():
    maps = rows(7).reshape(2, 3, 3, 5)
    maps[1, 2] = 0
    together = pointing_game(maps, SEVERAL[:2], (123, 181))
    assert together.shape == (2, 3)
    coverage = raster(SEVERAL[:2], (123, 181), (3, 5))
    for index in np.ndindex(2, 3):
        peak = peak_cell(maps[index])
        assert together[index] == (peak is not None and coverage[peak] > 0)
    assert not together[1, 2]


def test_an_edge_that_was_rounded_touches_no_further_cell():
    maps = np.arange(1.0, 78).reshape(7, 11)
    exact, written = (0.0, 0.0, 100 / 7, 160 / 11), tuple(map(float, f"0,0,{100 / 7:.10g},{160 / 11:.10g}".split(",")))
    assert written != exact
    assert attention_ratio(maps, written, (100, 160)) == pytest.approx(float(attention_ratio(maps, exact, (100, 160))))
    assert not pointing_game(maps[::-1, ::-1] * (np.arange(77).reshape(7, 11) == 1), written, (100, 160))
