"""Few heads of any layers as one map, and the rankings that choose them: against loops over the record."""

import itertools
import math

import numpy as np
import pytest

from inference.errors import SelectionError
from inference.measures import localization
from tests.visualize import written_out
from tests.visualize.factory import HEADS, LAYERS, comparison, recording, with_sinks
from visualize import Selection, select, stack, top_heads
from visualize.numbers.head_choice import head_text, head_words, read_head

SET = ((3, 1), (0, 2), (3, 0))


def mean_of(maps, heads=SET):
    return np.sum([maps[layer, head].astype(float) for layer, head in heads], axis=0) / len(heads)


@pytest.mark.parametrize("layer", [0, 3, (1, 2)])
def test_a_set_of_heads_is_their_mean_whatever_the_layer(layer):
    own = recording(seed=6)
    np.testing.assert_allclose(select(own, Selection(layer, 7, head=SET)), mean_of(own.by_head), rtol=1e-6)
    np.testing.assert_array_equal(select(own, Selection(layer, 7, head=((2, 1),))), own.by_head[2, 1])


def test_the_sinks_that_a_set_leaves_out_are_those_of_its_layers():
    own = with_sinks(seed=3)
    every = [select(own, Selection(layer, 7, view="sink-masked")) == 0 for layer in range(LAYERS)]
    left_out = select(own, Selection(1, 7, head=SET, view="sink-masked")) == 0
    expected = every[0] | every[3]
    assert expected.any()
    np.testing.assert_array_equal(left_out, expected)


def test_every_word_and_number_of_a_stack_is_that_of_the_set():
    shown = comparison(recording(), recording("a", seed=1))
    made = stack(shown, 7, head=SET)
    base, adapter = (mean_of(each.by_head) for each in shown.recordings)
    for layer in range(LAYERS):
        measures, change = made.variants[0].measures[layer], made.differences[0].changes[layer]
        assert measures.image_share == pytest.approx(base.sum())
        assert measures.entropy == pytest.approx(written_out.nats(base))
        assert change.js_divergence == pytest.approx(written_out.bits_over_image(base, adapter))
        assert change.row_divergence == pytest.approx(written_out.bits_of_row(base, adapter))
        assert made.headings[layer] == "Predicting “red” · mean of 3 heads: L3H1, L0H2, L3H0 · raw view"
        line = made.variants[0].captions[layer]
        assert "token 7 “red”, row 26 · mean of 3 heads: L3H1, L0H2, L3H0 · view raw · " in line
        assert "layer" not in line
        assert "These heads are of fixed layers: another layer shows the same." in made.notes[layer]
    np.testing.assert_allclose(made.differences[0].maps[2], adapter - base, atol=1e-7)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (((4, 0),), "^layer 4 does not exist: this result has layers 0–3"),
        (((0, 3),), "^head 3 does not exist: this result has heads 0–2"),
        ((), "1 to 64 different ones, 0-based, such as L1H3,L0H2; not "),
        (((0, 1), (0, 1)), "1 to 64 different ones, 0-based, such as L1H3,L0H2; not L0H1,L0H1"),
        (((0, -1),), "1 to 64 different ones, 0-based, such as L1H3,L0H2; not "),
        (((0,),), "1 to 64 different ones, 0-based, such as L1H3,L0H2; not "),
        ((3,), "1 to 64 different ones, 0-based, such as L1H3,L0H2; not "),
        (tuple((0, head) for head in range(65)), "1 to 64 different ones, 0-based, such as L1H3,L0H2; not "),
        ("L1H2", "head must be 'mean', 'max', a 0-based index or a set"),
        ([(0, 1)], "head must be"),
        (None, "head must be"),
    ],
)
def test_what_is_no_set_of_this_models_heads_is_refused(head, words):
    with pytest.raises(SelectionError, match=words):
        select(recording(), Selection(0, 7, head=head))


def test_a_set_needs_the_heads_of_exactly_these_tokens_and_a_view_that_has_heads():
    with pytest.raises(SelectionError, match="recorded for tokens 7 only; asked for 8"):
        select(recording(), Selection(0, 8, head=SET))
    with pytest.raises(SelectionError, match="contrast view is of no single head: mean of 3 heads"):
        Selection(0, 7, head=SET, view="contrast")


def test_sets_are_written_and_read_and_nothing_else_is_taken_for_one():
    for head, text in ((SET, "L3H1,L0H2,L3H0"), (((0, 0),), "L0H0"), ("mean", "mean"), ("max", "max"), (3, 3)):
        assert head_text(head) == text
        assert read_head(text) == head
    assert read_head("L3H1, L0H2") == ((3, 1), (0, 2))
    others = ["", "L1", "L1H", "H1L1", "L1H1;L2H2", "L1H1,", "L-1H1", "L1H1.5", "l1h1", "L٣H1", "L12345H1", "L01H1"]
    for text in others:
        assert read_head(text) == text
    assert [head_words(head) for head in ("mean", "max", 3, ((1, 2),), SET)] == [
        "mean of all heads",
        "maximum over heads",
        "head 3",
        "head L1H2",
        "mean of 3 heads: L3H1, L0H2, L3H0",
    ]


def test_the_top_heads_are_the_largest_scores_of_all_layers():
    scores = np.random.default_rng(5).normal(size=(LAYERS, HEADS))
    places = [at for at in itertools.product(range(LAYERS), range(HEADS)) if scores[at] > 0]
    expected = sorted(places, key=lambda at: -scores[at])
    assert 3 < len(expected) < LAYERS * HEADS
    assert top_heads(scores, 3) == tuple(expected[:3])
    assert top_heads(scores, 99) == tuple(expected)
    assert top_heads(scores) == tuple(expected[:5])
    assert top_heads(scores, 1) == (expected[0],)
    assert top_heads([[1, 2], [2, math.nan]], 9) == ((0, 1), (1, 0), (0, 0))
    assert top_heads(np.zeros((2, 2))) == ()
    assert all(type(index) is int for place in top_heads(scores) for index in place)
    with pytest.raises(SelectionError, match=r"scores must be \(layers, heads\); got shape \(3,\)"):
        top_heads([1, 2, 3])
    with pytest.raises(SelectionError, match="count must be 1 or more"):
        top_heads(scores, 0)


def test_the_heads_that_localize_can_be_looked_at_as_one():
    own = recording(seed=8)
    chosen = top_heads(localization(own.by_head), 3)
    scores = {
        at: own.by_head[at].sum(dtype=float) * (1 - written_out.nats(own.by_head[at]) / math.log(15))
        for at in itertools.product(range(LAYERS), range(HEADS))
    }
    assert chosen == tuple(sorted(scores, key=lambda at: -scores[at])[:3])
    np.testing.assert_allclose(select(own, Selection(0, 7, head=chosen)), mean_of(own.by_head, chosen), rtol=1e-6)
