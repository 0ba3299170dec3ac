"""What is read of an answer's points and boxes: every form by hand, round trips and hostile text by chance."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import InputError
from inference.places import RELATIVE, Frame
from inference.said import frame_in, said_in
from inference.spelling import Spelling

SIZE = (480, 640)  # height, width: not square


def places(answer, frame=RELATIVE):
    """Kind, numbers as said and label of each place; and that nothing was left unread."""
    said = said_in(answer, SIZE, frame)
    assert said.unread == (), said.unread
    return [(place.kind, [number.text for number in place.numbers], place.label) for place in said.places]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[412, 230]", [("point", ["412", "230"], "")]),
        ("It is at (412,230).", [("point", ["412", "230"], "")]),
        ("[10, 20, 30, 40]", [("box", ["10", "20", "30", "40"], "")]),
        ("[[1, 2], [3, 4]]", [("point", ["1", "2"], ""), ("point", ["3", "4"], "")]),
        ("between [1, 2] and (3.5, -4)", [("point", ["1", "2"], ""), ("point", ["3.5", "-4"], "")]),
        ('{"point_2d": [412, 230], "label": "cup"}', [("point", ["412", "230"], "cup")]),
        ('{"label": "cup", "point_2d": [412, 230]}', [("point", ["412", "230"], "cup")]),
        ("{'point_2d': [412, 230], 'label': 'cup'}", [("point", ["412", "230"], "cup")]),
        ('{"point_2d": ["412", "230"]}', [("point", ["412", "230"], "")]),
        (
            '```json\n[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "a } b"},\n\t{"bbox_2d": [5, 6, 7, 8]}\n]\n```',
            [("box", ["1", "2", "3", "4"], "a } b"), ("box", ["5", "6", "7", "8"], "")],
        ),
        ('{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]]}', [("box", list("1234"), ""), ("box", list("5678"), "")]),
        (
            'Tap it.\n<tool_call>\n{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": '
            "[447, 81]}}\n</tool_call>",
            [("point", ["447", "81"], "left_click")],
        ),
        (
            '<tool_call>{"name": "mobile_use", "arguments": {"coordinate": [1, 2], "action": "swipe", "coordinate2": '
            "[3, 4]}}</tool_call>",
            [("point", ["1", "2"], "swipe"), ("point", ["3", "4"], "swipe")],
        ),
        ('{"action": "wait", "coordinate": null}', []),
        ('{"action": "answer", "text": "not (1, 2) but 3"}', []),
        (
            '<points x1="115" y1="150" x2="885" y2="104" alt="wall">wall</points>',
            [("point", ["115", "150"], "wall"), ("point", ["885", "104"], "wall")],
        ),
        ("<point x='500' y='58'>it</point>", [("point", ["500", "58"], "")]),
        (
            "<|object_ref_start|>the eyes<|object_ref_end|><|box_start|>(176,106),(232,160)<|box_end|>",
            [("box", ["176", "106", "232", "160"], "the eyes")],
        ),
        ("click(start_box='<|box_start|>(5,6)<|box_end|>')", [("point", ["5", "6"], "")]),
        ("<box>[1, 2, 3, 4]</box>", [("box", list("1234"), "")]),
        ("(176,106),(232,160)", [("box", ["176", "106", "232", "160"], "")]),
        ("[(1,2),(3,4)]", [("point", ["1", "2"], ""), ("point", ["3", "4"], "")]),
        ("(1,2),(3,4),(5,6)", [("point", [x, y], "") for x, y in ("12", "34", "56")]),
        ("<think>perhaps (1, 2)</think>\n(3, 4)", [("point", ["3", "4"], "")]),
        ("<think>perhaps (1, 2), or", []),
        ("[1, 2, 3] of [7] in 2024, (one, two)", []),
        ("", []),
    ],
)
def test_every_form_is_read(answer: str, expected):
    assert places(answer) == expected


@pytest.mark.parametrize(
    ("answer", "text", "why"),
    [
        ('{"point_2d": [1, 2, 3]}', '"point_2d": [1, 2, 3]}', "3 numbers at point_2d, which has 2"),
        ('{"bbox_2d": [1, 2]}', '"bbox_2d": [1, 2]}', "2 numbers at bbox_2d, which has 4"),
        ('{"coordinate": "the left"}', '"coordinate": "the left"}', "no list of numbers stands at coordinate"),
        ('{"bbox_2d": [1, 2, 3', '"bbox_2d": [1, 2, 3', "the answer ends within it"),
        ("At [412, ", "[412, ", "the answer ends within it"),
        ("<|box_start|>(1,2", "<|box_start|>(1,2", "0 numbers in a box, which has 4"),
        ('<points x1="1" alt="a">', '<points x1="1" alt="a">', "x1 without its other axis"),
        ('<points coords="1 2 3">', '<points coords="1 2 3">', "a point without x and y"),
        ("<|quad_start|>(1,2),(3,4)<|quad_end|>", "<|quad_start|>(1,2),(3,4)<|quad_end|>", "four corners"),
        ('{"point_2d": [12345678901, 2]}', '"point_2d": [12345678901, 2]}', "no list of numbers"),
    ],
)
def test_what_is_no_place_is_shown_as_said_with_the_reason(answer: str, text: str, why: str):
    said = said_in(answer, SIZE)
    assert said.places == ()
    unread = said.unread[0]
    assert unread.text == text == answer[slice(*unread.span)]
    assert why in unread.why


def test_numbers_are_fractions_of_the_frame_and_land_on_the_photo():
    (relative,) = said_in("(500, 250)", SIZE).places
    assert relative.corners == ((320, 120),)
    assert relative.frame.words == "0–1000 of width and height"
    (pixels,) = said_in("(500, 250)", SIZE, Frame(1280, 960)).places
    assert pixels.corners == ((250, 125),)
    assert pixels.frame.words == "pixels of 1280 × 960"


def test_a_box_is_top_left_bottom_right_and_has_a_middle():
    (box,) = said_in('{"bbox_2d": [100, 250, 500, 750]}', SIZE).places
    assert box.box == (120, 64, 360, 320)
    assert box.middle == (192, 240)
    assert box.is_on_photo


def test_nothing_is_moved_onto_the_photo():
    (point,) = said_in("(1200, -5)", SIZE).places
    assert point.corners == ((768, -2.4),)
    assert not point.is_on_photo
    (turned,) = said_in('{"bbox_2d": [500, 250, 100, 750]}', SIZE).places
    assert [number.text for number in turned.numbers] == ["500", "250", "100", "750"]
    assert turned.box is None
    assert turned.is_on_photo


@pytest.mark.parametrize(
    ("words", "frame"),
    [
        ((None, "Where is it?"), RELATIVE),
        (("* The screen's resolution is 1092x728.", "Click it."), Frame(1092, 728)),
        ((None, "the screen resolution is 999 x 999"), Frame(999, 999)),
        (("The screen's resolution is 0x728.",), RELATIVE),
        (("Its resolution is 64x64.",), RELATIVE),
    ],
)
def test_the_tool_description_says_the_frame(words, frame):
    assert frame_in(words) == frame


@pytest.mark.parametrize("sides", [(0, 5), (5, -1), (float("nan"), 5), (5, float("inf"))])
def test_a_frame_has_two_sides_above_zero(sides):
    with pytest.raises(InputError, match="two sides above 0"):
        Frame(*sides)


def test_each_number_knows_the_tokens_that_spell_its_digits():
    pieces = ["At", " (", "4", "12", ",", " -", "3.", "5", ")", ""]
    (place,) = said_in("".join(pieces), SIZE, pieces=pieces).places
    assert [(number.text, number.tokens) for number in place.numbers] == [("412", (2, 3)), ("-3.5", (6, 7))]
    assert place.tokens == (2, 3, 6, 7)


def test_pieces_of_another_text_are_refused():
    with pytest.raises(InputError, match="another text"):
        said_in("(1, 2)", SIZE, pieces=["(1, ", "3)"])


NUMBERS = st.one_of(st.integers(-9_999, 9_999).map(str), st.decimals(-999, 999, places=2).map(lambda each: f"{each:f}"))
#: How each form is written, and how many numbers one place of it has.
FORMS = {
    "[{}, {}]": 2,
    "({},{})": 2,
    "[{}, {}, {}, {}]": 4,
    '{{"point_2d": [{}, {}], "label": "a"}}': 2,
    '{{"bbox_2d": [{}, {}, {}, {}]}}': 4,
    '<tool_call>{{"name": "mobile_use", "arguments": {{"action": "click", "coordinate": [{}, {}]}}}}</tool_call>': 2,
    '<point x="{}" y="{}" alt="b">b</point>': 2,
    "<|box_start|>({},{}),({},{})<|box_end|>": 4,
}


@st.composite
def written(draw):
    """An answer of several places in any forms, and their numbers."""
    text, expected = "", []
    for form in draw(st.lists(st.sampled_from(list(FORMS)), max_size=5)):
        numbers = draw(st.lists(NUMBERS, min_size=FORMS[form], max_size=FORMS[form]))
        text += draw(st.sampled_from(["", "so ", "\n", "```json\n", "[ ", "、"])) + form.format(*numbers) + " "
        expected.append(numbers)
    return text, expected


@settings(deadline=None)  # a machine that is busy elsewhere is no finding
@given(written(), st.randoms())
def test_what_is_written_is_read_whatever_tokens_spell_it(answer, random):
    text, expected = answer
    cuts = sorted(random.choices(range(len(text) + 1), k=random.randrange(12)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    said = said_in(text, SIZE, pieces=pieces)
    assert [[number.text for number in place.numbers] for place in said.places] == expected
    owner = [index for index, piece in enumerate(pieces) for _ in piece]  # of each character
    for place in said.places:
        for number in place.numbers:
            assert text[slice(*number.span)] == number.text
            digits = {owner[at] for at in range(*number.span) if text[at].isdigit()}
            assert set(number.tokens) >= digits  # and of tokens without text only such as begin a digit
            assert all(pieces[token] == "" for token in set(number.tokens) - digits)


WORDS = 'point_2d bbox_2d coordinate label <points <|box_start|> <|quad_start|> x1 y1 </think> "bbox_2d":[ (1,2), null'
PARTS = [*"[](){},:\"'\\<>|/ \n.-+=12９", *WORDS.split()]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=3)), max_size=60).map("".join))
def test_any_text_is_read_without_an_error(text: str):
    said = said_in(text, SIZE)
    for place in said.places:
        assert len(place.numbers) == (2 if place.kind == "point" else 4)
        assert all(text[slice(*number.span)] == number.text for number in place.numbers)
        assert all(re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?", number.text) for number in place.numbers)
        assert len(place.corners) == len(place.numbers) // 2
    for unread in said.unread:
        assert text[slice(*unread.span)] == unread.text


@settings(deadline=None)
@given(st.lists(st.text(max_size=4), max_size=8), st.integers(0, 12), st.integers(0, 12))
def test_tokens_are_those_that_share_a_character(pieces, start, stop):
    owned, at = [], 0
    for piece in pieces:
        owned.append(set(range(at, at + max(len(piece), 1))))
        at += len(piece)
    meant = set(range(start, stop))
    assert list(Spelling(pieces).tokens(start, stop)) == [i for i, span in enumerate(owned) if span & meant]


HOSTILE = """[ ( { " 'k':" "a":" \\" [1, (1,2), <points_x1= <box> "point_2d":[ _ 1, "bbox_2d":[[ <|box_start|>(1,2),
"aaaa"_ <ref> [1,_ ["1"_, [1,1 <point_x='1'_"""


@pytest.mark.parametrize("part", [re.sub("_(?!2d|start)", " ", each) for each in HOSTILE.split()])
def test_hostile_text_costs_no_more_per_character_than_any_other(part: str):
    """Where the work grew with the square of the length, this would run for hours."""
    said = said_in(part * (100_000 // len(part)), SIZE)
    assert all(place.kind == "point" for place in said.places)
