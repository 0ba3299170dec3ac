import math
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from inference.errors import SelectionError
from tests.visualize.factory import photo
from tests.visualize.pictures.test_resize import CASES, cell_of_pixel, hot_cells, one_hot
from visualize import DIVERGING, SEQUENTIAL, ColourLimits, Marks, colour_table, overlay

UNIT = ColourLimits(0, 1)
SIGNED = ColourLimits(-1, 1, unit="share difference")


def pixels(picture):
    return np.asarray(picture).astype(int)


def heat_image(heat, limits, size, **options):
    """The map's colours alone: nothing of the photo is left."""
    return overlay(np.zeros((*size, 3), np.uint8), heat, limits, opacity=1, **options)


def index_in(table, picture):
    """Which row of a colour table each pixel is."""
    as_number = np.array([256**2, 256, 1])
    rank = {number: index for index, number in enumerate((table.astype(int) @ as_number).tolist())}
    colours, places = np.unique(np.asarray(picture).astype(int) @ as_number, return_inverse=True)
    return np.array([rank[number] for number in colours.tolist()])[places]


@pytest.mark.parametrize(("size", "grid"), CASES)
def test_with_flat_cells_only_the_hot_cells_fraction_of_the_picture_changes(size, grid):
    grey = np.full((*size, 3), 128, np.uint8)
    cold = pixels(overlay(grey, np.zeros(grid, np.float32), UNIT, smooth=False))
    for cell in hot_cells(grid):
        hot = pixels(overlay(grey, one_hot(grid, cell), UNIT, smooth=False))
        rows = [cell_of_pixel(y, size[0], grid[0]) == cell[0] for y in range(size[0])]
        columns = [cell_of_pixel(x, size[1], grid[1]) == cell[1] for x in range(size[1])]
        np.testing.assert_array_equal((hot != cold).any(axis=2), np.outer(rows, columns))


@pytest.mark.parametrize(("size", "grid"), [((400, 600), (3, 5)), ((97, 1024), (24, 40)), ((600, 400), (24, 40))])
def test_with_smooth_cells_the_hottest_pixels_of_the_picture_are_at_the_cells_centre(size, grid):
    table = colour_table("magma")
    for cell in hot_cells(grid):
        place = index_in(table, heat_image(one_hot(grid, cell), UNIT, size, colormap="magma"))
        rows, columns = np.nonzero(place == place.max())
        for found, index, cells, count in ((rows, cell[0], grid[0], size[0]), (columns, cell[1], grid[1], size[1])):
            centre = (index + 0.5) * count / cells
            nearest = {math.ceil(centre) - 1, math.floor(centre)}  # the pixel it lies in; both, where between two
            low = 0 if index == 0 else min(nearest)
            high = count - 1 if index == cells - 1 else max(nearest)
            assert low <= found.min()
            assert found.max() <= high


def test_a_smooth_hot_cell_changes_nothing_further_than_its_neighbours_centres():
    grey = np.full((97, 1024, 3), 128, np.uint8)
    cold = pixels(overlay(grey, np.zeros((3, 5), np.float32), UNIT))
    changed = (pixels(overlay(grey, one_hot((3, 5), (1, 2)), UNIT)) != cold).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() + 0.5 > Fraction(97, 6)
    assert rows.max() + 0.5 < Fraction(97 * 5, 6)
    assert columns.min() + 0.5 > Fraction(1024 * 3, 10)
    assert columns.max() + 0.5 < Fraction(1024 * 7, 10)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (60, 100)])
def test_the_picture_has_the_images_own_size(size):
    heat = np.random.default_rng(0).random((3, 5), dtype=np.float32)
    marks = Marks((1, 2), np.eye(3, 5, dtype=bool))
    assert overlay(photo(size), heat, UNIT, marks=marks).size == (size[1], size[0])


def test_opacity_blends_photo_and_colour_in_that_share():
    image, heat = photo((20, 30)), np.full((3, 5), 0.5, np.float32)
    colour = colour_table("viridis")[128].astype(float)
    for opacity in (0.0, 0.3, 0.6, 1.0):
        picture = pixels(overlay(image, heat, UNIT, opacity=opacity))
        np.testing.assert_allclose(picture, image * (1 - opacity) + colour * opacity, atol=1.6)


def test_opacity_0_is_the_photo_itself():
    image = photo((20, 30))
    np.testing.assert_array_equal(pixels(overlay(image, np.ones((3, 5), np.float32), UNIT, opacity=0)), image)


def test_fading_leaves_the_photo_where_the_value_is_0_and_full_opacity_where_it_is_largest():
    image, heat = photo((20, 30)), np.repeat(np.array([[0, 0, 1]], np.float32), 2, axis=0)
    faded = pixels(overlay(image, heat, UNIT, fade=True, smooth=False))
    np.testing.assert_array_equal(faded[:, :20], image[:, :20])
    np.testing.assert_array_equal(faded[:, 20:], pixels(overlay(image, heat, UNIT, smooth=False))[:, 20:])
    signed = pixels(overlay(image, heat - 1, SIGNED, fade=True, smooth=False))
    np.testing.assert_array_equal(signed[:, 20:], image[:, 20:])
    assert (signed[:, :20] != image[:, :20]).any()


@pytest.mark.parametrize("name", SEQUENTIAL + DIVERGING)
def test_every_colormap_runs_from_its_first_to_its_last_colour(name):
    limits = SIGNED if name in DIVERGING else UNIT
    heat = np.array([[limits.low, 1.0]], np.float32)
    picture = np.asarray(heat_image(heat, limits, (4, 6), colormap=name, smooth=False))
    table = colour_table(name)
    assert (picture[:, :3] == table[0]).all()
    assert (picture[:, 3:] == table[255]).all()


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_sequential_maps_grow_lighter_all_the_way(name):
    luma = colour_table(name).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luma) > -0.8).all()
    assert luma[-1] - luma[0] > 100


@pytest.mark.parametrize("name", DIVERGING)
def test_diverging_maps_are_lightest_in_the_middle(name):
    luma = colour_table(name).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert 120 <= luma.argmax() <= 136
    assert luma.max() - luma[[0, 255]].max() > 60


def test_a_signed_scale_refuses_a_sequential_map_and_the_reverse():
    heat = np.zeros((3, 5), np.float32)
    with pytest.raises(SelectionError, match="diverging"):
        overlay(photo(), heat, SIGNED, colormap="viridis")
    with pytest.raises(SelectionError, match="sequential"):
        overlay(photo(), heat, UNIT, colormap="RdBu_r")
    with pytest.raises(SelectionError, match="jet"):
        overlay(photo(), heat, UNIT, colormap="jet")


@pytest.mark.parametrize("shape", [(2, 3, 4), (6,), (0, 3), (3, 0)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(SelectionError, match="a map must be"):
        overlay(np.zeros((8, 8, 3), np.uint8), np.zeros(shape, np.float32), UNIT)


def test_a_value_that_is_no_number_is_refused_not_drawn():
    heat = np.zeros((3, 5), np.float32)
    heat[1, 1] = np.nan
    with pytest.raises(SelectionError, match="finite"):
        overlay(photo(), heat, UNIT)


@pytest.mark.parametrize("opacity", [-0.1, 1.1, math.nan])
def test_an_opacity_outside_0_to_1_is_refused(opacity):
    with pytest.raises(SelectionError, match="opacity"):
        overlay(photo(), np.zeros((3, 5), np.float32), UNIT, opacity=opacity)


def test_hidden_cells_show_the_photo_and_do_not_darken_their_neighbours():
    image = photo((60, 100))
    hidden = np.zeros((3, 5), bool)
    hidden[1, 2] = True
    heat = np.full((3, 5), 0.7, np.float32)
    heat[1, 2] = 0
    picture = pixels(overlay(image, heat, UNIT, hidden=hidden))
    even = pixels(overlay(image, np.full((3, 5), 0.7, np.float32), UNIT))
    inside = np.zeros((60, 100), bool)
    inside[20:40, 40:60] = True
    np.testing.assert_array_equal(picture[inside], image[inside])
    assert np.abs(picture[~inside] - even[~inside]).max() <= 3  # one step of colour, from rounding the weights


def test_a_pixel_of_which_half_is_hidden_is_coloured():
    hidden = np.array([[True, False]])
    grey = np.full((1, 1, 3), 128, np.uint8)
    assert (pixels(overlay(grey, np.ones((1, 2), np.float32), UNIT, hidden=hidden)) != 128).any()
    assert (pixels(overlay(grey, np.ones((1, 2), np.float32), UNIT, hidden=~np.zeros((1, 2), bool))) == 128).all()


def test_an_image_smaller_than_its_hidden_cell_still_draws():
    picture = overlay(photo((1, 1)), np.ones((3, 5), np.float32), UNIT, hidden=np.ones((3, 5), bool))
    np.testing.assert_array_equal(pixels(picture), photo((1, 1)))


def test_the_photo_may_have_any_mode():
    grey = Image.fromarray(photo()).convert("L")
    assert overlay(grey, np.zeros((3, 5), np.float32), UNIT).mode == "RGB"


def test_the_photo_handed_in_stays_as_it_was():
    image = Image.fromarray(photo())
    overlay(image, np.ones((3, 5), np.float32), UNIT, opacity=0, marks=Marks((1, 1)))
    np.testing.assert_array_equal(np.asarray(image), photo())


@pytest.mark.parametrize("cell", [(0, 0), (2, 4), (1, 2)])
def test_a_peak_is_marked_in_black_and_white_around_its_cells_centre(cell):
    grey = np.full((300, 500, 3), 128, np.uint8)
    heat = np.zeros((3, 5), np.float32)
    bare = pixels(overlay(grey, heat, UNIT))
    marked = pixels(overlay(grey, heat, UNIT, marks=Marks(cell)))
    rows, columns = np.nonzero((bare != marked).any(axis=2))
    centre = (cell[0] * 100 + 50, cell[1] * 100 + 50)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(centre[0], abs=1)
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(centre[1], abs=1)
    assert marked[rows, columns].min() < 40
    assert marked[rows, columns].max() > 240
    np.testing.assert_array_equal(marked[centre], bare[centre])  # the peak itself stays to be seen


def test_every_sink_gets_its_cross_and_other_cells_none():
    grey = np.full((300, 500, 3), 128, np.uint8)
    sinks = np.zeros((3, 5), bool)
    sinks[0, 1] = sinks[2, 4] = True
    heat = np.zeros((3, 5), np.float32)
    bare, marked = overlay(grey, heat, UNIT), overlay(grey, heat, UNIT, marks=Marks(sinks=sinks))
    changed = (pixels(bare) != pixels(marked)).any(axis=2)
    np.testing.assert_array_equal(changed.reshape(3, 100, 5, 100).any(axis=(1, 3)), sinks)


def test_a_box_is_drawn_around_its_pixels_not_over_them():
    grey = np.full((300, 500, 3), 128, np.uint8)
    heat = np.zeros((3, 5), np.float32)
    bare, marked = overlay(grey, heat, UNIT), overlay(grey, heat, UNIT, marks=Marks(boxes=((50, 100, 120, 300),)))
    changed = (pixels(bare) != pixels(marked)).any(axis=2)
    assert changed[49, 100:300].all()
    assert changed[50:120, 99].all()
    assert not changed[53:117, 103:297].any()
