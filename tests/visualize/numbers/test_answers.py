"""What is said of the answers: whose is replayed, what stands under its tokens, what to beware of."""

from dataclasses import replace

import numpy as np
import pytest

from tests.visualize.factory import GRID, HEADS, LAYERS, MODEL, comparison, recording, tokens
from visualize.numbers.answers import NOISE, legend, own_words, replayed_by, warnings
from visualize.numbers.change import change_per_token

ENDED = (7, 8, 9)  # the two answer tokens and the end


def wrote(each, text, ids):
    return replace(each, answer=text, answer_ids=ids)


@pytest.fixture
def pair():
    """The adapter wrote the answer that both replay: its ids are the tokens'."""
    base, adapter = recording(), recording("find-red", seed=1)
    ids = tuple(base.tokens[index].id for index in ENDED)
    return comparison(wrote(base, "blue cross", (5, 6)), wrote(adapter, "red circle", ids))


def test_the_replayed_answer_is_that_of_the_variant_whose_tokens_these_are(pair):
    assert replayed_by(pair, pair) == "find-red"
    base, adapter = pair.recordings
    turned = comparison(wrote(base, "red circle", adapter.answer_ids), wrote(adapter, "blue cross", (5, 6)))
    assert replayed_by(turned, turned) is None


def test_after_a_replay_it_is_looked_up_among_the_answers_that_were_written(pair):
    replayed = comparison(*(wrote(each, None, ()) for each in pair.recordings))
    assert replayed_by(replayed, pair) == "find-red"


def test_where_both_wrote_it_it_is_the_adapters(pair):
    base, adapter = pair.recordings
    same = comparison(wrote(base, "red circle", adapter.answer_ids), adapter)
    assert replayed_by(same, same) == "find-red"


def test_an_answer_that_nobody_wrote_is_nobodys(pair):
    given = comparison(*(wrote(each, None, ()) for each in pair.recordings))
    assert replayed_by(given, given) is False


@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        ((7, 5, 9), 1),
        ((5, 8, 9), 0),
        ((7, 8), None),  # the replayed one goes on
        ((7, 8, 9), None),
        ((7, 8, 9, 5), 3),  # it goes on itself
        ((7, 9), 1),
        ((), None),
    ],
)
def test_own_words_part_at_the_first_other_token(pair, ids, parts):
    pieces = (" red", "\n", "", " ")[: max(0, len(ids) - 1)]
    own = replace(pair.recordings[0], answer_ids=ids, answer_pieces=(*pieces, "") if ids else ())
    labels = ["red", "\\n", "…", "␣"][: len(pieces)]
    assert own_words(own, pair) == ((*labels, "end") if ids else (), parts)
    cut = replace(own, answer_pieces=(*pieces, "x") if ids else ())
    assert own_words(cut, pair)[0][-1:] == (("x",) if ids else ())


def test_the_legend_names_the_variants_in_order(pair):
    words = "Under each token: its share of attention on the image, mean of all heads"
    assert legend(pair) == f"{words}, base → find-red."
    assert legend(comparison(*pair.recordings, recording("c"))) == f"{words}, base → find-red → c."
    assert legend(comparison(recording("find-red"))) == f"{words}."
    assert legend(comparison(recording(), recording("a", row=tokens(answer=(" blue",))), own=True)) == f"{words}."


SAME_ANSWERS = (
    "Both answers are the same: what changed, if anything, is where the model looked and how likely they are."
)
NONE = np.zeros(2)
MUCH = np.array([0.3, 0.1])


def said(*answers, changes, dtype="float32", notes=()):
    """The warnings of variants base, a, b … that wrote these answers and changed so much."""
    recordings = [wrote(recording(name), text, ()) for name, text in zip((None, "a", "b"), answers, strict=False)]
    shown = comparison(*recordings, model=replace(MODEL, dtype=dtype), notes=notes)
    return warnings(shown, shown, changes)


def test_equal_answers_are_said():
    assert said("x", "y", changes={"a": MUCH}) == []
    assert said("x", "x", changes={"a": MUCH}) == [SAME_ANSWERS]
    assert said(None, None, changes={"a": MUCH}) == []
    assert said("x", changes={}) == []
    assert said("x", "x", "y", changes={"a": MUCH, "b": MUCH}) == []
    assert said("x", "x", "x", changes={"a": MUCH, "b": MUCH}) == [SAME_ANSWERS.replace("Both", "All")]


def test_whose_answers_are_equal_is_said_where_another_is_replayed():
    written = comparison(*(wrote(recording(name), "x", ()) for name in (None, "a")))
    given = comparison(
        *(replace(recording(name), answer=None, answer_ids=(), answer_pieces=()) for name in (None, "a"))
    )
    same = "Both wrote the same answer themselves; the one that is replayed was given."
    assert warnings(given, written, {"a": MUCH}) == [same]
    assert warnings(given, given, {"a": MUCH}) == []


def test_what_was_noted_when_the_answers_were_written_is_said():
    assert said("x", "x", changes={"a": MUCH}, notes=("Beware.",)) == [SAME_ANSWERS, "Beware."]


def test_equal_maps_are_said():
    assert said("x", "y", changes={"a": NONE}) == [
        "The two variants look at exactly the same places: every difference is 0."
    ]
    assert said("x", "y", "z", changes={"a": MUCH, "b": NONE}) == [
        "b and base look at exactly the same places: every difference is 0."
    ]
    assert said("x", "y", changes={}) == []


@pytest.mark.parametrize(
    ("bits", "dtype", "is_noise"),
    [
        (0.99e-9, "float32", True),
        (1.01e-9, "float32", False),
        (1e-4, "float32", False),
        (0.99e-4, "bfloat16", True),
        (0.99e-4, "float16", True),
        (1.01e-4, "bfloat16", False),
    ],
)
def test_a_change_below_what_rounding_makes_is_called_noise(bits, dtype, is_noise):
    few = np.array([bits / 2, bits])
    words = "are within rounding noise: do not read anything into their pattern."
    assert said("x", "y", changes={"a": few}, dtype=dtype) == ([f"These differences {words}"] if is_noise else [])
    several = said("x", "y", "z", changes={"a": MUCH, "b": few}, dtype=dtype)
    assert several == ([f"Differences between b and base {words}"] if is_noise else [])


def test_a_thousandth_of_the_attention_that_moves_is_far_above_what_rounding_makes_in_float32():
    even = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.5 / 15)
    moved = even.copy()
    moved[7, :, :, 0, 0] += 1e-3
    moved[7, :, :, 2, 3] -= 1e-3
    change = change_per_token(recording(maps=even), recording("a", maps=moved)).max()
    assert change == pytest.approx(1e-3**2 / (4 * np.log(2) * 0.5 / 15), rel=0.01)  # to second order
    assert change > 10_000 * NOISE
