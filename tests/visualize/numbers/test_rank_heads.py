import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from inference.errors import SelectionError
from tests.visualize.factory import HEADS, LAYERS, recording
from visualize import rank_heads
from visualize.numbers import rank_heads as ranking
from visualize.numbers.rank_heads import MOST_KEPT, KeptRanks


def whole_row(recording, layers, head):
    """The image's cells of a head's mean map, and one outcome for all the rest."""
    cells = np.mean([recording.by_head[layer, head].astype(float).ravel() for layer in layers], axis=0)
    return np.append(cells, 1 - cells.sum())


def bits(first, second, layers, head):
    return jensenshannon(whole_row(first, layers, head), whole_row(second, layers, head), base=2) ** 2


@pytest.mark.parametrize(("layer", "layers"), [(0, [0]), (3, [3]), ((1, 3), [1, 2, 3])])
def test_of_two_variants_the_most_changed_head_comes_first_by_scipys_divergence(layer, layers):
    base, adapter = recording(), recording("a", seed=1)
    expected = {head: bits(base, adapter, layers, head) for head in range(HEADS)}
    ranked = rank_heads([base, adapter], layer)
    assert [each.head for each in ranked] == sorted(expected, key=lambda head: -expected[head])
    assert [each.score for each in ranked] == pytest.approx([expected[each.head] for each in ranked], abs=1e-6)
    assert {each.unit for each in ranked} == {"bits"}


def test_of_several_variants_a_heads_change_is_its_largest_against_the_first():
    base, one, two = recording(), recording("a", seed=1), recording("b", seed=2)
    expected = [max(bits(base, one, [1], head), bits(base, two, [1], head)) for head in range(HEADS)]
    assert [each.score for each in rank_heads([base, one, two], 1)] == pytest.approx(
        sorted(expected, reverse=True), abs=1e-6
    )


@pytest.mark.parametrize(("layer", "layers"), [(2, [2]), ((0, 1), [0, 1])])
def test_of_one_variant_the_head_that_looks_at_the_image_most_comes_first(layer, layers):
    only = recording()
    expected = {head: float(np.mean([only.by_head[k, head].sum(dtype=float) for k in layers])) for head in range(HEADS)}
    ranked = rank_heads([only], layer)
    assert [each.head for each in ranked] == sorted(expected, key=lambda head: -expected[head])
    assert [each.score for each in ranked] == pytest.approx([expected[each.head] for each in ranked])
    assert {each.unit for each in ranked} == {"share"}


def test_where_scores_are_equal_the_lower_head_comes_first():
    assert [each.head for each in rank_heads([recording(), recording("same")], 0)] == list(range(HEADS))


def test_a_layer_that_does_not_exist_has_no_heads():
    with pytest.raises(SelectionError, match=f"layers 0–{LAYERS - 1}"):
        rank_heads([recording()], LAYERS)


def test_a_kept_ranking_is_the_ranking_itself_and_each_is_made_once(monkeypatch):
    base, one, two = recording(), recording("a", seed=1), recording("b", seed=2)
    asked = [([base, one], 1), ([base, one], (1, 3)), ([base, one], 2), ([one, base], 1), ([base, two], 1), ([base], 1)]
    expected = [rank_heads(*each) for each in asked]
    made = []
    monkeypatch.setattr(ranking, "rank_heads", lambda *each: made.append(each) or rank_heads(*each))
    rank = KeptRanks()
    assert [rank(*each) for each in asked] == expected
    assert [rank(*each) for each in asked] == expected
    assert len(made) == len(asked)


def test_who_comes_second_for_a_ranking_waits_for_the_first_and_what_failed_is_tried_again(monkeypatch):
    only, made, meet = recording(), [], threading.Barrier(2)

    def slow(recordings, layer):
        made.append(layer)
        time.sleep(0.2)
        if len(made) == 1:
            raise MemoryError
        return ()

    def ask(_):
        meet.wait()
        try:
            return rank([only], 0)
        except MemoryError as error:
            return error

    rank = KeptRanks()
    monkeypatch.setattr(ranking, "rank_heads", slow)
    with ThreadPoolExecutor(2) as threads:
        assert [type(each) for each in threads.map(ask, range(2))] == [MemoryError] * 2
        assert list(threads.map(ask, range(2))) == [(), ()]
    assert made == [0, 0]


def test_a_kept_ranking_holds_so_many_and_the_least_recently_used_leaves_first(monkeypatch):
    only = recording(layers=MOST_KEPT + 1)
    made = []
    monkeypatch.setattr(ranking, "rank_heads", lambda recordings, layer: made.append(layer) or ())
    rank = KeptRanks()
    for layer in (*range(MOST_KEPT), 0, MOST_KEPT, 0, 1):  # 0 was used again when the last one came
        rank([only], layer)
    assert made == [*range(MOST_KEPT), MOST_KEPT, 1]


def test_what_a_kept_ranking_may_come_to_hold_is_counted():
    only = recording(heads=32, layers=MOST_KEPT)
    rank, score = KeptRanks(), 0.1
    kept = [head for layer in range(MOST_KEPT) for head in rank([only], layer)]
    pointer = 8
    held = sum(sys.getsizeof(each) + sys.getsizeof(score) + sys.getsizeof(each.words) + pointer for each in kept)
    assert held < rank.most_bytes(32) < 2 * held
