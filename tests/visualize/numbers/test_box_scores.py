"""Scores in a box: of which rows they are, against loops over the record, hand-worked cells and scipy's ranking."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata

from inference.errors import SelectionError
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, photo, recording, tokens
from visualize import box_scores

SIZE = (60, 100)  # cells of 20 × 20 pixels
BOXES = [(5, 10, 35, 50), (30, 40, 60, 70)]
FOCUS = 7


def covered(boxes=BOXES):
    """The union, pixel by pixel."""
    inside = np.zeros(SIZE, dtype=bool)
    for top, left, bottom, right in boxes:
        inside[top:bottom, left:right] = True
    return inside.reshape(3, 20, 5, 20).mean(axis=(1, 3))


def share_of(heat):
    return math.fsum(float(value) * part for value, part in zip(heat.ravel(), covered().ravel(), strict=True))


def ratio_of(heat):
    """Mean in the touched cells over the mean of all places of their shape, one place after another."""
    touched = covered() > 0
    rows, columns = touched.any(axis=1).nonzero()[0], touched.any(axis=0).nonzero()[0]
    shape = touched[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    (height, width), means = shape.shape, []
    for top in range(3 - height + 1):
        for left in range(5 - width + 1):
            means.append(float(heat[top : top + height, left : left + width][shape].mean(dtype=float)))
    return float(heat[touched].mean(dtype=float)) / np.mean(means)


def hit_of(heat):
    return bool(covered()[np.unravel_index(heat.argmax(), heat.shape)] > 0)


@pytest.fixture
def pair():
    return comparison(recording(), recording("find-red", seed=1), image=photo(SIZE))


def test_every_head_of_every_layer_and_variant_equals_a_loop_over_the_record(pair):
    scores = box_scores(pair, BOXES)
    assert scores.variants == ("base", "find-red")
    assert scores.tokens == (FOCUS,)
    assert scores.heads is not None
    assert scores.heads.share.shape == (2, LAYERS, HEADS)
    hits = 0
    for index, layer, head in np.ndindex(2, LAYERS, HEADS):
        heat = pair.recordings[index].by_head[layer, head]
        assert scores.heads.share[index, layer, head] == pytest.approx(share_of(heat), abs=1e-12)
        assert scores.heads.ratio[index, layer, head] == pytest.approx(ratio_of(heat))
        assert scores.heads.hit[index, layer, head] == hit_of(heat)
        hits += hit_of(heat)
    assert 0 < hits < 2 * LAYERS * HEADS  # both are there
    assert scores.area == pytest.approx(covered().mean())
    assert (scores.boxes, scores.notes) == (tuple(map(tuple, BOXES)), ())


def test_the_mean_of_the_heads_is_the_tokens_own_row_also_where_heads_were_not_recorded(pair):
    for token, row in ((FOCUS, slice(7, 8)), (3, slice(3, 4)), ((7, 8), slice(7, 9)), ("answer", slice(7, 9))):
        scores = box_scores(pair, BOXES, token)
        assert (scores.heads is None) == (token != FOCUS)
        for index, layer in np.ndindex(2, LAYERS):
            heat = pair.recordings[index].by_token[row, layer].mean(axis=0, dtype=float)
            assert scores.mean.share[index, layer] == pytest.approx(share_of(heat), abs=1e-12)
            assert scores.mean.ratio[index, layer] == pytest.approx(ratio_of(heat))
            assert scores.mean.hit[index, layer] == hit_of(heat)


def test_the_share_of_the_mean_is_the_mean_of_the_shares(pair):
    scores = box_scores(pair, BOXES)
    np.testing.assert_allclose(scores.heads.share.mean(axis=2), scores.mean.share, atol=1e-7)


def test_the_whole_photo_holds_the_recorded_image_share(pair):
    scores = box_scores(pair, (0, 0, 60, 100))
    for index, own in enumerate(pair.recordings):
        np.testing.assert_allclose(scores.heads.share[index], own.group_share[FOCUS, :, :, 0], atol=1e-6)
    np.testing.assert_allclose(scores.mean.ratio, 1)
    assert scores.mean.hit.all()
    assert scores.area == 1


def test_a_window_measures_the_mean_map_of_its_layers(pair):
    scores = box_scores(pair, BOXES, window=1)
    for layer, span in ((0, slice(0, 2)), (2, slice(1, 4)), (3, slice(2, 4))):
        own = pair.recordings[1]
        heat = own.by_token[FOCUS, span].mean(axis=0, dtype=float)
        assert scores.mean.share[1, layer] == pytest.approx(share_of(heat))
        assert scores.mean.ratio[1, layer] == pytest.approx(ratio_of(heat))
        head = own.by_head[span, 2].mean(axis=0, dtype=float)
        assert scores.heads.ratio[1, layer, 2] == pytest.approx(ratio_of(head))
        assert scores.heads.hit[1, layer, 2] == hit_of(head)


def test_heads_are_ranked_by_share_or_ratio_as_scipy_ranks_them(pair):
    scores = box_scores(pair, BOXES)
    for by in ("share", "ratio"):
        values = getattr(scores.heads, by)[1]
        ranks = rankdata(-values, method="ordinal").reshape(values.shape)
        ranked = scores.ranked("find-red", by)
        assert len(ranked) == LAYERS * HEADS
        assert [ranks[each.layer, each.head] for each in ranked] == list(range(1, LAYERS * HEADS + 1))
        assert [getattr(each, by) for each in ranked] == sorted(values.ravel().tolist(), reverse=True)


def test_a_head_that_puts_nothing_on_the_image_has_no_ratio_and_comes_last():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.01)
    maps[:, 1, 2] = 0
    scores = box_scores(comparison(recording(maps=maps), image=photo(SIZE)), BOXES)
    assert math.isnan(scores.heads.ratio[0, 1, 2])
    assert scores.heads.share[0, 1, 2] == 0
    assert not scores.heads.hit[0, 1, 2]
    last = scores.ranked("base", "ratio")[-1]
    assert (last.layer, last.head) == (1, 2)
    assert (scores.ranked("base")[0].layer, scores.ranked("base")[0].head) == (0, 0)  # of equal ones the first


def test_a_box_larger_than_the_photo_is_cut_with_a_note(pair):
    scores = box_scores(pair, (-10, -10, 1000, 1000))
    assert scores.boxes == ((0, 0, 60, 100),)
    assert "was cut to (0, 0, 60, 100)" in scores.notes[0]
    np.testing.assert_array_equal(scores.mean.share, box_scores(pair, (0, 0, 60, 100)).mean.share)


def test_own_answers_are_measured_each_on_its_own_row():
    shown = comparison(recording(), recording("find-red", seed=1), image=photo(SIZE), own=True)
    scores = box_scores(shown, BOXES)
    assert scores.heads.share.shape == (2, LAYERS, HEADS)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda shown: box_scores(shown, ()), "no box"),
        (lambda shown: box_scores(shown, (70, 0, 80, 10)), "60 pixels high and 100 wide"),
        (lambda shown: box_scores(shown, BOXES, 99), "token 99"),
        (lambda shown: box_scores(shown, BOXES, variants=["nobody"]), "nobody"),
        (lambda shown: box_scores(shown, BOXES).ranked("nobody"), "was not measured"),
        (lambda shown: box_scores(shown, BOXES).ranked("base", "size"), "by must be one of share, ratio"),
        (lambda shown: box_scores(shown, BOXES, 3).ranked("base"), "not recorded"),
    ],
)
def test_what_is_not_there_is_refused(pair, ask, words):
    with pytest.raises(SelectionError, match=words):
        ask(pair)
