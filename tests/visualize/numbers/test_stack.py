import math
from dataclasses import replace

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, recording, tokens, with_sinks
from visualize import panes, sink_cells, stack
from visualize.numbers.reduce import Selection, around

TOKEN = 8  # the second of two answer tokens
PLACES = (((0, 0), None, (2, 4), (1, 2)), ((0, 1), None, (2, 4), (2, 0)))  # of sinks, per variant and layer


@pytest.fixture
def pair():
    return comparison(recording(focus=(TOKEN,)), recording("find-red", seed=1, focus=(TOKEN,)))


@pytest.fixture
def sinking():
    return comparison(
        with_sinks(None, PLACES[0], focus=(TOKEN,)), with_sinks("find-red", PLACES[1], seed=1, focus=(TOKEN,))
    )


@pytest.mark.parametrize(("head", "view"), [("mean", "raw"), ("max", "raw"), (2, "raw"), ("mean", "contrast")])
@pytest.mark.parametrize(("layers", "shown"), [(None, [[0], [1], [2], [3]]), ([(0, 1), (1, 3)], [[0, 1], [1, 2, 3]])])
def test_the_maps_of_all_layers_are_those_of_the_record_and_the_difference_is_adapter_minus_base(
    pair, head, view, layers, shown
):
    made = stack(pair, TOKEN, head=head, view=view, layers=layers)
    for pane, each in zip(made.variants, pair.recordings, strict=True):
        for heat, indices in zip(pane.maps, shown, strict=True):
            expected = (
                written_out.contrast(each, TOKEN, indices)
                if view == "contrast"
                else written_out.row(each, TOKEN, indices, head)
            )
            np.testing.assert_allclose(heat, expected, atol=1e-7)
    (delta,) = made.differences
    np.testing.assert_allclose(delta.maps, made.variants[1].maps.astype(float) - made.variants[0].maps, atol=1e-8)
    assert [pane.variant for pane in (*made.variants, delta)] == ["base", "find-red", "find-red − base"]
    assert made.variants[0].maps.dtype == np.float32
    assert made.variants[0].maps.shape == (len(shown), *GRID)


@pytest.mark.parametrize("view", ["raw", "sink-masked", "contrast"])
@pytest.mark.parametrize("options", [{}, {"log": True, "percentile": 90.0}])
def test_a_layer_is_the_same_in_a_stack_of_all_layers_and_in_one_of_that_layer_alone(sinking, view, options):
    whole = stack(sinking, TOKEN, view=view, **options)
    for layer in range(LAYERS):
        alone = stack(sinking, TOKEN, view=view, layers=[layer], **options)
        assert alone.selections[0] == whole.selections[layer]
        assert alone.heads[0] == whole.heads[layer]
        assert alone.headings[0] == whole.headings[layer]
        assert alone.notes[0] == whole.notes[layer]
        np.testing.assert_array_equal(alone.sinks[0], whole.sinks[layer])
        for one, many in zip((*alone.variants, *alone.differences), (*whole.variants, *whole.differences), strict=True):
            np.testing.assert_array_equal(one.maps[0], many.maps[layer])
            for name in ("limits", "peaks", "captions", "alts"):
                assert getattr(one, name)[0] == getattr(many, name)[layer]
            assert one.measures == many.measures[layer : layer + 1]
            assert one.changes == many.changes[layer : layer + 1]


def test_the_variants_of_a_layer_share_one_scale_up_to_their_common_top_and_the_difference_has_its_own(pair):
    made = stack(pair, TOKEN)
    for layer in range(LAYERS):
        rows = [written_out.row(each, TOKEN, [layer]) for each in pair.recordings]
        delta = np.abs(rows[1] - rows[0]).max()
        for pane in made.variants:
            assert (pane.limits[layer].low, pane.limits[layer].high) == (0, pytest.approx(np.max(rows)))
        limits = made.differences[0].limits[layer]
        assert (limits.low, limits.high) == (pytest.approx(-delta), pytest.approx(delta))
        assert limits.unit == "share difference"
    tops = {pane.limits[layer].high for pane in made.variants for layer in range(LAYERS)}
    assert len(tops) == LAYERS  # each layer's is its own


def test_a_contrast_has_one_signed_scale_for_the_variants(pair):
    made = stack(pair, TOKEN, view="contrast")
    for layer in range(LAYERS):
        top = max(np.abs(written_out.contrast(each, TOKEN, [layer])).max() for each in pair.recordings)
        for pane in made.variants:
            limits = pane.limits[layer]
            assert (limits.low, limits.high) == (pytest.approx(-top, rel=1e-5), pytest.approx(top, rel=1e-5))


def test_scales_are_clipped_at_the_percentile_of_what_counts_and_logarithmic_where_asked(sinking):
    made = stack(sinking, TOKEN, view="sink-masked", percentile=90.0, log=True)
    for layer in range(LAYERS):
        seen = ~made.sinks[layer]
        rows = [written_out.row(each, TOKEN, [layer])[seen] for each in sinking.recordings]
        limits = made.variants[1].limits[layer]
        assert limits.high == pytest.approx(np.percentile(np.concatenate(rows), 90), rel=1e-5)
        assert limits.low == pytest.approx(limits.high / 1000)
        delta = np.abs(rows[1] - rows[0])
        signed = made.differences[0].limits[layer]
        assert signed.high == pytest.approx(np.percentile(delta[delta > 0], 90), rel=1e-4)
        assert (limits.log, signed.log) == (True, False)
    contrast = stack(sinking, TOKEN, view="contrast", percentile=90.0).variants[0].limits[0]
    values = np.abs([written_out.contrast(each, TOKEN, [0]) for each in sinking.recordings])
    assert contrast.high == pytest.approx(np.percentile(values, 90), rel=1e-4)


def test_each_layer_leaves_out_its_own_sinks_those_of_either_variant(sinking):
    made = stack(sinking, TOKEN, view="sink-masked")
    for layer in range(LAYERS):
        expected = sorted({places[layer] for places in PLACES if places[layer] is not None})
        assert [tuple(cell) for cell in np.argwhere(made.sinks[layer]).tolist()] == expected
        union = sink_cells(sinking.recordings[0], layer) | sink_cells(sinking.recordings[1], layer)
        np.testing.assert_array_equal(made.sinks[layer], union)
        hidden = made.hidden(layer)
        assert hidden is None if not expected else (hidden == made.sinks[layer]).all()
        for pane in (*made.variants, *made.differences):
            assert not pane.maps[layer][made.sinks[layer]].any()
            assert pane.maps[layer][~made.sinks[layer]].any()
    raw = stack(sinking, TOKEN)
    np.testing.assert_array_equal(raw.sinks, made.sinks)
    assert [raw.hidden(layer) for layer in range(LAYERS)] == [None] * LAYERS


@pytest.mark.parametrize("view", ["raw", "sink-masked", "contrast"])
def test_peaks_are_the_largest_value_shown_and_of_a_difference_the_largest_change(sinking, view):
    made = stack(sinking, TOKEN, view=view)
    for layer in range(LAYERS):
        seen = ~made.sinks[layer] if view == "sink-masked" else None
        for pane in made.variants:
            assert pane.peaks[layer] == written_out.largest(pane.maps[layer], seen)
        delta = made.differences[0]
        assert delta.peaks[layer] == written_out.largest(np.abs(delta.maps[layer]), seen)


def test_a_contrast_in_which_no_cell_gets_more_than_the_background_has_no_peak():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.04)
    maps[TOKEN] *= np.linspace(0.3, 0.9, 15).reshape(GRID)  # all below the other rows
    made = stack(comparison(recording(maps=maps)), TOKEN, view="contrast")
    assert (made.variants[0].maps < 0).all()
    assert made.variants[0].peaks == (None,) * LAYERS
    assert all("; no peak" in alt for alt in made.variants[0].alts)


@pytest.mark.parametrize("head", ["mean", 1, "max"])
@pytest.mark.parametrize("view", ["raw", "sink-masked"])
def test_numbers_are_of_the_attention_itself_in_every_view(sinking, head, view):
    made = stack(sinking, TOKEN, head=head, view=view)
    for layer in range(LAYERS):
        base, adapter = (written_out.row(each, TOKEN, [layer], head) for each in sinking.recordings)
        for pane, heat in zip(made.variants, (base, adapter), strict=True):
            found = pane.measures[layer]
            share = math.nan if head == "max" else heat.sum()
            assert found.image_share == pytest.approx(share, nan_ok=True)
            assert found.entropy == pytest.approx(written_out.nats(heat))
            assert found.effective_cells == pytest.approx(math.exp(written_out.nats(heat)))
        change = made.differences[0].changes[layer]
        assert change.js_divergence == pytest.approx(written_out.bits_over_image(base, adapter), abs=1e-6)
        assert change.delta_entropy == pytest.approx(written_out.nats(adapter) - written_out.nats(base))
        moved = math.nan if head == "max" else adapter.sum() - base.sum()
        assert change.delta_share == pytest.approx(moved, nan_ok=True, abs=1e-7)
        whole = math.nan if head == "max" else written_out.bits_of_row(base, adapter)
        assert change.row_divergence == pytest.approx(whole, nan_ok=True, abs=1e-6)
    assert made.differences[0].measures == made.variants[0].changes == ()


def test_numbers_of_a_contrast_are_those_of_the_raw_view(pair):
    raw, contrast = stack(pair, TOKEN), stack(pair, TOKEN, view="contrast")
    assert [pane.measures for pane in raw.variants] == [pane.measures for pane in contrast.variants]
    assert raw.differences[0].changes == contrast.differences[0].changes


@pytest.mark.parametrize(
    ("token", "ordinal"), [(7, 0), (8, 1), (9, 2), ("focus", 1), (6, None), (2, None), ("answer", None)]
)
def test_a_replayed_tokens_probability_is_each_variants_own(pair, token, ordinal):
    made = stack(pair, token, layers=[0])
    expected = [None if ordinal is None else math.exp(each.logprobs[ordinal]) for each in pair.recordings]
    assert [pane.probability for pane in made.variants] == [
        each if each is None else pytest.approx(each) for each in expected
    ]
    assert made.differences[0].probability is None


@pytest.mark.parametrize("layers", [None, [(0, 2), (1, 3)]])
def test_heads_are_ranked_for_the_layers_that_are_shown(pair, layers):
    made = stack(pair, TOKEN, layers=layers)
    for ranked, indices in zip(
        made.heads, [[0], [1], [2], [3]] if layers is None else [[0, 1, 2], [1, 2, 3]], strict=True
    ):
        scores = {
            head: written_out.bits_of_row(*(written_out.row(each, TOKEN, indices, head) for each in pair.recordings))
            for head in range(HEADS)
        }
        assert [each.head for each in ranked] == sorted(scores, key=lambda head: -scores[head])
        assert [each.score for each in ranked] == pytest.approx([scores[each.head] for each in ranked], abs=1e-6)


def test_heads_are_not_ranked_where_they_were_recorded_for_another_token(pair):
    assert stack(pair, 7).heads == ((),) * LAYERS
    half = comparison(recording(focus=(TOKEN,)), recording("a", seed=1, focus=(7,)))
    assert stack(half, TOKEN).heads == ((),) * LAYERS
    assert len(stack(half, TOKEN, variants=[None]).heads[0]) == HEADS


def test_one_variant_or_own_answers_have_no_difference_and_rank_heads_by_their_share():
    own = comparison(recording(focus=(7,)), recording("a", row=tokens(answer=(" blue",)), seed=1, focus=(7,)), own=True)
    for made in (stack(own, 7), stack(own, 7, variants=["a"])):
        assert made.differences == ()
        assert made.heads[0][0].unit == "share"
        assert made.variants[0].probability is None
    assert stack(own, 7).notes[0][0].startswith("Each variant replayed its own answer")
    assert stack(own, 7, variants=["a"]).notes[0] == ()
    assert [pane.variant for pane in stack(own, 7).variants] == ["base", "a"]
    assert stack(own, 7).heads[0][0].score == pytest.approx(max(own.recordings[0].by_head[0].sum(axis=(1, 2))))


def test_several_variants_share_one_scale_and_each_difference_is_against_the_first():
    three = comparison(recording("b", seed=4), recording(), recording("c", seed=5))
    made = stack(three, TOKEN, variants=["c", None, "b"], layers=[1])
    assert [pane.variant for pane in made.variants] == ["c", "base", "b"]
    assert [pane.variant for pane in made.differences] == ["base − c", "b − c"]
    rows = [written_out.row(three.recording(name), TOKEN, [1]) for name in ("c", None, "b")]
    assert [pane.limits[0].high for pane in made.variants] == [pytest.approx(np.max(rows))] * 3
    tops = [np.abs(rows[index] - rows[0]).max() for index in (1, 2)]
    assert [pane.limits[0].high for pane in made.differences] == [pytest.approx(max(tops))] * 2
    for pane, heat in zip(made.differences, rows[1:], strict=True):
        np.testing.assert_allclose(pane.maps[0], heat - rows[0], atol=1e-7)
        assert pane.changes[0].js_divergence == pytest.approx(written_out.bits_over_image(rows[0], heat), abs=1e-6)
        assert pane.changes[0].delta_share == pytest.approx(heat.sum() - rows[0].sum(), abs=1e-7)
    assert [pane.variant for pane in stack(three, TOKEN).variants] == ["b", "base", "c"]


def test_captions_and_alternative_texts_say_what_is_shown_in_each_layer(sinking):
    made = stack(sinking, TOKEN)
    for layer in range(LAYERS):
        count = int(made.sinks[layer].sum())
        for pane in (*made.variants, *made.differences):
            limits = pane.limits[layer].words()
            line = (
                f"demo · {pane.variant} · token 8 “circle”, row 27 · layer {layer} · head mean · view raw · "
                f"{limits} · eager attention"
            )
            assert pane.captions[layer] == line
            row, column = pane.peaks[layer]
            what = "Change of attention" if "−" in pane.variant else "Attention"
            marked = {0: "", 1: ", 1 sink cell marked", 2: ", 2 sink cells marked"}[count]
            assert (
                pane.alts[layer]
                == f"{what} over the photo: {line}; peak at row {row}, column {column} of 3 × 5{marked}."
            )


def test_a_long_name_is_whole_in_the_caption():
    name = "qwen3-vl-8b-screens-r64-all-linear-lr2e-5.epoch-3.checkpoint-120"
    shown = stack(comparison(recording(), recording(name, seed=1)), 7, layers=(1,))
    assert f" · {name} · " in shown.variants[1].captions[0]
    assert f" · {name} − base · " in shown.differences[0].captions[0]


def test_the_caption_of_a_difference_names_the_path_that_read_the_adapter():
    mixed = comparison(recording(), replace(recording("a", seed=1), attention="rows"))
    made = stack(mixed, TOKEN, layers=[0])
    assert [pane.captions[0].rpartition(" · ")[2] for pane in (*made.variants, *made.differences)] == [
        "eager attention",
        "rows attention",
        "rows attention",
    ]


@pytest.mark.parametrize(
    ("token", "head", "layers", "words"),
    [
        (8, "mean", [1], "Predicting “circle” · layer 1 · mean of all heads · raw view"),
        (9, "max", [0], "Predicting the end · layer 0 · maximum over heads · raw view"),
        (2, "mean", [(1, 3)], "Reading “is” · layers 1–3 (mean) · mean of all heads · raw view"),
        (9, 2, [3], "Predicting the end · layer 3 · head 2 · raw view"),
        (
            "answer",
            "mean",
            [0],
            "Predicting the mean of tokens 7–8 “red circle” · layer 0 · mean of all heads · raw view",
        ),
    ],
)
def test_the_heading_says_which_token_layer_head_and_view(token, head, layers, words):
    pair = comparison(recording(focus=(9,)), recording("a", seed=1, focus=(9,)))
    assert stack(pair, token, head=head, layers=layers).headings == (words,)


def test_the_heading_names_both_words_where_each_replayed_its_own():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    assert stack(own, 7, layers=[0]).headings[0].startswith("Predicting “red” and “blue” · ")
    assert stack(own, 8, layers=[0]).headings[0].startswith("Predicting “circle” and the end · ")
    assert stack(own, 3, layers=[0], view="contrast").headings[0] == (
        "Reading “red” · layer 0 · mean of all heads · contrast view"
    )


def test_spaces_around_a_token_are_shown_where_nothing_else_is_there_or_tells_two_apart():
    blank, spaced = tokens(answer=(" ", "red")), tokens(answer=(" red", "circle"))
    one = stack(comparison(recording(row=blank)), 7, layers=[0])
    assert one.headings[0].startswith("Predicting “␣” · ")
    assert "token 7 “␣”, row 26" in one.variants[0].captions[0]
    own = comparison(recording(row=spaced), recording("a", row=tokens(answer=("red",)), seed=1), own=True)
    assert stack(own, 7, layers=[0]).headings[0].startswith("Predicting “␣red” and “red” · ")


RAW = "Image share, entropy and divergence are those of the raw row."


def test_notes_say_what_a_view_leaves_out_and_what_a_number_is_not(sinking):
    assert stack(sinking, TOKEN).notes == ((),) * LAYERS
    masked = stack(sinking, TOKEN, view="sink-masked").notes
    assert masked == (
        ("Left out as sinks: 2 of 15 cells.", RAW),
        ("No cell is a sink here: nothing is left out.", RAW),
        ("Left out as sinks: 1 of 15 cells.", RAW),
        ("Left out as sinks: 2 of 15 cells.", RAW),
    )
    linear = "Signed values are drawn on a linear scale."
    assert stack(sinking, TOKEN, view="contrast", log=True).notes == ((RAW, linear),) * LAYERS
    assert stack(sinking, TOKEN, log=True).notes == ((),) * LAYERS
    maximum = "A maximum over heads is no single row: it has no share of attention on the image."
    assert stack(sinking, TOKEN, head="max").notes == ((maximum,),) * LAYERS


def test_notes_say_where_nothing_is_seen_and_where_nothing_changed():
    dark = np.zeros((len(tokens()), LAYERS, HEADS, *GRID))
    nothing = comparison(recording(maps=dark), recording("a", maps=dark))
    equal = "The two maps are equal: the difference is 0."
    empty = "All values are 0: there is nothing to colour."
    assert stack(nothing, TOKEN, layers=[0]).notes == ((empty, equal),)
    assert stack(comparison(recording(), recording("a")), TOKEN, layers=[0]).notes == ((equal,),)
    assert stack(comparison(recording(maps=dark)), TOKEN, layers=[0]).notes == ((empty,),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": []}, "no layers"),
        ({"layers": [LAYERS]}, "layer 4 does not exist"),
        ({"variants": ["nobody"]}, "not in this comparison"),
        ({"variants": []}, "must differ; got none"),
        ({"variants": [None, None]}, "must differ; got base, base"),
        ({"percentile": 49.0}, "percentile"),
        ({"head": HEADS}, "head 3 does not exist"),
        ({"view": "halved"}, "view must be one of"),
        ({"view": "relative"}, "relative view was not recorded"),
    ],
)
def test_what_a_comparison_does_not_have_is_refused(pair, options, words):
    with pytest.raises(SelectionError, match=words):
        stack(pair, TOKEN, **options)


def test_panes_are_the_stack_of_one_layer(pair):
    shown = panes(pair, Selection(2, TOKEN), adapter="find-red")
    whole = stack(pair, TOKEN)
    for pane, numbers in zip(shown, (*whole.variants, *whole.differences), strict=True):
        np.testing.assert_array_equal(pane.drawing.heat, numbers.maps[2])
        assert pane.drawing.limits == numbers.limits[2]
        assert (pane.peak, pane.caption, pane.alt) == (numbers.peaks[2], numbers.captions[2], numbers.alts[2])
    assert shown.change == whole.differences[0].changes[2]
    assert [pane.measures for pane in shown] == [*(each.measures[2] for each in whole.variants), None]


@pytest.mark.parametrize(
    ("layer", "window", "expected"),
    [(2, 0, 2), (2, 1, (1, 3)), (0, 1, (0, 1)), (4, 1, (3, 4)), (2, 9, (0, 4)), (0, 0, 0)],
)
def test_a_window_reaches_to_both_sides_as_far_as_there_are_layers(layer, window, expected):
    assert around(layer, window, 5) == expected
    assert around(0, 3, 1) == 0
