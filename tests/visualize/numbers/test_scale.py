import math
import tracemalloc

import numpy as np
import pytest

from inference.errors import SelectionError
from visualize import ColourLimits, diverging_limits, number, shared_limits
from visualize.numbers.layer_limits import Way, layer_limits, pane_limits
from visualize.pictures.bar import ticks

BASE = np.float32([[0.0, 0.1, 0.2], [0.0, 0.0, 0.05]])
ADAPTER = np.float32([[0.4, 0.1, 0.0], [0.0, 0.0, 0.05]])


def test_both_maps_share_one_scale_from_0_to_their_common_top():
    limits = shared_limits(BASE, ADAPTER)
    assert (limits.low, limits.high) == (0, pytest.approx(0.4))
    assert shared_limits(ADAPTER, BASE) == limits


def test_a_percentile_counts_the_values_above_0_of_both_maps():
    values = sorted([0.1, 0.2, 0.05, 0.4, 0.1, 0.05])
    place = 0.9 * (len(values) - 1)
    lower = math.floor(place)
    expected = values[lower] + (values[lower + 1] - values[lower]) * (place - lower)
    assert shared_limits(BASE, ADAPTER, percentile=90).high == pytest.approx(expected)


def test_one_hot_cell_among_zeros_sets_the_top_at_any_percentile():
    heat = np.zeros((24, 40), np.float32)
    heat[3, 5] = 0.3
    assert shared_limits(heat, percentile=99.5).high == pytest.approx(0.3)


def test_hidden_cells_do_not_count():
    hidden = np.zeros((2, 3), bool)
    hidden[0, 0] = True
    assert shared_limits(BASE, ADAPTER, hidden=hidden).high == pytest.approx(0.2)
    assert diverging_limits(ADAPTER - BASE, hidden=hidden).high == pytest.approx(0.2)


@pytest.mark.parametrize("view", ["raw", "sink-masked", "contrast"])
def test_many_layers_in_many_ways_at_once_have_the_scales_that_each_has_alone(view):
    rng = np.random.default_rng(3)
    maps = rng.gamma(0.3, size=(2, 6, 5, 7)).astype(np.float32)
    maps[:, 1, 2:] = 0  # as many values as no other layer has
    maps[:, 2] = 0
    if view == "contrast":
        maps -= maps.mean(axis=1, keepdims=True)
    hidden = rng.random((6, 5, 7)) < 0.2 if view == "sink-masked" else None
    ways = [Way(log, percentile) for log in (False, True) for percentile in (100, 99, 95, 50)]
    differences = [maps[1] - maps[0]]
    for way, found in zip(ways, layer_limits(maps, differences, ways, view=view, hidden=hidden), strict=True):
        for layer in range(6):
            counted = slice(None) if hidden is None else ~hidden[layer]
            values = np.abs(maps[:, layer][:, counted]).astype(np.float64)
            values = values[values > 0]
            expected = np.percentile(values, way.percentile) if values.size else 0
            assert found.shared[layer].high == pytest.approx(expected, rel=1e-12)
            alone = pane_limits(
                [each[layer] for each in maps],
                [each[layer] for each in differences],
                view=view,
                hidden=None if hidden is None else hidden[layer],
                **way._asdict(),
            )
            assert (found.shared[layer], found.signed[layer]) == alone


def test_signed_limits_are_symmetric_about_0():
    limits = diverging_limits(np.float32([[0.1, -0.3, 0.0]]))
    assert (limits.low, limits.high) == (pytest.approx(-0.3), pytest.approx(0.3))
    np.testing.assert_allclose(limits.place(np.float32([-0.3, 0, 0.3, 9])), [0, 0.5, 1, 1])


def test_a_logarithmic_scale_spans_three_decades_in_equal_ratios():
    limits = shared_limits(BASE, ADAPTER, log=True)
    assert limits.low == pytest.approx(limits.high / 1000)
    placed = limits.place(np.float32([0.4, 0.04, 0.004, 0.0004, 0.0]))
    np.testing.assert_allclose(placed, [1, 2 / 3, 1 / 3, 0, 0], atol=1e-6)


@pytest.mark.parametrize("log", [True, False])
def test_an_all_zero_map_has_empty_limits_that_say_so_and_divide_by_nothing(log):
    dark = np.zeros((2, 3), np.float32)
    limits = shared_limits(dark, dark, log=log)
    assert limits.empty
    assert "all 0" in limits.words()
    assert not limits.place(dark).any()
    signed = diverging_limits(dark)
    assert signed.signed
    assert (signed.place(dark) == 0.5).all()
    assert ticks(limits) == ((0.0, "0"),)
    assert ticks(signed) == ((0.5, "0"),)


@pytest.mark.parametrize("top", [1e-45, 1e-38, 1e-30, 1e-6, 1.0])
@pytest.mark.parametrize("log", [True, False])
def test_however_small_the_values_the_largest_is_1_and_0_is_0(top, log):
    values = np.float32([top, 0])
    places = shared_limits(values[None], log=log).place(values)
    np.testing.assert_allclose(places, [1, 0], atol=1e-5)
    assert places.dtype == np.float32


@pytest.mark.parametrize("limits", [ColourLimits(0, 0.5), ColourLimits(-0.5, 0.5), ColourLimits(0.0005, 0.5, True)])
def test_the_pixels_of_a_photo_find_their_place_in_copies_of_four_bytes_each(limits):
    values = np.full(1_000_000, 0.25, np.float32)
    tracemalloc.start()
    places = limits.place(values)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert places.nbytes == 4_000_000
    assert most <= 3 * 4_000_000 + 100_000


@pytest.mark.parametrize("percentile", [0, 49, 101, math.nan])
def test_a_percentile_outside_50_to_100_is_refused(percentile):
    with pytest.raises(SelectionError, match="percentile"):
        shared_limits(BASE, percentile=percentile)


def test_signed_values_have_no_scale_from_0():
    with pytest.raises(SelectionError, match="both signs"):
        shared_limits(ADAPTER - BASE)


@pytest.mark.parametrize(
    "arguments",
    [(1, 0), (0.5, -0.5), (-1, 2), (0, math.inf), (math.nan, 1), (0, 1, True), (-1, 1, True), (0, 1, False, "%")],
)
def test_limits_out_of_order_cannot_be_made(arguments):
    with pytest.raises(SelectionError):
        ColourLimits(*arguments)


@pytest.mark.parametrize(("log", "words"), [(True, "^logarithmic colour limits"), (False, "^colour limits")])
def test_limits_that_cannot_be_made_are_named_with_their_kind(log, words):
    with pytest.raises(SelectionError, match=f"{words} cannot go from 2 to 1"):
        ColourLimits(2, 1, log)


def test_limits_are_said_with_their_unit_clipping_and_scale():
    assert ColourLimits(0, 0.0431).words() == "0 – 4.31 % of the token's attention"
    assert ColourLimits(-0.02, 0.02, unit="share difference").words() == "± 2 percentage points of attention"
    words = ColourLimits(0.0001, 0.1, True, "share", 99.5).words()
    assert words == "0.01 – 10 % of the token's attention, logarithmic, clipped at percentile 99.5"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.04309, "share", "4.31"),
        (0.9996, "share", "100"),
        (0, "share", "0"),
        (-0.5, "share difference", "−50"),
        (1234.5, "nats", "1234"),
        (0.000012345, "bits", "1.2e−05"),
        (math.nan, "bits", "–"),
    ],
)
def test_numbers_have_three_significant_digits(value, unit, text):
    assert number(value, unit) == text


@pytest.mark.parametrize(
    "limits",
    [
        ColourLimits(0, 0.0567),
        ColourLimits(0, 1e-7),
        ColourLimits(0.0000123, 0.0123, True),
        ColourLimits(-0.31, 0.31, unit="share difference"),
        ColourLimits(0, 0.83, unit="bits"),
    ],
)
def test_ticks_stand_where_their_value_is_with_both_ends_and_room_between(limits):
    places = [place for place, _ in ticks(limits)]
    assert places[0] == pytest.approx(0, abs=1e-6)
    assert places[-1] == pytest.approx(1)
    assert min(np.diff(places)) >= 0.17
    for place, text in ticks(limits):
        factor = 1 if limits.unit == "bits" else 100
        value = float(text.replace("−", "-")) / factor
        found = float(limits.place(np.array([value], np.float32))[0])
        assert found == pytest.approx(place, abs=0.01)


def test_a_signed_bar_says_0_in_its_middle():
    assert (0.5, "0") in ticks(ColourLimits(-0.31, 0.31, unit="share difference"))


@pytest.mark.parametrize("percentile", [50, 100])
def test_the_least_and_the_most_percentile_are_allowed(percentile):
    heat = np.array([[0.1, 0.2, 0.4]], np.float32)
    assert shared_limits(heat, percentile=percentile).high == pytest.approx({50: 0.2, 100: 0.4}[percentile])
