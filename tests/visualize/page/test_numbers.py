"""Every figure of the page's table, written out from the record."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, recording, tokens, with_sinks
from tests.visualize.written_out import digits
from visualize.page import Choice, draw, numbers_json

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


@pytest.fixture
def pair():
    return comparison(recording(focus=(TOKEN,)), recording("find-red", seed=1, focus=(TOKEN,)))


def table(shown, **choice):
    made = numbers_json(draw(shown, Choice(**{"layer": 1, "token": TOKEN, **choice})))
    return made, {row["label"]: (row["unit"], row["values"], row["delta"]) for row in made["rows"]}


@pytest.mark.parametrize(
    ("choice", "layers"),
    [
        ({"layer": 0}, [0]),
        ({"layer": 3}, [3]),
        ({"layer": 2, "window": 1}, [1, 2, 3]),
        ({"layer": 3, "window": 1}, [2, 3]),
        ({"layer": 2, "head": 1}, [2]),
        ({"layer": 0, "window": 2, "head": 2}, [0, 1, 2]),
    ],
)
def test_every_number_of_a_pair_is_the_records(pair, choice, layers):
    made, rows = table(pair, **choice)
    base, adapter = (written_out.row(each, TOKEN, layers, choice.get("head", "mean")) for each in pair.recordings)
    shares, spreads = [100 * base.sum(), 100 * adapter.sum()], [written_out.nats(base), written_out.nats(adapter)]
    cells = [math.exp(spread) for spread in spreads]
    given = [100 * math.exp(each.logprobs[1]) for each in pair.recordings]
    places = [written_out.largest(heat) for heat in (base, adapter)]
    peaks = [
        f"{digits(100 * heat[place])} at row {place[0]}, column {place[1]}"
        for heat, place in zip((base, adapter), places, strict=True)
    ]
    assert rows == {
        IMAGE: ("%", [digits(each) for each in shares], digits(shares[1] - shares[0], sign=True) + " pp"),
        SPREAD: ("cells", [digits(each) for each in cells], digits(cells[1] - cells[0], sign=True)),
        ENTROPY: ("nats", [digits(each) for each in spreads], digits(spreads[1] - spreads[0], sign=True)),
        LARGEST: ("%", peaks, ""),
        PROBABILITY: ("%", [digits(each) for each in given], digits(given[1] - given[0], sign=True) + " pp"),
        INSIDE: ("bits", [], digits(written_out.bits_over_image(base, adapter))),
        WHOLE: ("bits", [], digits(written_out.bits_of_row(base, adapter))),
    }
    assert list(rows) == [IMAGE, SPREAD, ENTROPY, LARGEST, PROBABILITY, INSIDE, WHOLE]
    assert (made["columns"], made["change"]) == (["base", "find-red"], "find-red − base")


def test_a_maximum_over_heads_has_no_share_and_no_whole_row(pair):
    _, rows = table(pair, head="max")
    base, adapter = (written_out.row(each, TOKEN, [1], "max") for each in pair.recordings)
    assert rows[IMAGE] == ("%", ["–", "–"], "")
    assert rows[INSIDE] == ("bits", [], digits(written_out.bits_over_image(base, adapter)))
    assert WHOLE not in rows


def test_the_contrasts_largest_value_is_in_percentage_points_and_the_rest_is_the_raw_rows(pair):
    _, raw = table(pair)
    _, rows = table(pair, view="contrast")
    values = []
    for each in pair.recordings:
        heat = written_out.contrast(each, TOKEN, [1])
        row, column = written_out.largest(heat)
        values.append(f"{digits(100 * heat[row, column])} at row {row}, column {column}")
    assert rows.pop(LARGEST) == ("percentage points", values, "")
    raw.pop(LARGEST)
    assert rows == raw


def test_a_contrast_without_a_peak_says_none():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.04)
    maps[TOKEN] *= np.linspace(0.3, 0.9, 15).reshape(GRID)
    _, rows = table(comparison(recording(maps=maps)), view="contrast")
    assert rows[LARGEST] == ("percentage points", ["–"], "")


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


@pytest.mark.parametrize(("token", "ordinal"), [(7, 0), (8, 1), (9, 2), (6, None), (2, None)])
def test_only_replayed_tokens_have_a_probability(pair, token, ordinal):
    _, rows = table(pair, token=token)
    if ordinal is None:
        assert PROBABILITY not in rows
    else:
        assert rows[PROBABILITY][1] == [digits(100 * math.exp(each.logprobs[ordinal])) for each in pair.recordings]


def test_one_variant_has_one_column_and_no_differences():
    made, rows = table(comparison(recording("find-red")))
    assert (made["columns"], made["change"]) == (["find-red"], "")
    assert list(rows) == [IMAGE, SPREAD, ENTROPY, LARGEST, PROBABILITY]
    assert {delta for _, _, delta in rows.values()} == {""}


def test_own_answers_have_numbers_but_no_differences():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    made, rows = table(own, token=7)
    assert (made["columns"], made["change"]) == (["base", "a"], "")
    shares = [100 * written_out.row(each, 7, [1]).sum() for each in own.recordings]
    assert rows[IMAGE] == ("%", [digits(each) for each in shares], "")
    assert list(rows) == [IMAGE, SPREAD, ENTROPY, LARGEST]


def test_a_row_without_attention_on_the_image_has_dashes():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.01)
    dark = maps.copy()
    dark[TOKEN] = 0
    _, rows = table(comparison(recording(maps=maps), recording("a", maps=dark)))
    assert rows[IMAGE] == ("%", ["15", "0"], "−15 pp")
    assert rows[ENTROPY] == ("nats", [digits(math.log(15)), "–"], "")
    assert rows[LARGEST] == ("%", ["1 at row 0, column 0", "–"], "")
    assert rows[INSIDE] == ("bits", [], "–")


def test_the_table_does_not_depend_on_how_it_is_drawn(pair):
    plain = numbers_json(draw(pair, Choice(1, TOKEN)))
    drawn = asdict(Choice(1, TOKEN)) | {
        "colormap": "magma",
        "opacity": 0.1,
        "smooth": False,
        "log": True,
        "percentile": 90,
    }
    assert numbers_json(draw(pair, Choice(**drawn))) == plain
