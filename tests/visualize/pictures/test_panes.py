from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from inference.errors import SelectionError
from inference.measures import js_divergence
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, photo, recording, tokens
from visualize import Selection, colour_bar, difference, number, numbers_line, overlay, panes, sheet, sink_cells

AT = Selection(2, 7)
VIEWS = ["raw", "sink-masked", "contrast"]


@pytest.fixture
def pair():
    return comparison()


def with_sink(adapter=None, cell=(0, 0), seed=0):
    row = tokens()
    maps = np.random.default_rng(seed).gamma(0.5, size=(len(row), LAYERS, HEADS, *GRID))
    maps[..., cell[0], cell[1]] += 40
    maps *= 0.6 / maps.sum(axis=(-2, -1), keepdims=True)
    return recording(adapter, row=row, maps=maps)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("log", [True, False])
def test_base_and_adapter_have_one_scale_and_the_difference_its_own_about_0(pair, view, log):
    shown = panes(pair, replace(AT, view=view), adapter="find-red", log=log)
    assert shown.base.drawing.limits == shown.adapter.drawing.limits
    assert shown.difference.drawing.limits.low == -shown.difference.drawing.limits.high
    assert shown.base.drawing.limits.signed == (view == "contrast")


def test_a_logarithm_is_of_the_variants_and_never_of_their_difference(pair):
    shown = panes(pair, AT, adapter="find-red", log=True)
    top = max(float(each.by_token[7, 2].max()) for each in pair.recordings)
    for pane in (shown.base, shown.adapter):
        limits = pane.drawing.limits
        assert (limits.log, limits.low, limits.high) == (True, pytest.approx(top / 1000), pytest.approx(top))
    assert not shown.difference.drawing.limits.log
    assert not panes(pair, AT, adapter="find-red").base.drawing.limits.log


@pytest.mark.parametrize("view", VIEWS)
def test_the_difference_is_adapter_minus_base_of_what_is_shown(pair, view):
    shown = panes(pair, replace(AT, view=view), adapter="find-red")
    expected = difference(shown.adapter.drawing.heat, shown.base.drawing.heat)
    np.testing.assert_array_equal(shown.difference.drawing.heat, expected)
    swapped = panes(comparison(pair.recordings[1], recording("other")), AT, base="find-red", adapter="other")
    np.testing.assert_allclose(
        swapped.difference.drawing.heat, -panes(pair, AT, adapter="find-red").difference.drawing.heat
    )


def test_a_pane_is_the_overlay_of_its_map_with_its_limits(pair):
    shown = panes(pair, AT, adapter="find-red", opacity=0.4, smooth=False)
    limits, marks = shown.base.drawing.limits, shown.base.drawing.marks
    again = overlay(pair.image, pair.recordings[0].by_token[7, 2], limits, opacity=0.4, smooth=False, marks=marks)
    np.testing.assert_array_equal(np.asarray(shown.base.image), np.asarray(again))
    assert [each.image.size for each in shown] == [(100, 60)] * 3


def test_numbers_are_those_of_the_recorded_rows(pair):
    shown = panes(pair, AT, adapter="find-red")
    base, adapter = (each.by_token[7, 2].astype(float) for each in pair.recordings)
    assert shown.base.measures.image_share == pytest.approx(pair.recordings[0].image_share[7, 2].mean(), abs=1e-6)
    assert shown.change.delta_share == pytest.approx(adapter.sum() - base.sum())
    assert shown.change.js_divergence == pytest.approx(float(js_divergence(base, adapter)))
    assert shown.change.delta_entropy == pytest.approx(shown.adapter.measures.entropy - shown.base.measures.entropy)
    assert shown.base.measures.effective_cells == pytest.approx(np.exp(shown.base.measures.entropy))
    assert shown.base.peak == np.unravel_index(base.argmax(), base.shape)
    assert shown.difference.peak == np.unravel_index(np.abs(adapter - base).argmax(), base.shape)


@pytest.mark.parametrize("view", VIEWS)
def test_numbers_do_not_depend_on_the_view(pair, view):
    assert panes(pair, replace(AT, view=view), adapter="find-red").change == panes(pair, AT, adapter="find-red").change


def test_sinks_of_either_variant_are_marked_in_all_panes_and_left_out_where_the_view_says_so():
    pair = comparison(with_sink(cell=(0, 0)), with_sink("a", cell=(2, 4), seed=1))
    both = sink_cells(pair.recordings[0], 2) | sink_cells(pair.recordings[1], 2)
    assert np.argwhere(both).tolist() == [[0, 0], [2, 4]]
    raw = panes(pair, AT, adapter="a")
    masked = panes(pair, replace(AT, view="sink-masked"), adapter="a")
    assert raw.base.peak == (0, 0)
    for shown in (raw, masked):
        np.testing.assert_array_equal(shown.sinks, both)
        for pane in shown:
            np.testing.assert_array_equal(pane.drawing.marks.sinks, both)
    rest = [each.by_token[7, 2][~both] for each in pair.recordings]
    assert masked.base.drawing.limits.high == pytest.approx(float(max(part.max() for part in rest)))
    for pane in masked:
        assert not both[pane.peak]
        assert (pane.drawing.heat[both] == 0).all()
    assert raw.base.drawing.limits.high > 5 * masked.base.drawing.limits.high


def test_one_variant_gives_one_pane(pair):
    for base in (None, "find-red"):
        shown = panes(pair, AT, base=base)
        assert [pane.variant for pane in shown] == [base or "base"]
        assert shown.adapter is shown.difference is shown.change is None


def test_a_view_says_what_it_leaves_out_and_which_row_the_numbers_are_of():
    pair = comparison(with_sink(cell=(0, 0)), with_sink("a", cell=(2, 4), seed=1))
    plain = comparison(recording(), recording("a", seed=1))
    masked = replace(AT, view="sink-masked")
    raw = "Image share, entropy and divergence are those of the raw row."
    cells = GRID[0] * GRID[1]
    assert panes(pair, masked, adapter="a").notes[:2] == (f"Left out as sinks: 2 of {cells} cells.", raw)
    assert panes(plain, masked, adapter="a").notes[:2] == ("No cell is a sink here: nothing is left out.", raw)
    assert raw in panes(plain, replace(AT, view="contrast"), adapter="a").notes
    assert raw not in panes(pair, AT, adapter="a").notes


def test_own_answers_stand_side_by_side_without_a_difference():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    shown = panes(own, Selection(0, "answer"), adapter="a")
    assert shown.adapter is not None
    assert shown.difference is shown.change is None
    assert any("own answer" in note for note in shown.notes)
    assert "“blue”" in shown.adapter.caption
    assert sheet(shown).mode == "RGB"


def test_equal_variants_have_a_difference_of_exactly_0_that_says_so():
    shown = panes(comparison(recording(), recording("untouched")), AT, adapter="untouched")
    assert not shown.difference.drawing.heat.any()
    assert shown.difference.peak is None
    assert "all 0" in shown.difference.caption
    assert any("equal" in note for note in shown.notes)
    assert len({tuple(pixel) for pixel in np.asarray(shown.difference.bar).reshape(-1, 3)}) > 100  # still a bar


def test_a_panes_bar_has_the_colours_of_its_picture():
    shown = panes(comparison(), AT, adapter="find-red", colormap="magma", diverging="PuOr_r")
    for pane, colormap in zip(shown, ("magma", "magma", "PuOr_r"), strict=True):
        np.testing.assert_array_equal(
            np.asarray(pane.bar), np.asarray(colour_bar(pane.drawing.limits, colormap=colormap))
        )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("log", [True, False])
def test_rows_without_any_attention_on_the_image_are_drawn_and_said(view, log):
    row = tokens()
    dark = recording(row=row, maps=np.zeros((len(row), LAYERS, HEADS, *GRID)))
    darker = recording("a", row=row, maps=np.zeros((len(row), LAYERS, HEADS, *GRID)))
    shown = panes(comparison(dark, darker), replace(AT, view=view), adapter="a", log=log)
    assert any("All values are 0" in note for note in shown.notes)
    assert np.isnan(shown.change.js_divergence)
    assert "–" in numbers_line(shown, shown.base)
    sheet(shown)


def test_a_one_pixel_photo_is_drawn():
    tiny = comparison(recording(), recording("a", seed=1), image=photo((1, 1)))
    shown = panes(tiny, AT, adapter="a")
    assert shown.base.image.size == (1, 1)
    sheet(shown)


def test_every_caption_says_model_variant_token_row_layer_head_view_limits_and_path(pair):
    shown = panes(pair, replace(AT, layer=(1, 3), view="sink-masked"), adapter="find-red", percentile=99)
    for pane, name in zip(shown, ("base", "find-red", "find-red − base"), strict=True):
        parts = pane.caption.split(" · ")
        assert parts[:2] == ["demo", name]
        assert parts[2:6] == ["token 7 “red”, row 26", "layers 1–3 (mean)", "head mean", "view sink-masked"]
        assert parts[6] == pane.drawing.limits.words()
        assert parts[6].endswith("clipped at percentile 99")
        assert parts[7] == "eager attention"
        assert pane.caption in pane.alt
        assert "\n" not in pane.caption


def test_the_maximum_over_heads_has_no_image_share():
    shown = panes(comparison(), replace(AT, head="max"), adapter="find-red")
    assert np.isnan(shown.base.measures.image_share)
    assert np.isnan(shown.change.delta_share)
    assert number(shown.base.measures.image_share, "share") == "–"


@pytest.mark.parametrize("size", [(600, 1000), (30, 50), (61, 100)])
def test_the_same_photo_at_another_size_may_be_drawn_on(pair, size):
    shown = panes(pair, AT, adapter="find-red", original_image=photo(size))
    assert shown.base.image.size == (size[1], size[0])


@pytest.mark.parametrize("size", [(100, 60), (60, 80)])
def test_a_photo_of_another_shape_is_refused(pair, size):
    with pytest.raises(SelectionError, match="pixels"):
        panes(pair, AT, adapter="find-red", original_image=Image.fromarray(photo(size)))


def test_a_variant_that_was_not_recorded_is_refused(pair):
    with pytest.raises(SelectionError, match="'other' is not in this comparison"):
        panes(pair, AT, adapter="other")
    with pytest.raises(SelectionError, match="must differ; got find-red, find-red"):
        panes(pair, AT, base="find-red", adapter="find-red")


def test_a_drawing_at_another_size_is_drawn_from_the_numbers(pair):
    drawing = panes(pair, AT, adapter="find-red", boxes=((6, 10, 30, 50),)).base.drawing
    large = drawing.at((600, 1000))
    stretched = drawing.photo.resize((1000, 600), Image.Resampling.LANCZOS)
    marks = replace(drawing.marks, boxes=((60, 100, 300, 500),))
    expected = overlay(stretched, drawing.heat, drawing.limits, marks=marks)
    np.testing.assert_array_equal(np.asarray(large), np.asarray(expected))


@pytest.mark.parametrize("size", [(60, 100), (97, 1024), (400, 90)])
def test_a_sheet_holds_every_pane_at_its_own_shape(size):
    shown = panes(comparison(image=photo(size)), AT, adapter="find-red")
    picture = sheet(shown)
    stacked = size[1] > 2.5 * size[0]
    assert picture.width == (2 * 28 + 1120 if stacked else 2 * 28 + 3 * 560 + 2 * 28)
    height = round(size[0] * min((1120 if stacked else 560) / size[1], 900 / size[0]))
    assert picture.height > height * (3 if stacked else 1)


def test_a_sheet_of_a_hostile_and_foreign_caption_is_drawn():
    row = tokens(answer=("猫🐈\u202e\n<b>", " " * 200))
    odd = comparison(recording(row=row), recording("a", row=row, seed=1))
    shown = panes(odd, AT, adapter="a")
    assert "\\u202e\\n<b>" in shown.base.caption
    sheet(shown)
