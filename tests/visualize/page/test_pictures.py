"""The page's pictures: size, colours, what stands over and beside them."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.visualize import written_out
from tests.visualize.factory import HEADS, comparison, photo, recording, tokens, with_sinks
from tests.visualize.written_out import digits
from visualize import colour_bar_svg, overlay
from visualize.page import Choice, controls_json, draw, panes_json
from visualize.scale import ColourLimits

TOKEN = 8


@pytest.fixture
def pair():
    return comparison(recording(focus=(TOKEN,)), recording("find-red", seed=1, focus=(TOKEN,)))


def decoded(source):
    head, _, body = source.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((60, 100), (456, 760)), ((1520, 760), (760, 380)), ((1, 900), (1, 760)), ((760, 50), (760, 50))],
)
def test_the_longer_side_of_a_picture_is_760_pixels(size, drawn):
    made = panes_json(draw(comparison(image=photo(size)), Choice(0, 7)))["panes"]
    assert [(pane["height"], pane["width"]) for pane in made] == [drawn] * 3
    assert decoded(made[0]["source"]).size == drawn[::-1]


def test_a_pictures_longer_side_may_be_asked_for(pair):
    assert draw(pair, Choice(0, 7), longest_side=50).base.image.size == (50, 30)


@pytest.mark.parametrize("view", ["raw", "sink-masked", "contrast"])
def test_the_pictures_are_the_overlays_of_the_choice(view):
    pair = comparison(with_sinks(), with_sinks("a", seed=1))
    choice = Choice(
        1, 7, view=view, colormap="cividis", diverging="PuOr_r", opacity=0.4, smooth=False, percentile=95.0, log=True
    )
    drawn = draw(pair, choice)
    canvas = Image.fromarray(pair.image).resize((760, 456), Image.Resampling.LANCZOS)
    for pane, numbers in zip(drawn, (*drawn.stack.variants, *drawn.stack.differences), strict=True):
        signed = view == "contrast" or "−" in pane.variant
        assert numbers.limits[0].signed == signed
        assert numbers.limits[0].percentile == 95
        assert numbers.limits[0].log == (not signed)
        expected = overlay(
            canvas,
            numbers.maps[0],
            numbers.limits[0],
            colormap="PuOr_r" if signed else "cividis",
            opacity=0.4,
            smooth=False,
            hidden=drawn.stack.sinks[0] if view == "sink-masked" else None,
            marks=pane.drawing.marks,
        )
        np.testing.assert_array_equal(np.asarray(pane.image), np.asarray(expected))
        assert pane.drawing.marks.peak == numbers.peaks[0]
        np.testing.assert_array_equal(pane.drawing.marks.sinks, drawn.stack.sinks[0])
        assert drawn.stack.sinks[0].any()


def test_each_picture_has_its_title_words_and_kind_of_colours(pair):
    drawn = draw(pair, Choice(2, TOKEN))
    made = panes_json(drawn)
    assert [pane["title"] for pane in made["panes"]] == ["base", "find-red", "find-red − base"]
    assert [pane["signed"] for pane in made["panes"]] == [False, False, True]
    for pane, shown in zip(made["panes"], drawn, strict=True):
        assert (pane["caption"], pane["alt"]) == (shown.caption, shown.alt)
        difference = np.abs(np.asarray(decoded(pane["source"])).astype(int) - np.asarray(shown.image).astype(int))
        assert difference.mean() < 6  # a JPEG of it
    assert made["where"] == "Predicting “ circle” · layer 2 · mean of all heads · raw view"
    assert made["notes"] == []
    assert made["sides"] == ["base looks more", "find-red looks more"]


def test_the_bars_are_those_of_the_shown_limits(pair):
    made = panes_json(draw(pair, Choice(2, TOKEN, colormap="magma", diverging="PiYG_r")))
    rows = [written_out.row(each, TOKEN, [2]) for each in pair.recordings]
    top, delta = np.max(rows), np.abs(rows[1] - rows[0]).max()
    assert made["bar"]["words"] == f"0 – {digits(100 * top)} % of the token's attention"
    assert made["difference_bar"]["words"] == f"± {digits(100 * delta)} percentage points of attention"
    assert (made["bar"]["signed"], made["difference_bar"]["signed"]) == (False, True)
    shared, signed = ColourLimits(0, float(top)), ColourLimits(-float(delta), float(delta), unit="share difference")
    assert made["bar"]["svg"].split("href")[0] == colour_bar_svg(shared, colormap="magma").split("href")[0]
    assert made["bar"]["svg"] == colour_bar_svg(draw(pair, Choice(2, TOKEN)).base.drawing.limits, colormap="magma")
    assert digits(100 * delta) in made["difference_bar"]["svg"]
    assert made["difference_bar"]["svg"].split('href="')[1][:200] != colour_bar_svg(signed).split('href="')[1][:200]


def test_heads_are_offered_with_what_changed(pair):
    made = panes_json(draw(pair, Choice(2, TOKEN)))["heads"]
    scores = {
        head: written_out.bits_of_row(*(written_out.row(each, TOKEN, [2], head) for each in pair.recordings))
        for head in range(HEADS)
    }
    ordered = sorted(scores, key=lambda head: -scores[head])
    assert made == [[head, f"head {head} · changed {digits(scores[head])} bits"] for head in ordered]
    assert panes_json(draw(pair, Choice(2, 7)))["heads"] == []


def test_one_variants_heads_are_offered_with_their_share_of_the_image():
    only = recording(focus=(TOKEN,))
    made = panes_json(draw(comparison(only), Choice(1, TOKEN)))
    shares = {head: float(only.by_head[1, head].sum(dtype=float)) for head in range(HEADS)}
    ordered = sorted(shares, key=lambda head: -shares[head])
    assert made["heads"] == [[head, f"head {head} · {digits(100 * shares[head])} % on the image"] for head in ordered]
    assert (len(made["panes"]), made["difference_bar"], made["sides"]) == (1, None, ["base looks more"])


def test_own_answers_have_a_place_that_says_why_there_is_no_difference():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    made = panes_json(draw(own, Choice(0, 7)))
    assert [pane["title"] for pane in made["panes"]] == ["base", "a", "difference"]
    assert made["panes"][2] == {
        "title": "difference",
        "missing": "No difference: each variant replayed its own answer.",
    }
    assert made["difference_bar"] is None
    assert made["notes"][0].startswith("Each variant replayed its own answer")


def test_the_controls_offer_what_the_result_has(pair):
    assert controls_json(pair, Choice(2, 7, head=1)) == {
        "choice": {
            "layer": 2,
            "token": 7,
            "window": 0,
            "head": 1,
            "view": "raw",
            "colormap": "viridis",
            "diverging": "RdBu_r",
            "opacity": 0.6,
            "smooth": True,
            "log": False,
            "percentile": 100.0,
        },
        "layers": 4,
        "heads": 3,
        "views": ["raw", "sink-masked", "contrast"],
        "colormaps": ["viridis", "magma", "inferno", "plasma", "cividis"],
        "diverging": ["RdBu_r", "PuOr_r", "coolwarm", "BrBG_r", "PiYG_r"],
    }


def test_the_answers_on_a_sheet_are_those_that_the_variants_wrote(pair):
    assert draw(pair, Choice(0, 7)).answers == (("base", "red circle"), ("find-red", "red circle"))
    clicked = comparison(*(replace(each, answer=None, answer_ids=()) for each in pair.recordings))
    assert draw(clicked, Choice(0, 7)).answers == (("base", None), ("find-red", None))
    wrote = comparison(replace(pair.recordings[0], answer="blue"), pair.recordings[1])
    assert draw(clicked, Choice(0, 7), written=wrote).answers == (("base", "blue"), ("find-red", "red circle"))
    assert draw(comparison(recording("a")), Choice(0, 7)).answers == (("a", "red circle"),)
    assert draw(pair, Choice(0, 7)).prompt == "What is red?"
