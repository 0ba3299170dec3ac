"""What leaves of said places: plain values, the same in scene, table, box and a program's answer."""

import json
import math

import numpy as np
import pytest

from tests.visualize.factory import HEADS, LAYERS, comparison, first_answer, photo, recording, tokens
from tests.visualize.read_body import read_body
from tests.visualize.said_answers import answering, spelled
from visualize import box_scores
from visualize.analysis_json import analysis_json
from visualize.pictures.said_marks import style_json
from visualize.stacks.box_body import box_body, box_json
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

SIZE = (60, 100)
ANSWER = '{"point_2d": [530, 500], "label": "<b>"}'
BOX = (20, 40, 40, 60)  # the cell (1, 2)
ROW = tokens(answer=spelled(ANSWER), end=False)
AT = first_answer(ROW)


@pytest.fixture
def pair():
    """Base says nothing readable; find-red says (53, 30) and looks at the cell (1, 2) in all layers but the first."""
    maps = np.full((len(ROW), LAYERS, HEADS, 3, 5), 0.01)
    maps[:, 1:, :, 1, 2] = 0.3
    maps[:, 0, :, 0, 0] = 0.3
    base = answering(recording(row=ROW, seed=1, focus=(AT,)), "at (5, ")
    return comparison(
        base, answering(recording("find-red", row=ROW, maps=maps, focus=(AT,)), ANSWER), image=photo(SIZE)
    )


def test_a_scene_has_the_places_as_said_with_their_pixels(pair):
    first, second = json.loads(json.dumps(scene_json(pair), allow_nan=False))["said"]
    assert first == {
        "adapter": "base",
        "own": True,
        "replayed": False,
        "places": [],
        "unread": [{"text": "(5, ", "why": "the answer ends within it"}],
        "style": {"words": "orange cross or dashes", "colour": "#e69f00", "sides": 0, "dash": [9, 5]},
        "line": "base says no place, not read: “(5, ”, the answer ends within it",
    }
    assert (second["adapter"], second["own"], second["replayed"], second["unread"]) == ("find-red", True, True, [])
    assert (second["style"], second["line"]) == (style_json(1), "find-red says 53, 30 (x, y in pixels)")
    (place,) = second["places"]
    x, y = place.pop("numbers")
    assert place == {
        "kind": "point",
        "key": "point_2d",
        "label": "<b>",
        "unit": "0–1000 of width and height",
        "pixels": [[53, 30]],
        "on_photo": True,
    }
    for number, text in ((x, "530"), (y, "500")):
        assert number["text"] == text == ANSWER[slice(*number["span"])]
        assert "".join(ANSWER[token] for token in number["tokens"]) == text


def test_the_table_says_where_each_looks_and_says_and_how_far_apart(pair):
    header, _ = read_body(stack_body(pair, StackChoice(AT)))
    rows = header["numbers"][1]["rows"][-5:]
    base_peak = np.unravel_index(pair.recordings[0].by_token[AT, 1].argmax(), (3, 5))
    looked = f"{base_peak[1] * 20 + 10}, {base_peak[0] * 20 + 10}"
    assert [(row["label"], row["unit"], row["values"], row["deltas"]) for row in rows] == [
        ("Says", "x, y in pixels", ["–", "53, 30"], [""]),
        ("Looks at: the peak's cell", "x, y in pixels", [looked, "50, 30"], [""]),
        ("From where it looks to where it says", "pixels", ["–", "3"], [""]),
        ("From where it looks to where it says", "cells", ["–", "0.15"], [""]),
        ("Share of attention where it says", "%", ["–", "30"], [""]),
    ]
    far = header["numbers"][0]["rows"][-3]["values"][1]
    assert float(far) == pytest.approx(math.hypot(43, 20), abs=0.05)


def test_where_nobody_says_a_place_the_table_is_as_ever():
    header, _ = read_body(stack_body(comparison(), StackChoice(8)))
    assert not any("says" in row["label"].lower() for row in header["numbers"][0]["rows"])
    assert box_body(comparison(), BOX, StackChoice(8))["said"] == []
    assert "verdict" not in box_body(comparison(), BOX, StackChoice(8))["numbers"]["base"]


def test_changes_stand_where_both_say_a_place():
    row = tokens(answer=spelled("(500, 500)"), end=False)
    maps = np.full((len(row), LAYERS, HEADS, 3, 5), 0.01)
    maps[..., 1, 2] = 0.3
    both = [answering(recording(name, row=row, maps=maps), f"({x}, 500)") for name, x in ((None, 900), ("a", 500))]
    header, _ = read_body(stack_body(comparison(*both, image=photo(SIZE)), StackChoice(first_answer(row))))
    deltas = {(each["label"], each["unit"]): each["deltas"] for each in header["numbers"][0]["rows"][-5:]}
    assert deltas["From where it looks to where it says", "pixels"] == ["−40"]
    assert deltas["From where it looks to where it says", "cells"] == ["−2"]
    assert deltas["Share of attention where it says", "%"] == ["+29 pp"]


def test_a_box_has_a_verdict_per_layer_and_head_and_counts(pair):
    found = json.loads(json.dumps(box_body(pair, BOX, StackChoice(AT)), allow_nan=False))
    numbers = found["numbers"]
    scores = box_scores(pair, BOX, AT)
    assert scores.heads is not None
    for head in ["mean", *map(str, range(HEADS))]:
        verdicts = numbers["find-red"]["verdict"][head]
        assert verdicts[0] == "looks outside (1 % of its attention there), says inside (1 of 1 said)"
        assert verdicts[1:] == ["looks inside (30 % of its attention there), says inside (1 of 1 said)"] * (LAYERS - 1)
        for layer, words in enumerate(numbers["base"]["verdict"][head]):
            assert words.endswith(", says no place")
            inside = numbers["base"]["hit"][head][layer] == "peak inside"
            share = numbers["base"]["share"][head][layer]
            assert words.startswith(f"looks {'inside' if inside else 'outside'} ({share} of its attention")
    hits = sum(bool(hit) for hit in scores.heads.hit[0].ravel())
    assert found["said"] == [
        f"base: the peak lies in the box in {hits} of 12 heads; of what it says, 0 of 0 places do.",
        "find-red: the peak lies in the box in 9 of 12 heads; of what it says, 1 of 1 place does.",
    ]
    others = box_body(pair, (BOX, (0, 0, 10, 10)), StackChoice(AT + 1))["said"]
    assert others[1] == "find-red: the peak lies in the boxes in 4 of 4 layers; of what it says, 1 of 1 place does."


def test_a_program_gets_the_same_of_a_box(pair):
    base, adapter = (each["said"] for each in box_json(pair, (50, 0, 60, 100), AT)["scores"])
    assert base == {"places": 0, "inside": 0, "away": None}
    assert adapter == {"places": 1, "inside": 0, "away": 20}


def test_a_program_gets_places_beside_where_they_are_looked_at(pair):
    first, second = json.loads(json.dumps(analysis_json(pair, layer=1), allow_nan=False))["said"]
    drawn = {"style": style_json(1), "line": "find-red says 53, 30 (x, y in pixels)"}
    assert {key: value for key, value in second.items() if key != "looked"} | drawn == scene_json(pair)["said"][1]
    assert second["looked"] == {
        "at": [50, 30],
        "pixels": 3,
        "cells": pytest.approx(0.15),
        "share": pytest.approx(0.3),
    }
    assert [first["looked"][name] for name in ("pixels", "cells", "share")] == [None] * 3
    assert first["looked"]["at"] is not None
