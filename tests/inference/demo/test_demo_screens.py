"""Drawn screens: what a seed, a size and a wish promise, measured on the drawn pixels."""

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest

from inference.demo import screen_layout
from inference.demo.screen_layout import MAX_BUTTONS, Button, most_buttons
from inference.demo.screen_painting import paint
from inference.demo.screens import CLICK_PROMPTS, ScreenElement, ask_click, call, middle, screen
from inference.demo.world import COLOURS

#: Buttons, (height, width), (smallest, largest) side.
CASES = (
    (3, (160, 192), (32, 40)),
    (8, (160, 320), (28, 40)),
    (12, (256, 320), (24, 40)),
    (20, (352, 256), (24, 36)),
    (26, (192, 288), (22, 30)),
    (30, (288, 384), (18, 44)),
    (14, (201, 333), (20, 36)),
)


def pixels_of(drawn):
    return np.asarray(drawn.image).astype(int)


def layouts(monkeypatch, seed, case):
    """The screen and the layout that it was painted from."""
    kept = []

    def keep(layout):
        kept.append(layout)
        return paint(layout)

    monkeypatch.setattr("inference.demo.screens.paint", keep)
    drawn = screen(seed, *case)
    return drawn, kept[0]


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_draws_the_same_screen_and_another_seed_another(case):
    first, again, other = screen(7, *case), screen(7, *case), screen(8, *case)
    assert np.array_equal(pixels_of(first), pixels_of(again))
    assert first.elements == again.elements
    assert not np.array_equal(pixels_of(first), pixels_of(other))


def test_a_seed_means_the_same_pixels_and_boxes_on_every_platform():
    digest = hashlib.sha256()
    for seed, case in enumerate(CASES):
        drawn = screen(seed, *case)
        digest.update(drawn.image.tobytes())
        digest.update(repr([(one.kind, one.name, one.box) for one in drawn.elements]).encode())
    assert digest.hexdigest() == "a74631fd7104b7f04ca98a5c73e35801f55186b2a84deb8592593a24b14e3295"


@pytest.mark.parametrize("case", CASES)
def test_a_screen_has_the_asked_size_and_number_of_buttons_of_different_names(case):
    buttons, size, side = case
    for seed in range(6):
        drawn = screen(seed, *case)
        assert drawn.size == size
        assert np.asarray(drawn.image).shape == (*size, 3)
        names = [button.name for button in drawn.buttons]
        assert len(set(names)) == len(names) == buttons
        assert [drawn.find(name) for name in names] == list(drawn.buttons)
        for button in drawn.buttons:
            top, left, bottom, right = button.box
            assert side[0] <= bottom - top <= side[1]
            assert bottom - top <= right - left <= 1.4 * (bottom - top)


@pytest.mark.parametrize("case", CASES)
def test_boxes_lie_inside_and_what_can_be_clicked_lies_apart(case):
    for seed in range(6):
        drawn = screen(seed, *case)
        covered = np.zeros(drawn.size, dtype=int)
        for element in drawn.elements:
            top, left, bottom, right = element.box
            assert 0 <= top < bottom <= drawn.size[0]
            assert 0 <= left < right <= drawn.size[1]
            covered[top:bottom, left:right] += element.kind in ("button", "greyed")
        assert covered.max() == 1
        for element in drawn.elements:
            if element.kind in ("cursor", "line"):
                top, left, bottom, right = element.box
                assert not covered[top:bottom, left:right].any(), element


@pytest.mark.parametrize(
    "case", [*CASES[:3], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[3:6]), CASES[6]]
)
def test_a_box_is_exactly_what_its_element_paints(case, monkeypatch):
    """The same screen painted without one element differs inside that element's box alone, and up to all its edges."""
    for seed in range(2):
        drawn, layout = layouts(monkeypatch, seed, case)
        whole = pixels_of(drawn)
        for index, element in enumerate(drawn.elements):
            without = dataclasses.replace(layout, parts=layout.parts[:index] + layout.parts[index + 1 :])
            rows, columns = np.nonzero((np.asarray(paint(without)).astype(int) != whole).any(axis=2))
            found = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            assert found == element.box, element


@pytest.mark.parametrize("case", CASES)
def test_a_buttons_sign_has_its_colour_and_a_greyed_ones_has_none(case):
    for seed in range(4):
        drawn = screen(seed, *case)
        pixels = pixels_of(drawn)
        for element in drawn.elements:
            top, left, bottom, right = element.box
            inside = pixels[top + 3 : bottom - 3, left + 3 : right - 3]
            if element.kind == "button":
                near = {name: (np.abs(inside - centre).max(axis=2) < 56).sum() for name, centre in COLOURS.items()}
                assert max(near, key=near.__getitem__) == element.colour, (element, near)
            elif element.kind == "greyed":
                assert (inside.max(axis=2) - inside.min(axis=2)).max() <= 13
                assert inside.max() > 100


def test_screens_have_windows_bars_lines_a_cursor_and_look_alikes():
    kinds, shared_colour, shared_shape = set(), 0, 0
    for seed in range(30):
        drawn = screen(seed, 12)
        kinds |= {element.kind for element in drawn.elements}
        colours = [button.colour for button in drawn.buttons]
        shapes = [button.shape for button in drawn.buttons]
        shared_colour += sum(colours.count(one) > 1 for one in colours)
        shared_shape += sum(shapes.count(one) > 1 for one in shapes)
    assert kinds == {"window", "title", "toolbar", "line", "button", "greyed", "cursor"}
    assert min(shared_colour, shared_shape) > 0.7 * 30 * 12


@pytest.mark.parametrize("side", [18, 24, 32])
@pytest.mark.parametrize("size", [(128, 128), (128, 384), (300, 200), (288, 384)])
def test_as_many_buttons_as_are_promised_find_room(size, side):
    count = min(MAX_BUTTONS, most_buttons(size, side))
    for seed in range(12):
        assert len(screen(seed, count, size, (side, side)).buttons) == count


def test_a_screen_asked_for_a_name_shows_it_once():
    for seed in range(20):
        drawn = screen(seed, 5, must_have=("red circle", "blue star"))
        assert [button.name for button in drawn.buttons].count("red circle") == 1
        assert drawn.find("blue star").shape == "star"
    with pytest.raises(KeyError, match="no button of this screen is a 'purple circle'"):
        drawn.find("purple circle")


def test_all_names_occur_and_the_largest_is_the_largest():
    names = set()
    for seed in range(60):
        drawn = screen(seed, 10, (200, 260))
        names |= {button.name for button in drawn.buttons}
        assert drawn.largest.area == max(button.area for button in drawn.buttons)
    assert len(names) == 36


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more; got -1"),
        ({"buttons": 0}, "buttons must be 1 to 30 on a screen of 256 x 320 with sides from 24; got 0"),
        ({"buttons": 31}, "got 31"),
        ({"buttons": 20, "size": (128, 128), "side": (24, 32)}, "buttons must be 1 to 6 on a screen of 128 x 128"),
        ({"size": (100, 300)}, r"at least 128; got \(100, 300\)"),
        ({"side": (10, 20)}, r"from 18 to a quarter of the screen's shorter side, 64; got \(10, 20\)"),
        ({"side": (30, 20)}, r"got \(30, 20\)"),
        ({"side": (30, 90)}, r"got \(30, 90\)"),
        ({"must_have": ("red",)}, "such as 'red circle'; got 'red'"),
        ({"must_have": "red circle"}, "got the string 'red circle'"),
        ({"must_have": ("red circle", "red circle")}, "each button once"),
        ({"buttons": 1, "must_have": ("red circle", "red ring")}, "cannot show all of"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        screen(**{"seed": 0, **arguments})


def test_a_click_is_answered_with_a_tool_call_in_the_middle_of_the_named_button():
    for seed in range(10):
        drawn = screen(seed, 9, (201, 333))
        for button in drawn.buttons:
            for wording in range(len(CLICK_PROMPTS)):
                asked = ask_click(drawn, button, wording)
                assert asked.about is button
                assert button.name in asked.prompt
            opened, called, closed = asked.answer.split("\n")
            assert (opened, closed) == ("<tool_call>", "</tool_call>")
            written = json.loads(re.sub(r"\b0+(?=\d)", "", called))  # three digits each: JSON allows no leading zeros
            assert written["name"] == "click"
            x, y = written["arguments"]["coordinate"]
            assert button.holds((x, y), drawn.size)
            assert sum(other.holds((x, y), drawn.size) for other in drawn.buttons) == 1
            top, left, bottom, right = button.box
            assert abs(x / 1000 * 333 - (left + right) / 2) <= 0.34
            assert abs(y / 1000 * 201 - (top + bottom) / 2) <= 0.21


def test_a_point_is_written_with_three_digits_each():
    assert call((4, 33)) == '<tool_call>\n{"name": "click", "arguments": {"coordinate": [004, 033]}}\n</tool_call>'
    assert middle((0, 0, 1, 1), (500, 400)) == (1, 1)
    assert middle((499, 399, 500, 400), (500, 400)) == (998, 999)


def test_a_box_holds_its_first_pixel_and_not_the_one_after_its_last():
    item = ScreenElement("button", (20, 10, 40, 50), "red", "circle")  # on a screen of 100 × 200
    held = {
        point: item.holds(point, (100, 200)) for point in ((50, 200), (49, 200), (249, 399), (250, 399), (249, 400))
    }
    assert held == {(50, 200): True, (49, 200): False, (249, 399): True, (250, 399): False, (249, 400): False}


def test_signs_fit_into_their_plates(monkeypatch):
    for seed, case in enumerate(CASES):
        _, layout = layouts(monkeypatch, seed, case)
        for part in layout.parts:
            if isinstance(part, Button):
                top, left, bottom, right = part.box
                assert part.sign_side <= min(bottom - top, right - left) - 4
    assert screen_layout.GAP >= 1
