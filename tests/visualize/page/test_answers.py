"""What the page says of the answers: rows, chips with their shares, warnings."""

from dataclasses import replace

import numpy as np
import pytest

from tests.visualize.factory import GRID, HEADS, LAYERS, MODEL, comparison, recording, tokens
from visualize.page import Choice, answers_json

ENDED = (7, 8, 9)  # the two answer tokens and the end


def wrote(recording, text, ids):
    return replace(recording, answer=text, answer_ids=ids)


@pytest.fixture
def pair():
    """The adapter wrote the answer that both replay: its ids are the tokens'."""
    base, adapter = recording(), recording("find-red", seed=1)
    ids = tuple(base.tokens[index].id for index in ENDED)
    return comparison(wrote(base, "blue cross", (5, 6)), wrote(adapter, "red circle", ids))


@pytest.mark.parametrize(
    ("choice", "layers"),
    [(Choice(0, 7), [0]), (Choice(2, 8), [2]), (Choice(2, 7, window=1), [1, 2, 3]), (Choice(0, 7, window=1), [0, 1])],
)
def test_the_replayed_answer_is_chips_with_each_variants_share_in_the_chosen_layers(pair, choice, layers):
    base, adapter = answers_json(pair, choice, pair)["rows"]
    assert (base["variant"], base["text"], base["replayed"], base["chips"]) == ("base", "blue cross", False, None)
    assert (adapter["variant"], adapter["text"], adapter["replayed"]) == ("find-red", "red circle", True)
    for index, text, chip in zip(ENDED, ("red", "circle", "end"), adapter["chips"], strict=True):
        assert (chip["index"], chip["text"], chip["chosen"]) == (index, text, index == choice.token)
        assert chip["role"] == ("end" if index == 9 else "answer")
        shares = [np.mean([each.by_token[index, k].sum(dtype=float) for k in layers]) for each in pair.recordings]
        assert chip["shares"] == pytest.approx(shares, abs=1e-6)
        assert shares[0] != pytest.approx(shares[1], rel=0.01)


def test_the_words_of_the_question_are_chips_too(pair):
    question = answers_json(pair, Choice(1, 3), pair)["question"]
    assert [(chip["index"], chip["text"], chip["role"]) for chip in question] == [
        (1, "What", "prompt"),
        (2, "is", "prompt"),
        (3, "red", "prompt"),
        (4, "?", "prompt"),
    ]
    assert [chip["chosen"] for chip in question] == [False, False, True, False]
    for chip in question:
        shares = [each.by_token[chip["index"], 1].sum(dtype=float) for each in pair.recordings]
        assert chip["shares"] == pytest.approx(shares, abs=1e-6)


@pytest.mark.parametrize(("words", "shown"), [(48, True), (49, False)])
def test_a_long_question_has_no_chips(words, shown):
    row = tokens(prompt=(" word",) * words)
    one = comparison(recording(row=row))
    assert bool(answers_json(one, Choice(0, 1), one)["question"]) == shown


def test_after_a_click_the_answers_are_those_that_were_written(pair):
    clicked = comparison(*(replace(each, answer=None, answer_ids=(), focus=(8,)) for each in pair.recordings))
    rows = answers_json(clicked, Choice(0, 8), pair)["rows"]
    assert [(row["text"], row["replayed"]) for row in rows] == [("blue cross", False), ("red circle", True)]


def test_where_both_wrote_the_replayed_answer_the_adapters_row_has_the_chips(pair):
    ids = pair.recordings[1].answer_ids
    same = comparison(wrote(pair.recordings[0], "red circle", ids), pair.recordings[1])
    assert [row["replayed"] for row in answers_json(same, Choice(0, 7), same)["rows"]] == [False, True]


def test_an_answer_that_nobody_wrote_is_nobodys(pair):
    given = comparison(*(wrote(each, None, ()) for each in pair.recordings))
    assert [(row["text"], row["chips"]) for row in answers_json(given, Choice(0, 7), given)["rows"]] == [
        (None, None)
    ] * 2


def test_own_answers_are_chips_of_their_own():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    made = answers_json(own, Choice(1, 7), own)
    for row, each, words in zip(made["rows"], own.recordings, (["red", "circle", "end"], ["blue", "end"]), strict=True):
        assert row["replayed"]
        assert [chip["text"] for chip in row["chips"]] == words
        for chip in row["chips"]:
            assert chip["shares"] == pytest.approx([each.by_token[chip["index"], 1].sum(dtype=float)], abs=1e-6)
    assert made["legend"] == "Under each token: its share of attention on the image."
    assert made["warnings"] == ["Both answers are the same: what changed, if anything, is only where the model looked."]


def test_the_legend_names_both_variants_in_order(pair):
    assert answers_json(pair, Choice(0, 7), pair)["legend"] == (
        "Under each token: its share of attention on the image, base → find-red."
    )
    alone = comparison(recording("find-red"))
    assert (
        answers_json(alone, Choice(0, 7), alone)["legend"] == "Under each token: its share of attention on the image."
    )


SAME_ANSWERS = "Both answers are the same: what changed, if anything, is only where the model looked."
SAME_PLACES = "The two variants look at exactly the same places: every difference is 0."
ROUNDING = "These differences are within rounding noise: do not read anything into their pattern."


def warnings(*recordings, written=None, dtype="float32", notes=()):
    shown = comparison(*recordings, model=replace(MODEL, dtype=dtype), notes=notes)
    return answers_json(shown, Choice(0, 7), written or shown)["warnings"]


def test_equal_answers_are_said_also_after_a_click(pair):
    one, two = pair.recordings
    assert warnings(one, two) == []
    assert warnings(wrote(one, "x", ()), wrote(two, "x", ())) == [SAME_ANSWERS]
    assert warnings(wrote(one, None, ()), wrote(two, None, ())) == []
    clicked = [wrote(each, None, ()) for each in pair.recordings]
    said = comparison(wrote(one, "x", ()), wrote(two, "x", ()), notes=("Of the first.",))
    assert warnings(*clicked, written=said, notes=("Of the second.",)) == [SAME_ANSWERS, "Of the first."]


def test_equal_maps_are_said():
    assert warnings(recording(), recording("untouched")) == [SAME_ANSWERS, SAME_PLACES]
    assert warnings(recording()) == []


def moved_by(bits):
    """Even attention, and the same with so much moved between two cells of token 7 that its change is `bits`.

    A share d that moves from one cell of share s to another changes the row by d² / (4 s ln 2) bits, to second order.
    """
    base = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.5 / 15)
    adapter = base.copy()
    d = np.sqrt(bits * 4 * np.log(2) * 0.5 / 15)
    adapter[7, :, :, 0, 0] += d
    adapter[7, :, :, 2, 3] -= d
    return recording(maps=base), wrote(recording("a", maps=adapter), "other", ())


@pytest.mark.parametrize(
    ("bits", "dtype", "is_noise"),
    [
        (0.5e-9, "float32", True),
        (2e-9, "float32", False),
        (1e-4, "float32", False),
        (0.5e-4, "bfloat16", True),
        (0.5e-4, "float16", True),
        (2e-4, "bfloat16", False),
    ],
)
def test_a_change_below_what_rounding_makes_is_called_noise(bits, dtype, is_noise):
    assert warnings(*moved_by(bits), dtype=dtype) == ([ROUNDING] if is_noise else [])
