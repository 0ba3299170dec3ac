"""The digits of an answer as a choice of tokens: what they show, where a result opens, what a browser is told."""

import math

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, first_answer, recording, tokens
from tests.visualize.read_body import read_body
from visualize import Selection, opening, select, stack
from visualize.analysis_json import analysis_json
from visualize.page.choice import Choice, opening_choice
from visualize.report.contents import report_contents
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

ROW = tokens(answer=("(", "4", "12", ", ", "7", ")", " of 3"))
START = first_answer(ROW)
DIGITS = [START + 1, START + 2, START + 4]


def recorded(name=None, *, seed=0, focus=DIGITS, row=ROW, **more):
    return recording(name, row=row, seed=seed, focus=focus, **more)


@pytest.fixture
def three():
    return comparison(recorded(), recorded("a", seed=1), recorded("b", seed=2))


def test_they_are_the_mean_of_their_rows_and_have_their_heads(three):
    for each in three.recordings:
        for layer in range(LAYERS):
            mean = [
                [math.fsum(float(each.by_token[token, layer, r, c]) for token in DIGITS) / 3 for c in range(5)]
                for r in range(3)
            ]
            np.testing.assert_allclose(select(each, Selection(layer, "digits")), mean, atol=1e-7)
            np.testing.assert_array_equal(select(each, Selection(layer, "digits", 2)), each.by_head[layer, 2])
    with pytest.raises(SelectionError, match="Single heads are recorded for tokens"):
        select(recorded(focus=DIGITS[:2]), Selection(0, "digits", 1))


def test_an_answer_without_digits_has_none_to_choose():
    plain = comparison(recording())
    with pytest.raises(SelectionError, match="holds no digit"):
        stack(plain, "digits")
    assert scene_json(plain)["digits"] == []


def bits(pair, layer):
    first, second = (np.mean([written_out.row(each, token, [layer]) for token in DIGITS], axis=0) for each in pair)
    return written_out.bits_of_row(first, second)


def test_a_result_whose_answer_says_a_place_opens_on_its_digits_where_their_mean_row_differs_most(three):
    base, *others = three.recordings
    found = {each.adapter: [bits((base, each), layer) for layer in range(LAYERS)] for each in others}
    for each in others:
        layer = int(np.argmax(found[each.adapter]))
        assert opening(three, None, each.adapter) == opening(three, each.adapter, None) == (layer, "digits")
    most = max(found, key=lambda name: np.mean(found[name]))
    opens = scene_json(three)["opening"]
    assert (opens["token"], opens["adapter"], opens["layer"]) == ("digits", most, int(np.argmax(found[most])))
    assert scene_json(three)["digits"] == scene_json(three)["recorded"] == DIGITS


def test_where_nothing_differs_or_nothing_is_compared_it_opens_on_them_in_the_middle_layer():
    same = comparison(recorded(), recorded("untouched"))
    own = comparison(recorded(), recorded("a", seed=1, row=tokens(answer=("(1", ",2", ")")), focus=(START,)), own=True)
    for shown in (same, comparison(recorded()), own):
        opens = scene_json(shown)["opening"]
        assert (opens["token"], opens["layer"]) == ("digits", 2)
    assert scene_json(same)["opening"]["adapter"] == "untouched"


def test_digits_that_are_no_place_are_on_offer_and_not_opened_on():
    row = tokens(answer=("a", " 3"))
    counted = comparison(recording(row=row), recording("a", row=row, seed=1))
    made = scene_json(counted)
    assert made["digits"] == [first_answer(row) + 1]
    assert isinstance(made["opening"]["token"], int)
    assert analysis_json(counted)["maps"][0]["token"] == first_answer(row)


def test_a_program_gets_them_where_it_names_no_token(three):
    assert analysis_json(three)["maps"] == analysis_json(three, token="digits")["maps"]
    entry = analysis_json(three, layer=1, head=2)["maps"][1]
    assert entry["token"] == "digits"
    np.testing.assert_array_equal(np.array(entry["heatmap"], np.float32), three.recordings[1].by_head[1, 2])


def test_a_stack_of_them_says_which_tokens_it_is_of(three):
    header, maps = read_body(stack_body(three, StackChoice("digits")))
    assert header["choice"]["token"] == "digits"
    listed = ", ".join(map(str, DIGITS))
    assert f"mean of tokens {listed} “4127”" in header["panes"][0]["lines"][0]
    assert header["headings"][0].startswith(f"Predicting the mean of tokens {listed}")
    shown = select(three.recordings[0], Selection(1, "digits"))
    np.testing.assert_allclose(maps["base"][1], shown, rtol=1e-3, atol=1e-7)


def test_of_own_answers_those_that_hold_digits_are_shown():
    other = tokens(answer=("no", "ne"))
    own = comparison(recorded("a"), recording(row=other), recorded("b", seed=1), own=True)
    assert StackChoice("digits").variants(own) == ("a", "b")


def test_the_page_reads_and_opens_on_them(three):
    choice = opening_choice(three)
    assert (choice.token, choice.focus(three), choice.is_recorded(three)) == ("digits", tuple(DIGITS), True)
    assert Choice.read(choice.json(three), three).json(three) == choice.json(three)
    assert "tokens-" in choice.file_name(three, "png")


def test_a_report_holds_their_heads(three):
    made = report_contents(three, StackChoice("digits"), 10_000_000)
    assert [key for key in made.heads if '"digits"' in key]
    assert "every head for the digits of the answer." in made.words[1]
    assert GRID == (3, 5)
    assert sum('"token": "digits", "head": ' in key and '"head": "m' not in key for key in made.stacks) == HEADS
