"""Which numbers fit into a report: counted by what is packed, in a room whose size is added up by hand."""

import json
import math
import sys
from dataclasses import replace

import pytest

from tests.visualize.factory import MODEL, comparison, recording, tokens
from visualize.report.contents import report_contents
from visualize.report.pack import packed
from visualize.stacks.stack_choice import StackChoice

HEADS = 8


@pytest.fixture(name="given")
def _given():
    pair = recording(heads=HEADS), recording("a", seed=1, heads=HEADS)
    return comparison(*pair, model=replace(MODEL, num_heads=HEADS))


@pytest.fixture(name="packings")
def _packings(monkeypatch):
    """The bodies that were packed; each costs time."""
    bodies = []
    monkeypatch.setattr(
        sys.modules["visualize.report.contents"], "packed", lambda body: bodies.append(body) or packed(body)
    )
    return bodies


def of_heads(stacks):
    return [key for key in stacks if json.loads(key)["head"] != "mean"]


def test_heads_are_inside_if_all_of_them_fit_and_else_leave_their_room_to_what_follows(given, packings):
    shown = StackChoice(7)  # the token whose heads were recorded
    whole = {key: len(text) for key, text in report_contents(given, shown, 10**9).stacks.items()}
    opening, heads = sum(list(whole.values())[:3]), sum(whole[key] for key in of_heads(whole))

    fitting = report_contents(given, shown, round(opening + 1.1 * heads))
    assert of_heads(fitting.stacks) == of_heads(whole)
    assert len(of_heads(whole)) == HEADS + 1
    assert list(fitting.heads) == [next(iter(whole))]

    packings.clear()
    room = round(opening + 0.7 * heads)
    without = report_contents(given, shown, room)
    expected = []
    for key in [key for key in whole if key not in of_heads(whole)]:
        if whole[key] <= room:
            expected.append(key)
            room -= whole[key]
    assert list(without.stacks) == expected
    assert not without.heads
    assert len(expected) >= 8
    assert len(packings) <= len(whole) - len(of_heads(whole)) + HEADS // 2  # given up after a few


def test_what_does_not_fit_is_not_even_packed(given, packings):
    opening = StackChoice(7)
    contents = report_contents(given, opening, 0)
    assert list(contents.stacks) == [
        json.dumps({"token": 7, "head": "mean", "view": "raw", "window": 0, "against": "base"})
    ]
    assert len(packings) == 1
    whole = len(next(iter(contents.stacks.values())))
    assert len(report_contents(given, opening, whole).stacks) == 1
    assert len(packings) == 2


def test_what_fills_the_room_to_the_last_letter_is_inside(given):
    opening = StackChoice(7)
    first, second = list(report_contents(given, opening, 10**9).stacks.values())[:2]
    exactly = report_contents(given, opening, len(first) + len(second)).stacks
    assert list(exactly.values())[:2] == [first, second]
    assert second not in report_contents(given, opening, len(first) + len(second) - 1).stacks.values()


def test_a_report_that_opens_on_a_window_and_a_head_holds_the_plain_layers_of_the_mean_too(given):
    contents = report_contents(given, StackChoice(7, head=2, window=1), 10**9)
    found = [json.loads(key) for key in contents.stacks]
    assert (found[0]["head"], found[0]["window"]) == (2, 1)
    assert [(each["head"], each["view"], each["window"]) for each in found[1:4]] == [
        ("mean", "raw", 0),
        ("mean", "sink-masked", 0),
        ("mean", "contrast", 0),
    ]
    assert (
        "Also for token 7: sink-masked view; contrast view; raw view, ±1 layers; raw view, ±2 layers. Also for the "
        "mean of tokens 7–8: raw view."
    ) in contents.words[2]


def test_an_answer_of_one_token_has_no_mean_beside_it():
    row = tokens(answer=(" red",))
    contents = report_contents(comparison(recording(row=row), recording("a", row=row, seed=1)), StackChoice(7), 10**9)
    assert [key for key in contents.stacks if isinstance(json.loads(key)["token"], list)] == []
    assert contents.words[0] == "Inside, for all layers: the mean of all heads for tokens 1–4, 7–8."


def test_a_number_in_a_box_that_no_browser_could_read_is_never_written(given, monkeypatch):
    monkeypatch.setattr(sys.modules["visualize.report.contents"], "box_body", lambda *_: {"share": math.nan})
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_contents(given, StackChoice(7), 0, ((1, 2, 30, 40),))
