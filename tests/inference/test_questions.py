"""What may be asked about a change: what is refused with which sentence, what travels, and what it costs."""

import numpy as np
import pytest

from inference import AttributionOptions, ChanceOptions, KnockoutOptions, PartsOptions
from inference.errors import InputError, SelectionError
from inference.serialization import pack_question, unpack_question
from tests.scripted_backend import HEADS, LAYERS, MODEL

QUESTIONS = [
    AttributionOptions(),
    AttributionOptions(7, by="head", layers=(1, 0), outcome="margin", heads=((0, 3), (2, 1))),
    KnockoutOptions((5, 3), 6, rows="answer", layers=(2,), controls=3, shape="scattered", seed=9),
    ChanceOptions(5, controls=2, seed=1),
    PartsOptions(None, strengths=(0, 1)),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_comes_back_from_its_plain_values(question):
    assert unpack_question(pack_question(question)) == question


def test_cells_are_in_order_and_strengths_are_numbers():
    assert KnockoutOptions((5, 3, 4)).cells == (3, 4, 5)
    assert PartsOptions(strengths=(0, 1)).strengths == (0.0, 1.0)


def test_heads_may_come_from_json_or_from_an_array():
    expected = AttributionOptions(heads=((0, 3), (2, 1))).heads
    for given in ([[0, 3], [2, 1]], np.array([[0, 3], [2, 1]])):
        assert AttributionOptions(heads=given).heads == expected == ((0, 3), (2, 1))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (KnockoutOptions, {"cells": (3, 3)}),
        (KnockoutOptions, {"cells": (-1,)}),
        (KnockoutOptions, {"cells": (1,), "rows": "image"}),
        (KnockoutOptions, {"cells": (1,), "layers": ()}),
        (KnockoutOptions, {"cells": (1,), "controls": 257}),
        (KnockoutOptions, {"cells": (1,), "shape": "round"}),
        (KnockoutOptions, {"cells": (1,), "seed": -1}),
        (ChanceOptions, {"controls": 0}),
        (ChanceOptions, {"token": True}),
        (PartsOptions, {"strengths": ()}),
        (PartsOptions, {"strengths": (1, 0)}),
        (PartsOptions, {"strengths": (0, 5)}),
        (PartsOptions, {"strengths": ("1",)}),
    ],
)
def test_what_cannot_be_asked_is_refused(kind, wrong):
    with pytest.raises(SelectionError):
        kind(**wrong)


@pytest.mark.parametrize("values", [{}, {"kind": "riddle"}, {"kind": "chance", "cells": (1,)}, {"kind": "knockout"}])
def test_plain_values_that_are_no_question_are_refused(values):
    with pytest.raises(InputError, match="question"):
        unpack_question(values)


def test_layers_that_the_model_does_not_have_are_refused():
    for question in (AttributionOptions(by="head", layers=(LAYERS,)), KnockoutOptions((0,), layers=(LAYERS,))):
        with pytest.raises(SelectionError, match=f"layers 0–{LAYERS - 1}"):
            question.check(MODEL)


def test_its_price_is_known_before_it_runs():
    assert AttributionOptions().replays(MODEL, 2) == 8
    assert AttributionOptions(by="layer").replays(MODEL, 2) == 8 + 2 * LAYERS
    assert AttributionOptions(by="head", layers=(1,)).replays(MODEL, 2) == 8 + 2 * (LAYERS + HEADS)
    assert AttributionOptions(heads=((0, 0), (1, 1))).replays(MODEL, 2) == 10
    assert AttributionOptions(by="layer", heads=((0, 0),)).replays(MODEL, 2) == 10 + 2 * LAYERS
    assert KnockoutOptions((0,), controls=16).replays(MODEL, 2) == 2 * 18
    assert ChanceOptions(controls=16).replays(MODEL, 2) == 19
    assert PartsOptions(strengths=(0, 1)).replays(MODEL, 2) == 2 + 7 + 2
