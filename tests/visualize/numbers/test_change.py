import numpy as np
import pytest

from inference.errors import SelectionError
from inference.measures import js_divergence, row_divergence
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, recording, tokens
from visualize import (
    change_per_token,
    layer_of_largest_change,
    shift_matrix,
    token_of_largest_change,
)
from visualize.numbers.change import row_changes


def even(share=0.5):
    return np.full((len(tokens()), LAYERS, HEADS, *GRID), share / 15)


def moved(token, layer, maps=None, head=slice(None)):
    """The even attention with all of one token's row in one layer moved to one cell."""
    maps = even() if maps is None else maps
    maps[token, layer, head] = 0
    maps[token, layer, head, 1, 3] = 0.5
    return maps


def test_the_change_of_a_token_is_the_mean_over_layers_of_the_whole_rows_divergence():
    base, adapter = recording(), recording("a", seed=1)
    expected = [
        np.mean([float(row_divergence(base.by_token[t, k], adapter.by_token[t, k])) for k in range(LAYERS)])
        for t in (7, 8)
    ]
    np.testing.assert_allclose(change_per_token(base, adapter), expected)
    np.testing.assert_allclose(change_per_token(adapter, base), expected)


def test_equal_variants_have_exactly_no_change():
    assert (change_per_token(recording(), recording("untouched")) == 0).all()


@pytest.mark.parametrize(("token", "layer"), [(7, 2), (8, 0)])
def test_the_token_and_layer_whose_row_moved_are_found(token, layer):
    pair = comparison(recording(maps=even()), recording("a", maps=moved(token, layer)))
    assert token_of_largest_change(pair, None, "a") == token
    assert layer_of_largest_change(pair, None, "a", token) == layer


def test_a_prompt_token_never_opens_the_page():
    pair = comparison(recording(maps=even()), recording("a", maps=moved(2, 1)))
    assert token_of_largest_change(pair, None, "a") == 7


def test_a_look_that_only_left_the_image_is_a_change_too():
    maps = even()
    maps[8] *= 0.2  # the same places, less of it
    pair = comparison(recording(maps=even()), recording("a", maps=maps))
    assert token_of_largest_change(pair, None, "a") == 8


def test_a_layer_that_hardly_sees_the_image_does_not_win_by_its_noise():
    base, adapter = even(), even()
    base[7, 0], adapter[7, 0] = 0, 0
    base[7, 0, :, 0, 0], adapter[7, 0, :, 2, 4] = 1e-5, 1e-5  # disjoint, but next to nothing
    adapter[7, 3, :, 1, 1] += 0.2
    pair = comparison(recording(maps=base), recording("a", maps=adapter))
    assert layer_of_largest_change(pair, None, "a", 7) == 3


def test_variants_that_replayed_their_own_answers_have_no_difference():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",))), own=True)
    for ask in (token_of_largest_change, shift_matrix):
        with pytest.raises(SelectionError, match="own answer"):
            ask(own, None, "a")
    with pytest.raises(SelectionError, match="different tokens"):
        change_per_token(*own.recordings)


def test_the_shift_matrix_has_one_number_per_layer_and_head_from_the_focus_rows():
    base, adapter = recording(), recording("a", seed=1)
    pair = comparison(base, adapter)
    js, share, spread = (shift_matrix(pair, None, "a", measure) for measure in ("js", "share", "entropy"))
    for layer, head in np.ndindex(LAYERS, HEADS):
        first, second = base.by_head[layer, head].astype(float), adapter.by_head[layer, head].astype(float)
        assert js[layer, head] == pytest.approx(float(js_divergence(first, second)))
        assert share[layer, head] == pytest.approx(second.sum() - first.sum())
        p, q = first / first.sum(), second / second.sum()
        assert spread[layer, head] == pytest.approx(-(q * np.log(q)).sum() + (p * np.log(p)).sum())


def test_the_share_of_the_matrix_is_the_recorded_image_shares_difference():
    pair = comparison()
    base, adapter = pair.recordings
    expected = adapter.image_share[7] - base.image_share[7]
    np.testing.assert_allclose(shift_matrix(pair, None, "find-red", "share"), expected, atol=1e-6)


def test_rows_on_different_grids_are_not_compared():
    with pytest.raises(SelectionError, match="no difference"):
        change_per_token(recording(), recording("a", grid=(5, 3)))


def test_changes_of_chosen_tokens_are_those_rows_layer_by_layer():
    base, adapter = recording(), recording("a", seed=1)
    every = row_changes(base, adapter)
    for token in range(10):
        for layer in range(LAYERS):
            bits = written_out.bits_of_row(*(written_out.row(each, token, [layer]) for each in (base, adapter)))
            assert every[token, layer] == pytest.approx(bits, abs=1e-7)
    np.testing.assert_array_equal(row_changes(base, adapter, [8, 2]), every[[8, 2]])


def test_the_heads_that_moved_stand_out():
    pair = comparison(recording(maps=even()), recording("a", maps=moved(7, 2, head=1)))
    matrix = shift_matrix(pair, None, "a")
    assert np.argwhere(matrix > 1e-9).tolist() == [[2, 1]]


def test_a_measure_that_does_not_exist_is_refused():
    with pytest.raises(SelectionError, match="js, share, entropy"):
        shift_matrix(comparison(), None, "find-red", "kl")


@pytest.mark.parametrize("measure", ["js", "share", "entropy"])
def test_a_head_without_attention_on_the_image_has_no_divergence_and_no_entropy(measure):
    maps = even()
    maps[7, 1, 2] = 0
    matrix = shift_matrix(comparison(recording(maps=even()), recording("a", maps=maps)), None, "a", measure)
    assert np.isnan(matrix[1, 2]) == (measure != "share")
    assert np.isnan(matrix).sum() == (measure != "share")


def test_variants_whose_heads_follow_different_tokens_have_no_matrix():
    with pytest.raises(SelectionError, match=r"different tokens: \(7,\) and \(8,\)"):
        shift_matrix(comparison(recording(), recording("a", focus=(8,))), None, "a")


def test_rows_of_other_words_are_not_compared_also_where_they_are_as_many():
    other = recording("a", row=tokens(answer=(" blue", " square")))
    assert other.by_token.shape == recording().by_token.shape
    with pytest.raises(SelectionError, match="replayed different tokens"):
        row_changes(recording(), other)
