import math
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from visualize import resize
from visualize.pictures.resize import BAND_ROWS, bands, centre_of

SIZES = [(400, 600), (600, 400), (97, 1024), (1024, 97)]
GRIDS = [(3, 5), (24, 40)]
CASES = [(size, grid) for size in SIZES for grid in GRIDS]


def hot_cells(grid):
    rows, columns = grid
    corners = [(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)]
    return [*corners, (rows // 2, columns // 3), (1, columns - 2)]


def one_hot(grid, cell):
    heat = np.zeros(grid, np.float32)
    heat[cell] = 1
    return heat


def naive_bilinear(values, size):
    """Pixel by pixel, in Python floats, from the definition."""
    out = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            total = 0.0
            places = []
            for pixel, pixels, cells in ((y, size[0], values.shape[0]), (x, size[1], values.shape[1])):
                place = min(max((pixel + 0.5) / pixels * cells - 0.5, 0), cells - 1)
                lower = min(math.floor(place), cells - 1)
                upper = min(lower + 1, cells - 1)
                places.append(((lower, 1 - (place - lower)), (upper, place - lower)))
            for row, down in places[0]:
                for column, along in places[1]:
                    total += float(values[row, column]) * down * along
            out[y, x] = total
    return out


def cell_of_pixel(pixel, pixels, cells):
    """The cell that a pixel's centre lies in, in exact fractions."""
    return math.floor(Fraction(2 * pixel + 1, 2 * pixels) * cells)


@pytest.mark.parametrize(
    ("size", "grid"), [((37, 61), (3, 5)), ((50, 41), (24, 40)), ((7, 90), (5, 2)), ((9, 8), (1, 1))]
)
def test_smooth_equals_the_definition_computed_pixel_by_pixel(size, grid):
    values = np.random.default_rng(0).random(grid, dtype=np.float32)
    np.testing.assert_allclose(resize(values, size), naive_bilinear(values, size), atol=1e-6)


@pytest.mark.parametrize(("size", "grid"), CASES)
def test_smooth_equals_pillows_float_resize(size, grid):
    values = np.random.default_rng(1).random(grid, dtype=np.float32)
    pillow = Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(resize(values, size), np.asarray(pillow), atol=1e-5)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(("size", "grid"), [((2, 3), (24, 40)), ((1, 1), (3, 5)), ((5, 7), (12, 40))])
def test_with_fewer_pixels_than_cells_a_pixel_is_the_mean_of_what_it_covers(size, grid, smooth):
    values = np.random.default_rng(2).random(grid, dtype=np.float32)
    fine = values.repeat(size[0], axis=0).repeat(size[1], axis=1)  # a raster that both cells and pixels divide
    means = fine.reshape(size[0], grid[0], size[1], grid[1]).mean(axis=(1, 3), dtype=float)
    np.testing.assert_allclose(resize(values, size, smooth=smooth), means, atol=1e-6)


def test_with_fewer_pixels_than_cells_bands_join_without_a_seam_either():
    values = np.random.default_rng(3).random((600, 1), dtype=np.float32)  # two cells to a pixel, more than one band
    means = values.reshape(300, 2, 1).mean(axis=1)
    np.testing.assert_allclose(resize(values, (300, 1)), means, atol=1e-6)


def test_a_one_pixel_picture_holds_the_mean_of_the_map():
    values = np.arange(15, dtype=np.float32).reshape(3, 5)
    assert resize(values, (1, 1)).item() == pytest.approx(7)


@pytest.mark.parametrize(("size", "grid"), CASES)
def test_a_smooth_peak_stands_within_half_a_pixel_of_its_cells_centre_or_reaches_the_border(size, grid):
    for cell in hot_cells(grid):
        heat = resize(one_hot(grid, cell), size)
        rows, columns = np.nonzero(heat >= heat.max() - 1e-6)
        for places, index, cells, pixels in ((rows, cell[0], grid[0], size[0]), (columns, cell[1], grid[1], size[1])):
            centre = (index + 0.5) * pixels / cells
            if index == 0:
                assert places.min() == 0
                assert places.max() + 0.5 <= centre + 0.5
            elif index == cells - 1:
                assert places.max() == pixels - 1
                assert places.min() + 0.5 >= centre - 0.5
            else:
                assert np.abs(places + 0.5 - centre).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("size", "grid"), CASES)
def test_nearest_fills_exactly_the_pixels_of_the_cells_fraction(size, grid):
    for cell in hot_cells(grid):
        heat = resize(one_hot(grid, cell), size, smooth=False)
        rows = [cell_of_pixel(y, size[0], grid[0]) == cell[0] for y in range(size[0])]
        columns = [cell_of_pixel(x, size[1], grid[1]) == cell[1] for x in range(size[1])]
        np.testing.assert_array_equal(heat, np.outer(rows, columns).astype(np.float32))


def test_a_map_of_equal_values_stays_exactly_equal():
    heat = resize(np.full((3, 5), 0.1, np.float32), (400, 601))
    assert (heat == np.float32(0.1)).all()


def test_resizing_a_difference_is_the_difference_of_the_resized():
    first, second = np.random.default_rng(3).random((2, 3, 5), dtype=np.float32)
    apart = resize(second, (31, 47)) - resize(first, (31, 47))
    np.testing.assert_allclose(resize(second - first, (31, 47)), apart, atol=1e-6)


def test_smooth_is_usual():
    values = np.random.default_rng(5).random((3, 5), dtype=np.float32)
    smooth = np.asarray(resize(values, (60, 100), smooth=True))
    np.testing.assert_array_equal(resize(values, (60, 100)), smooth)
    np.testing.assert_array_equal(np.concatenate([band for _, band in bands(values, (60, 100))]), smooth)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("size", [(60, 100), (2, 3)])
def test_pixels_are_float32_whatever_the_cells_are(size, smooth):
    values = np.random.default_rng(6).random((3, 5))
    found = resize(values, size, smooth=smooth)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, resize(values.astype(np.float32), size, smooth=smooth))


def test_bands_join_without_a_seam():
    values = np.random.default_rng(4).random((4, 3), dtype=np.float32)
    tall = resize(values, (2 * BAND_ROWS + 17, 5))
    np.testing.assert_allclose(tall, naive_bilinear(values, tall.shape), atol=1e-6)


def test_a_cells_centre_is_its_fraction_of_the_picture():
    assert centre_of((0, 4), (3, 5), (300, 600)) == (50, 540)
