"""What the viewer says is looked at, as one checked value, and the pictures of it that a person keeps."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize.factory import LAYERS, comparison, recording, tokens
from visualize import Selection, opening, panes
from visualize.page import Choice, draw, opening_choice


@pytest.fixture
def pair():
    return comparison()


def test_what_a_browser_sends_is_read_and_what_it_leaves_out_is_usual(pair):
    sent = {
        "layer": 2,
        "token": 7,
        "window": 1,
        "head": 1,
        "view": "sink-masked",
        "against": "find-red",
        "adapter": "base",
        "colormap": "magma",
        "diverging": "PuOr_r",
        "opacity": 0.25,
        "smooth": False,
        "fade": True,
        "log": True,
        "percentile": 95,
        "boxes": [[3, 5, 20, 40], [-4, 50, 20, 200]],
        "said": False,
    }
    cut = ((3, 5, 20, 40), (0, 50, 20, 100))  # the photo is 60 × 100
    assert asdict(Choice.read(sent | {"unknown": 1}, pair)) == sent | {"boxes": cut}
    usual = asdict(Choice.read({"layer": 0, "token": 3, "head": None}, pair))
    assert usual == {
        "layer": 0,
        "token": 3,
        "window": 0,
        "head": "mean",
        "view": "raw",
        "against": "",
        "adapter": "",
        "colormap": "viridis",
        "diverging": "RdBu_r",
        "opacity": 0.6,
        "smooth": True,
        "fade": False,
        "log": False,
        "percentile": 100.0,
        "boxes": (),
        "said": True,
    }


@pytest.mark.parametrize("value", [1, "true", None, "yes"])
def test_a_switch_is_on_only_where_it_is_true(pair, value):
    read = Choice.read({"layer": 0, "token": 3, "smooth": value, "log": value, "fade": value}, pair)
    assert (read.smooth, read.log, read.fade) == (value is None, False, False)  # what is not sent is usual


def test_a_set_of_heads_is_read_from_its_text_and_written_so_again(pair):
    choice = Choice.read({"layer": 0, "token": 7, "head": "L3H1,L0H2"}, pair)
    assert choice.selection(pair).head == ((3, 1), (0, 2))
    assert choice.json(pair)["head"] == "L3H1,L0H2"
    assert choice.file_name(pair, "png").endswith("-heads-L3H1-L0H2.png")


def test_a_choice_is_written_with_its_variants_by_name(pair):
    usual = {"layer": 1, "token": 7, "window": 0, "head": "mean", "view": "raw"}
    usual |= {"colormap": "viridis", "diverging": "RdBu_r", "opacity": 0.6, "smooth": True, "fade": False}
    usual |= {"log": False, "percentile": 100.0, "boxes": [], "said": True}
    assert Choice(1, 7).json(pair) == usual | {"against": "base", "adapter": "find-red"}
    assert Choice(1, 7, against="find-red").json(pair) == usual | {"against": "find-red", "adapter": "base"}
    alone = Choice(1, (7, 8), against="find-red", adapter="find-red").json(pair)
    assert alone == usual | {"token": [7, 8], "against": "find-red", "adapter": "find-red"}


def test_a_range_of_tokens_is_read_from_a_list(pair):
    choice = Choice.read({"layer": 0, "token": [7, 8]}, pair)
    assert choice.token == (7, 8)
    assert choice.focus(pair) == (7, 8)
    assert Choice.read({"layer": 0, "token": 7}, pair).focus(pair) == (7,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer": LAYERS}, "layer 4 does not exist: this result has layers 0–3"),
        ({"layer": -1}, "layer -1 does not exist"),
        ({"layer": "1"}, "layer must be a whole number; not '1'"),
        ({"layer": True}, "layer must be a whole number"),
        ({"layer": None}, "layer must be a whole number"),
        ({"token": None}, "token must be a 0-based index"),
        ({"token": 1.0}, "token must be a 0-based index"),
        ({"token": [8, 7]}, "first ≤ last"),
        ({"against": "nobody"}, "'nobody' is not in this comparison; it has base, find-red"),
        ({"adapter": 3}, "3 is not in this comparison"),
        ({"window": 1.5}, "window must be a whole number"),
        ({"window": False}, "window must be a whole number"),
        ({"window": LAYERS}, "does not exist"),
        ({"window": -1}, "does not exist"),
        ({"opacity": 1.01}, "opacity must be 0–1; not 1.01"),
        ({"opacity": -0.01}, "opacity must be 0–1"),
        ({"opacity": True}, "opacity must be 0–1"),
        ({"opacity": "1"}, "opacity must be 0–1"),
        ({"percentile": 49.9}, "percentile must be 50–100"),
        ({"percentile": 100.1}, "percentile must be 50–100"),
        ({"percentile": False}, "percentile must be 50–100"),
        ({"boxes": [[60, 0, 70, 9]]}, "outside the photo, which is 60 pixels high and 100 wide"),
        ({"boxes": "<b>"}, "a number of pixels|four numbers"),
        ({"boxes": [[1, 2, 3]]}, "four numbers"),
        ({"colormap": "RdBu_r"}, "sequential"),
        ({"colormap": "jet"}, "sequential"),
        ({"diverging": "viridis"}, "diverging"),
    ],
)
def test_what_this_result_does_not_have_is_refused(pair, changes, words):
    with pytest.raises(SelectionError, match=words):
        Choice.read({"layer": 0, "token": 7, **changes}, pair)


@pytest.mark.parametrize(
    "changes", [{"opacity": 0}, {"opacity": 1}, {"percentile": 50}, {"percentile": 100}, {"layer": 3}]
)
def test_the_ends_of_a_range_are_in_it(pair, changes):
    assert Choice.read({"layer": 0, "token": 7, **changes}, pair)


@pytest.mark.parametrize("value", [None, "", [], 3])
def test_nothing_at_all_is_refused(pair, value):
    with pytest.raises(SelectionError, match="no choice of layer and token"):
        Choice.read(value, pair)


@pytest.mark.parametrize(
    ("layer", "window", "shown"), [(2, 0, 2), (2, 1, (1, 3)), (0, 1, (0, 1)), (3, 1, (2, 3)), (1, 3, (0, 3))]
)
def test_a_choice_selects_its_layer_with_as_many_neighbours_on_both_sides(pair, layer, window, shown):
    choice = Choice(layer, 8, window=window, view="contrast")
    assert choice.selection(pair) == Selection(shown, 8, "mean", "contrast")
    assert Choice(layer, 8, head="max").selection(pair) == Selection(layer, 8, "max", "raw")


def test_single_heads_are_there_only_for_the_token_that_all_variants_recorded():
    both = comparison(recording(focus=(8,)), recording("a", seed=1, focus=(8,)))
    one = comparison(recording(focus=(8,)), recording("a", seed=1, focus=(7,)))
    for head in (0, "max"):
        assert Choice(0, 8, head=head).is_recorded(both)
        assert not Choice(0, 7, head=head).is_recorded(both)
        assert not Choice(0, 8, head=head).is_recorded(one)
    assert Choice(0, 3).is_recorded(one)


def test_a_result_opens_where_opening_says(pair):
    assert opening_choice(pair) == Choice(*opening(pair, None, "find-red"))


def test_one_variant_opens_in_the_middle_on_the_first_answer_token():
    assert opening_choice(comparison(recording("a"))) == Choice(2, 7)
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    assert opening_choice(own) == Choice(2, 7)


@pytest.mark.parametrize(
    ("against", "adapter", "shown"),
    [
        ("", "", (None, "a")),
        ("", "b", (None, "b")),
        ("a", "", ("a", None)),
        ("a", "b", ("a", "b")),
        ("b", "base", ("b", None)),
        ("b", "b", ("b",)),
    ],
)
def test_two_variants_stand_side_by_side(against, adapter, shown):
    three = comparison(recording(), recording("a", seed=1), recording("b", seed=2))
    choice = Choice(1, 7, against=against, adapter=adapter)
    assert choice.pair(three) == shown
    drawn = draw(three, choice)
    assert tuple(name for name, _ in drawn.answers) == tuple(name or "base" for name in shown)
    assert Choice(0, 7).pair(comparison(recording("b"))) == ("b",)


def test_pictures_to_keep_are_drawn_as_chosen_on_the_photo_itself(pair):
    choice = Choice(2, 8, window=1, view="sink-masked", colormap="magma", diverging="PuOr_r", opacity=0.3, smooth=False)
    drawn = draw(pair, replace(choice, log=True, percentile=95, fade=True))
    expected = panes(
        pair,
        Selection((1, 3), 8, "mean", "sink-masked"),
        adapter="find-red",
        colormap="magma",
        diverging="PuOr_r",
        opacity=0.3,
        smooth=False,
        log=True,
        percentile=95,
        fade=True,
    )
    for pane, other in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(pane.image), np.asarray(other.image))
        assert (pane.image.height, pane.image.width) == pair.image_size
        assert pane.caption == other.caption


def test_all_variants_of_a_result_share_one_scale_whichever_two_are_drawn():
    loud = recording("loud", seed=3, maps=np.full((10, 4, 3, 3, 5), 0.06))
    three = comparison(recording(), recording("a", seed=1), loud)
    tops = [draw(three, Choice(1, 7, adapter=name)).base.drawing.limits.high for name in ("a", "loud")]
    assert tops[0] == tops[1]


def test_a_replayed_answer_is_not_what_was_written(pair):
    given = replace(pair, recordings=tuple(replace(each, answer=None, answer_ids=()) for each in pair.recordings))
    assert draw(given, Choice(0, 7)).answers == (("base", None), ("find-red", None))
    assert draw(given, Choice(0, 7), written=pair).answers == (("base", "red circle"), ("find-red", "red circle"))


def test_a_saved_file_is_named_after_what_is_looked_at(pair):
    assert Choice(2, 8, window=1).file_name(pair, "png") == "attention-base-find-red-token-8-circle-layers-1-3.png"
    alone = comparison(recording("a", focus=(8,)))
    assert Choice(0, 8, head=1).file_name(alone, "npz") == "attention-a-token-8-circle-layer-0-head-1.npz"
    with pytest.raises(SelectionError, match="token 99"):
        Choice(0, 99).file_name(pair, "png")


def test_a_picture_to_keep_has_the_boxes_that_were_drawn(pair):
    choice = Choice.read({"layer": 0, "token": 7, "boxes": [[3, 5, 20, 40]]}, pair)
    assert choice.json(pair)["boxes"] == [[3, 5, 20, 40]]
    drawn = draw(pair, choice)
    for pane in drawn:
        assert pane.drawing.marks.boxes == ((3, 5, 20, 40),)
