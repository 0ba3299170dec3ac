"""Said points and boxes on pictures: where their pixels are, in which colour, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.visualize.factory import comparison, first_answer, photo, recording, tokens
from tests.visualize.said_answers import answering
from visualize import Marks, Selection, panes, sheet
from visualize.analysis_json import analysis_json
from visualize.page.choice import Choice
from visualize.page.pictures import draw
from visualize.pictures.marks import SMALLEST, draw_marks
from visualize.pictures.said_marks import STYLES, SaidMark, style_json, style_of

GREY = (128, 128, 128)


def marked(size, *said):
    picture = Image.new("RGB", (size[1], size[0]), GREY)
    draw_marks(picture, Marks(said=said), (3, 5))
    return np.asarray(picture).astype(int)


def near(pixels, colour, reach=40):
    return np.abs(pixels - np.array(colour)).max(axis=-1) <= reach


@pytest.mark.parametrize("style", range(len(STYLES)))
@pytest.mark.parametrize(("size", "unit"), [((300, 400), 1.0), ((900, 1000), 2.0)])
def test_a_point_is_a_cross_open_at_its_very_place_in_its_variants_colour(style, size, unit):
    x, y = 180, 120
    found = marked(size, SaidMark(style, ((x + 0.5, y + 0.5),)))
    assert (found[y, x] == GREY).all()
    colour = STYLES[style].colour
    for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        away = round(5 * unit)
        assert near(found[y + dy * away, x + dx * away], colour)
        beside = found[y + dy * away + abs(dx) * round(1.7 * unit), x + dx * away + abs(dy) * round(1.7 * unit)]
        assert beside.max() < 70  # black below it
    figure = near(found, colour)
    rows, columns = np.nonzero(figure)
    reach = max(np.abs(rows - y).max(), np.abs(columns - x).max())
    assert reach == pytest.approx((14.5 if STYLES[style].sides else 10.5) * unit, abs=2 * unit)
    assert not (found != GREY).any(axis=-1)[:, : x - round(20 * unit)].any()


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_a_box_is_dashed_on_its_edges(style):
    found = marked((300, 400), SaidMark(style, ((50, 40), (350, 240))))
    colour, (on, off) = STYLES[style].colour, STYLES[style].dash
    top = near(found[40, 50:350], colour)
    assert top.mean() == pytest.approx(on / (on + off), abs=0.15)
    changes = int((top[1:] != top[:-1]).sum())
    assert changes == pytest.approx(2 * 300 / (on + off), abs=4)
    for line in (found[240, 60:340], found[60:230, 50], found[60:230, 350]):
        assert near(line, colour).any()
        assert (line.max(axis=-1) < 70).any()  # black between the dashes
    assert (found[60:220, 70:330] == GREY).all()


def test_a_box_whose_corners_were_said_the_wrong_way_round_is_drawn_as_it_lies():
    ends = (50, 40), (350, 240)
    one, other = (marked((300, 400), SaidMark(1, corners)) for corners in (ends, ends[::-1]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("corner", [(-100, 50), (50, -100), (900, 50), (50, 900), (1e12, 1e12), (-1e12, 0)])
def test_what_lies_beyond_the_picture_is_not_drawn_on_it(corner):
    assert (marked((300, 400), SaidMark(0, (corner,))) == GREY).all()


def test_a_huge_box_costs_no_more_than_the_picture_and_shows_the_edges_on_it():
    found = marked((300, 400), SaidMark(0, ((100, -1e12), (1e12, 1e12))))
    assert near(found[:, 100], STYLES[0].colour).any()
    assert (found[:, 120:] == GREY).all()


def test_a_point_at_the_edge_is_half_there():
    found = marked((300, 400), SaidMark(0, ((0, 150),)))
    assert (found != GREY).any()


def test_a_picture_without_room_gets_none():
    assert (marked((SMALLEST - 1, 200), SaidMark(0, ((100, 10),))) == GREY).all()


def test_every_style_is_told_apart_without_colour_and_begins_again_after_the_last():
    assert len({style.sides for style in STYLES}) == len({style.dash for style in STYLES}) == len(STYLES)
    assert style_of(len(STYLES)) == STYLES[0]
    assert style_json(1) == {"words": STYLES[1].words, "colour": "#56b4e9", "sides": 4, "dash": [4, 4]}


SAYS, OTHER = "(500, 250)", "<b>[100, 900, 400, 950] and (5000, 10)"
ROW = tokens(answer=tuple(SAYS), end=False)
AT = Selection(1, first_answer(ROW))


@pytest.fixture
def pair():
    base = answering(recording(row=ROW, focus=(AT.token,)), OTHER)
    return comparison(
        base, answering(recording("find-red", row=ROW, focus=(AT.token,), seed=1), SAYS), image=photo((60, 100))
    )


def test_every_pane_has_what_both_of_its_variants_say(pair):
    shown = panes(pair, AT, adapter="find-red")
    base = (SaidMark(0, ((10, 54), (40, 57))), SaidMark(0, ((500, 0.6),)))
    for pane in shown:
        assert pane.drawing.marks.said == (*base, SaidMark(1, ((50, 15),)))
    assert shown.said == (
        "Orange cross or dashes: base says 10, 54 – 40, 57; 500, 0.6 (x, y in pixels), 1 of them reaches beyond the "
        "photo, in its own words, while the pictures follow the replayed ones.",
        "Blue cross in a diamond or dashes: find-red says 50, 15 (x, y in pixels).",
    )
    alone = panes(pair, AT, base="find-red")
    assert alone.base.drawing.marks.said == (SaidMark(1, ((50, 15),)),)  # its style is its own
    assert shown.said[1] in alone.said


def test_marks_follow_the_size_of_the_picture(pair):
    assert SaidMark(0, ((10, 20), (1, 2))).scaled(2, 3) == SaidMark(0, ((30, 40), (3, 4)))  # twice as high
    shown = panes(pair, AT, adapter="find-red", original_image=photo((120, 200)))
    assert shown.base.drawing.marks.said[-1] == SaidMark(1, ((100, 30),))
    drawing = panes(pair, AT, adapter="find-red").base.drawing
    large = np.asarray(drawing.at((600, 1000))).astype(int)
    unmarked = replace(drawing, marks=replace(drawing.marks, said=()))
    changed = (large != np.asarray(unmarked.at((600, 1000)))).any(axis=-1)
    assert changed[140:160, 490:510].any()  # the point at (500, 150)
    assert changed[540, 100:400].any()  # the box's upper edge
    assert not changed[:, 700:].any()


def test_they_are_left_out_where_nobody_wants_them_or_nobody_says_any(pair):
    assert panes(pair, AT, adapter="find-red", said=False).base.drawing.marks.said == ()
    assert panes(pair, AT, adapter="find-red", said=False).said == ()
    plain = panes(comparison(), Selection(1, 7), adapter="find-red")
    assert (plain.base.drawing.marks.said, plain.said) == ((), ())


def test_the_page_draws_them_as_its_choice_says(pair):
    for said in (True, False):
        choice = Choice.read({"layer": 1, "token": AT.token, "said": said}, pair)
        assert choice.said is said
        assert bool(draw(pair, choice).base.drawing.marks.said) is said
    assert Choice.read({"layer": 1, "token": AT.token}, pair).said


def test_a_sheet_says_what_its_marks_are(pair):
    shown = panes(pair, AT, adapter="find-red")
    assert sheet(shown).height > sheet(replace(shown, said=())).height


def test_a_programs_pictures_have_what_their_variant_says(pair):
    with_places = analysis_json(pair, pictures=True)["maps"]
    silent = comparison(*(replace(each, answer="none", answer_ids=(), answer_pieces=()) for each in pair.recordings))
    without = analysis_json(replace(silent, image=pair.image), pictures=True, token="digits")["maps"]
    assert all(one["overlay"] != other["overlay"] for one, other in zip(with_places, without, strict=True))


def test_what_began_as_a_place_is_said_with_its_reason():
    odd = comparison(answering(recording(row=ROW), "at (5, \u202e"), answering(recording("a", row=ROW), "none"))
    shown = panes(odd, AT, adapter="a")
    assert shown.said == ()  # a place does not end in an override
    cut = comparison(answering(recording(row=ROW), "at (5, "))
    assert panes(cut, AT).said == (
        "Orange cross or dashes: base says no place, not read: “(5, ”, the answer ends within it.",
    )
