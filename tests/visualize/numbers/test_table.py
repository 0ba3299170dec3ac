"""The table of measures where a number does not exist; every number that does is in test_stack_body."""

import numpy as np
import pytest

from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, recording, tokens, with_sinks
from tests.visualize.written_out import digits
from visualize import stack
from visualize.numbers.table import numbers_json

TOKEN = 8
IMAGE, SPREAD, ENTROPY, LARGEST, PROBABILITY, INSIDE, WHOLE = (
    "Share of attention on the image",
    "Spread over the image: effective cells of 15",
    "Entropy over the image",
    "Largest value shown",
    "Probability of this token",
    "Jensen–Shannon divergence over the image",
    "Jensen–Shannon divergence of the whole row",
)


def table(shown, token=TOKEN, layer=1, **options):
    made = numbers_json(stack(shown, token, layers=[0, layer], **options), 1)
    return made, {row["label"]: (row["unit"], row["values"], row["deltas"]) for row in made["rows"]}


@pytest.fixture
def pair():
    return comparison(recording(focus=(TOKEN,)), recording("find-red", seed=1, focus=(TOKEN,)))


def test_the_contrasts_largest_value_is_in_percentage_points_and_the_rest_is_the_raw_rows(pair):
    _, raw = table(pair)
    _, rows = table(pair, view="contrast")
    values = []
    for each in pair.recordings:
        heat = written_out.contrast(each, TOKEN, [1])
        row, column = written_out.largest(heat)
        values.append(f"{digits(100 * heat[row, column])} at row {row}, column {column}")
    assert rows.pop(LARGEST) == ("percentage points", values, [""])
    raw.pop(LARGEST)
    assert rows == raw


def test_a_contrast_without_a_peak_says_none():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.04)
    maps[TOKEN] *= np.linspace(0.3, 0.9, 15).reshape(GRID)
    _, rows = table(comparison(recording(maps=maps)), view="contrast")
    assert rows[LARGEST] == ("percentage points", ["–"], [])


def test_where_sinks_are_left_out_the_largest_value_is_of_the_rest():
    pair = comparison(with_sinks(focus=(TOKEN,)), with_sinks("a", seed=1, focus=(TOKEN,)))
    seen = np.ones(GRID, bool)
    seen[0, 0] = False
    for view, allowed in (("raw", None), ("sink-masked", seen)):
        _, rows = table(pair, view=view)
        for each, words in zip(pair.recordings, rows[LARGEST][1], strict=True):
            heat = written_out.row(each, TOKEN, [1])
            row, column = written_out.largest(heat, allowed)
            assert words == f"{digits(100 * heat[row, column])} at row {row}, column {column}"


@pytest.mark.parametrize(("token", "ordinal"), [(7, 0), (8, 1), (9, 2), (6, None), (2, None), ((7, 8), None)])
def test_only_one_replayed_token_has_a_probability(pair, token, ordinal):
    _, rows = table(pair, token)
    if ordinal is None:
        assert PROBABILITY not in rows
    else:
        given = [100 * np.exp(float(each.logprobs[ordinal])) for each in pair.recordings]
        assert rows[PROBABILITY] == (
            "%",
            [digits(each) for each in given],
            [digits(given[1] - given[0], sign=True) + " pp"],
        )


def test_one_variant_has_one_column_and_no_differences():
    made, rows = table(comparison(recording("find-red")))
    assert (made["columns"], made["changes"]) == (["find-red"], [])
    assert list(rows) == [IMAGE, SPREAD, ENTROPY, LARGEST, PROBABILITY]
    assert all(deltas == [] for _, _, deltas in rows.values())


def test_own_answers_have_numbers_but_no_differences():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    made, rows = table(own, 7)
    assert (made["columns"], made["changes"]) == (["base", "a"], [])
    shares = [100 * written_out.row(each, 7, [1]).sum() for each in own.recordings]
    assert rows[IMAGE] == ("%", [digits(each) for each in shares], [])
    assert list(rows) == [IMAGE, SPREAD, ENTROPY, LARGEST]


def test_a_row_without_attention_on_the_image_has_dashes_and_no_difference_of_what_it_lacks():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.01)
    dark = maps.copy()
    dark[TOKEN] = 0
    three = (recording(maps=maps), recording("a", maps=dark), recording("b", maps=maps))
    _, rows = table(comparison(*three))
    assert rows[IMAGE] == ("%", ["15", "0", "15"], ["−15 pp", "0 pp"])
    assert rows[ENTROPY] == ("nats", [digits(np.log(15)), "–", digits(np.log(15))], ["", "0"])
    assert rows[LARGEST] == ("%", ["1 at row 0, column 0", "–", "1 at row 0, column 0"], ["", ""])
    assert rows[INSIDE] == ("bits", [], ["–", "0"])
    _, rows = table(comparison(*three), variants=["a", None])
    assert rows[ENTROPY] == ("nats", ["–", digits(np.log(15))], [""])
