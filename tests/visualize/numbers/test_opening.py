from dataclasses import replace

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, MODEL, comparison, recording, tokens
from visualize import middle_layer, opening
from visualize.numbers.opening import questioned


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_pair_opens_on_the_answer_token_and_layer_whose_rows_differ_most(seed):
    base, adapter = recording(), recording("a", seed=seed)
    bits = {
        (layer, token): written_out.bits_of_row(*(written_out.row(each, token, [layer]) for each in (base, adapter)))
        for layer in range(LAYERS)
        for token in (7, 8)
    }
    token = max((7, 8), key=lambda token: np.mean([bits[layer, token] for layer in range(LAYERS)]))
    layer = max(range(LAYERS), key=lambda layer: bits[layer, token])
    assert opening(comparison(base, adapter), None, "a") == (layer, token)
    assert opening(comparison(base, adapter), "a", None) == (layer, token)


def test_each_pair_of_several_has_its_own_opening():
    def moved(token, layer):
        maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.5 / 15)
        maps[token, layer] = 0
        maps[token, layer, :, 1, 3] = 0.5
        return maps

    even = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.5 / 15)
    three = comparison(recording(maps=even), recording("a", maps=moved(8, 0)), recording("b", maps=moved(7, 3)))
    assert opening(three, None, "a") == (0, 8)
    assert opening(three, None, "b") == (3, 7)


@pytest.mark.parametrize("layers", [1, 4, 5])
def test_where_nothing_differs_it_is_the_middle_layer_and_the_first_answer_token(layers):
    expected = {1: 0, 4: 2, 5: 2}[layers]
    model = replace(MODEL, num_layers=layers)
    same = comparison(recording(layers=layers), recording("untouched", layers=layers), model=model)
    assert opening(same, None, "untouched") == opening(same, None, None) == (expected, 7)
    assert middle_layer(same.recordings[0]) == expected


def test_own_answers_open_there_too():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    assert opening(own, None, "a") == (2, 7)


def test_a_question_is_of_the_first_token_that_a_variant_wrote_otherwise():
    base, other = recording(), recording("a", seed=1)
    ids = tuple(token.id for token in base.tokens if token.role in ("answer", "end"))  # tokens 7, 8 and the end
    for written, expected in (
        (ids, 7),
        ((ids[0], 99, ids[2]), 8),
        ((ids[0], ids[1], 99), 9),
        (ids[:1], 7),  # an answer that was broken off differs nowhere
    ):
        pair = (replace(base, answer_ids=ids), replace(other, answer_ids=written))
        assert questioned(comparison(*pair)) == expected
        assert questioned(comparison(*pair[::-1])) == expected
    assert questioned(comparison(replace(base, answer_ids=(*ids[:2], 98)), replace(other, answer_ids=(99,)))) == 7
    assert questioned(comparison(base, recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)) == 7


def test_without_an_answer_it_is_the_last_word():
    row = tokens(answer=(), end=False)
    bare = comparison(recording(row=row, focus=(0,)), recording("a", row=row, seed=1, focus=(0,)))
    assert opening(bare, None, "a") == (2, len(row) - 1) == (2, 6)


def test_a_variant_that_was_not_recorded_opens_nowhere():
    with pytest.raises(SelectionError, match="not in this comparison"):
        opening(comparison(), None, "other")
