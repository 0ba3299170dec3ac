from dataclasses import replace

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize.factory import HEADS, LAYERS, comparison, recording, tokens
from visualize import Selection, answer_indices, difference, select, stack
from visualize.numbers.head_choice import head_words


@pytest.fixture
def one():
    return recording("find-red", seed=5)


def test_a_token_of_a_layer_is_the_recorded_head_mean(one):
    np.testing.assert_array_equal(select(one, Selection(2, 7)), one.by_token[7, 2])


def test_a_window_is_the_mean_over_its_layers_both_ends_included(one):
    expected = (one.by_token[7, 1].astype(float) + one.by_token[7, 2] + one.by_token[7, 3]) / 3
    np.testing.assert_allclose(select(one, Selection((1, 3), 7)), expected, rtol=1e-6)


def test_answer_is_the_mean_over_the_answer_tokens_without_the_end_token(one):
    assert [token.role for token in one.tokens[7:]] == ["answer", "answer", "end"]
    expected = (one.by_token[7, 0].astype(float) + one.by_token[8, 0]) / 2
    np.testing.assert_allclose(select(one, Selection(0, "answer")), expected, rtol=1e-6)


def test_an_empty_answer_is_its_end_token():
    assert answer_indices(tokens(answer=())) == (7,)
    assert answer_indices(tokens(answer=(), end=False)) == ()


@pytest.mark.parametrize(
    ("token", "indices"), [((2, 5), [2, 3, 4, 5]), ((6, 7), [6, 7]), ((9, 9), [9]), ((0, 9), range(10))]
)
@pytest.mark.parametrize(("layer", "layers"), [(2, [2]), ((1, 3), [1, 2, 3])])
def test_a_range_of_tokens_is_the_mean_over_it_both_ends_included(one, token, indices, layer, layers):
    rows = [one.by_token[index, each].astype(float) for index in indices for each in layers]
    np.testing.assert_allclose(select(one, Selection(layer, token)), np.mean(rows, axis=0), rtol=1e-6)
    contrasts = np.mean([contrast(one, index, layers) for index in indices], axis=0)
    np.testing.assert_allclose(select(one, Selection(layer, token, view="contrast")), contrasts, atol=1e-7)


@pytest.mark.parametrize("token", [(7, 8), (8, 9), (8, 8), (7, 9)])
def test_heads_of_a_range_are_there_where_the_focus_is_exactly_its_tokens(token):
    both = recording(focus=(8, 7))
    if token == (7, 8):
        np.testing.assert_array_equal(select(both, Selection(0, token, head=1)), both.by_head[0, 1])
    else:
        with pytest.raises(SelectionError, match="recorded for tokens 8, 7 only"):
            select(both, Selection(0, token, head=1))


@pytest.mark.parametrize("token", [(2, 1), (1,), (1, 2, 3), (-1, 2), (0, True), (0, 1.0), [1, 2]])
def test_what_is_no_range_of_tokens_is_refused(token):
    with pytest.raises(SelectionError, match="token"):
        Selection(0, token)


def test_a_range_past_the_last_token_is_refused(one):
    with pytest.raises(SelectionError, match="token 10 does not exist: this result has tokens 0–9"):
        select(one, Selection(0, (8, 10)))


def test_one_head_is_the_recorded_row_of_the_focus_token(one):
    assert one.focus == (7,)
    np.testing.assert_array_equal(select(one, Selection(1, 7, head=2)), one.by_head[1, 2])


def test_max_takes_the_largest_head_in_each_layer_then_the_mean_over_layers(one):
    tops = [np.max([one.by_head[layer, head] for head in range(HEADS)], axis=0) for layer in (1, 2)]
    np.testing.assert_allclose(select(one, Selection((1, 2), 7, head="max")), np.mean(tops, axis=0), rtol=1e-6)


def test_the_mean_of_the_recorded_heads_is_the_recorded_head_mean(one):
    heads = [select(one, Selection(3, 7, head=head)).astype(float) for head in range(HEADS)]
    np.testing.assert_allclose(np.mean(heads, axis=0), select(one, Selection(3, 7)), atol=1e-7)


@pytest.mark.parametrize("head", ["max", 0])
@pytest.mark.parametrize("token", [3, 8, "answer"])
def test_heads_of_a_token_that_was_not_in_focus_need_a_new_request(one, head, token):
    with pytest.raises(SelectionError, match="recorded for tokens 7 only") as caught:
        select(one, Selection(0, token, head=head))
    assert "focus=" in caught.value.hint


def test_heads_are_there_for_the_answer_where_the_whole_answer_was_in_focus():
    both = recording(focus=(8, 7))
    np.testing.assert_array_equal(select(both, Selection(0, "answer", head=1)), both.by_head[0, 1])
    np.testing.assert_array_equal(select(both, Selection(0, "focus", head=1)), both.by_head[0, 1])


BEFORE = range(6)  # template, four words, template; the row after them predicts the first answer token


def contrast(recording, token, layers):
    """The shown row minus the mean of the others before it, written out for each layer."""
    rows = recording.by_token.astype(float)
    others = [index for index in BEFORE if index != token]
    return np.mean([rows[token, k] - np.mean([rows[index, k] for index in others], axis=0) for k in layers], axis=0)


@pytest.mark.parametrize("token", [0, 3, 5, 6, 7, 8, 9])
@pytest.mark.parametrize(("layer", "layers"), [(2, [2]), ((1, 3), [1, 2, 3])])
def test_contrast_is_the_row_minus_the_mean_of_the_other_rows_before_the_answer(one, token, layer, layers):
    shown = select(one, Selection(layer, token, view="contrast"))
    np.testing.assert_allclose(shown, contrast(one, token, layers), atol=1e-7)


def test_of_several_tokens_each_has_its_own_contrast():
    several = recording(focus=(8, 2, 4))
    expected = np.mean([contrast(several, token, [1]) for token in (8, 2, 4)], axis=0)
    np.testing.assert_allclose(select(several, Selection(1, "focus", view="contrast")), expected, atol=1e-7)
    answer = np.mean([contrast(several, token, [1]) for token in (7, 8)], axis=0)
    np.testing.assert_allclose(select(several, Selection(1, "answer", view="contrast")), answer, atol=1e-7)


def test_a_saved_background_that_holds_the_row_of_the_first_answer_token_gives_it_out_again(one):
    """As files of version 0.2 have it: the last template row and the first answer token's are the same row."""
    rows = one.by_token.copy()
    rows[6] = rows[7]
    share = one.group_share.copy()
    share[6] = share[7]
    old = replace(one, by_token=rows, group_share=share, background=rows[:7].mean(axis=0), background_rows=7)
    expected = rows[7, 2].astype(float) - rows[:6, 2].mean(axis=0, dtype=float)
    np.testing.assert_allclose(select(old, Selection(2, 7, view="contrast")), expected, atol=1e-7)


def test_one_row_before_the_answer_has_no_contrast_of_its_own():
    row = tokens(prompt=(), answer=(" red",))[:1] + tokens(prompt=(), answer=(" red",))[2:]
    short = recording(row=row)
    assert short.background_rows == 1
    np.testing.assert_allclose(
        select(short, Selection(0, 1, view="contrast")), short.by_token[1, 0] - short.by_token[0, 0], atol=1e-7
    )
    with pytest.raises(SelectionError, match="other rows before the answer; there is none"):
        select(short, Selection(0, 0, view="contrast"))


@pytest.mark.parametrize("head", ["max", 1])
def test_contrast_of_single_heads_is_refused_because_the_background_has_none(head):
    with pytest.raises(SelectionError, match=rf"contrast view is of no single head: {head_words(head)} has none"):
        Selection(0, 7, head=head, view="contrast")


def test_the_sink_masked_view_is_the_raw_one_with_the_given_cells_at_0(one):
    sinks = np.zeros((3, 5), bool)
    sinks[0, 4] = True
    raw, masked = select(one, Selection(0, 7)), select(one, Selection(0, 7, view="sink-masked"), sinks=sinks)
    assert masked[0, 4] == 0
    np.testing.assert_array_equal(masked[~sinks], raw[~sinks])


def test_sinks_cannot_be_left_out_where_too_few_text_rows_tell_them():
    with pytest.raises(SelectionError, match="has 2, at least 4"):
        select(recording(rows=2), Selection(0, 7, view="sink-masked"))


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(LAYERS, 7), f"layer {LAYERS} does not exist: this result has layers 0–{LAYERS - 1}"),
        (Selection((1, 9), 7), "layer 9 does not exist"),
        (Selection(0, 10), "token 10 does not exist: this result has tokens 0–9"),
        (Selection(0, 7, head=HEADS), f"head {HEADS} does not exist: this result has heads 0–{HEADS - 1}"),
    ],
)
def test_what_this_result_does_not_have_is_refused_with_the_valid_range(one, selection, said):
    with pytest.raises(SelectionError, match=said):
        select(one, selection)


@pytest.mark.parametrize(
    "arguments",
    [
        {"layer": -1},
        {"layer": (2, 1)},
        {"layer": (0, 1, 2)},
        {"layer": True},
        {"layer": 0.5},
        {"layer": 0, "token": -1},
        {"layer": 0, "token": "all"},
        {"layer": 0, "head": "median"},
        {"layer": 0, "view": "halved"},
    ],
)
def test_a_selection_outside_its_choices_cannot_be_made(arguments):
    with pytest.raises(SelectionError):
        Selection(**arguments)


def test_a_recording_without_an_answer_has_no_answer_map():
    with pytest.raises(SelectionError, match="no answer tokens"):
        select(recording(row=tokens(answer=(), end=False), focus=(0,)), Selection(0, "answer"))


def test_a_difference_is_adapter_minus_base():
    base, adapter = np.float32([[0.1, 0.4, 0.0]]), np.float32([[0.3, 0.1, 0.0]])
    np.testing.assert_allclose(difference(adapter, base), [[0.2, -0.3, 0.0]], atol=1e-7)


def test_a_difference_of_two_shapes_is_refused():
    with pytest.raises(SelectionError, match=r"\(3, 5\).*\(5, 3\)"):
        difference(np.zeros((3, 5), np.float32), np.zeros((5, 3), np.float32))


def with_views(seed=5):
    rng = np.random.default_rng(seed)
    one = recording("find-red", seed=seed)
    heads = rng.random(one.by_head.shape, dtype=np.float32)
    grid = one.by_head.shape[2:]
    named = rng.random(grid, dtype=np.float32)
    return replace(one, general=heads, gradient=heads[::-1].copy(), named=named, named_alone=named / 2)


@pytest.mark.parametrize("layers", [(2,), (1, 2, 3)])
def test_relative_divides_by_the_general_prompts_row_of_the_same_layers_and_heads(layers):
    one = with_views()
    layer = layers[0] if len(layers) == 1 else (layers[0], layers[-1])
    general = one.general[list(layers)].astype(float)
    focus = one.focus[0]
    mean = one.by_token[focus, list(layers)].astype(float).mean(axis=0)
    np.testing.assert_allclose(
        select(one, Selection(layer, focus, view="relative")), mean / general.mean(axis=(0, 1)), rtol=1e-5
    )
    head = one.by_head[list(layers), 1].astype(float).mean(axis=0)
    np.testing.assert_allclose(
        select(one, Selection(layer, focus, 1, "relative")), head / general[:, 1].mean(axis=0), rtol=1e-5
    )


def test_relative_never_divides_by_less_than_a_hundredth_of_the_rows_mean():
    one = with_views()
    general = np.full_like(one.general, 0.5)
    general[..., 0, 0] = 1e-9
    found = select(replace(one, general=general), Selection(2, 7, view="relative"))
    cells = general[0, 0].size
    floor = 0.01 * (0.5 * (cells - 1) + 1e-9) / cells
    assert found[0, 0] == pytest.approx(one.by_token[7, 2, 0, 0] / floor, rel=1e-5)
    assert found[0, 1] == pytest.approx(one.by_token[7, 2, 0, 1] / 0.5, rel=1e-5)


def test_relative_to_a_row_that_sees_nothing_of_the_image_is_0_and_the_other_layers_stay():
    one = with_views()
    general = one.general.copy()
    general[2, 1] = 0
    dark = replace(one, general=general)
    assert not select(dark, Selection(2, 7, 1, view="relative")).any()
    np.testing.assert_array_equal(
        select(dark, Selection(3, 7, 1, view="relative")), select(one, Selection(3, 7, 1, view="relative"))
    )
    base = replace(with_views(), adapter=None)
    made = stack(comparison(base, dark), 7, head=1, view="relative")
    assert "All values of find-red are 0." in made.notes[2]
    assert any("there is no ratio, and 0 is shown" in note for note in made.notes[2])
    assert not any("are 0" in note or "no ratio" in note for note in made.notes[3])


def test_gradient_is_what_was_recorded_of_heads_and_named_is_the_same_for_every_layer():
    one = with_views()
    focus = one.focus[0]
    gradient = one.gradient.astype(float)
    np.testing.assert_allclose(select(one, Selection(2, focus, view="gradient")), gradient[2].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(select(one, Selection(2, focus, "max", "gradient")), gradient[2].max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        select(one, Selection((0, 1), focus, 1, "gradient")), gradient[:2, 1].mean(axis=0), rtol=1e-6
    )
    for layer in (0, 2):
        np.testing.assert_array_equal(select(one, Selection(layer, focus, view="named")), one.named)
        np.testing.assert_array_equal(select(one, Selection(layer, focus, view="named alone")), one.named_alone)


@pytest.mark.parametrize(
    ("view", "needed"), [("relative", "relative"), ("gradient", "gradient"), ("named alone", "named")]
)
def test_a_view_that_was_not_recorded_names_the_request_that_records_it(one, view, needed):
    with pytest.raises(SelectionError, match=f"was not recorded.*{needed}"):
        select(one, Selection(2, one.focus[0], view=view))
    if needed != "relative":
        with pytest.raises(SelectionError, match="recorded for tokens"):
            select(with_views(), Selection(2, 0, view=view))
