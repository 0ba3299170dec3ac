"""What a browser gets of a result before any map, once more from the record."""

import base64
import itertools
import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, MODEL, comparison, photo, recording, tokens
from tests.visualize.written_out import digits
from visualize import scene_json
from visualize.stacks.changes import changes_json
from visualize.stacks.head_changes import head_changes_json

NAMES = ("base", "b", "c")


@pytest.fixture
def three():
    return comparison(recording(), recording("b", seed=4), recording("c", seed=5), image=photo((70, 130)))


def own_words(**more):
    return comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True, **more)


def changed(shown, name, token, layer, against=None):
    base, other = (written_out.row(shown.recording(each), token, [layer]) for each in (against, name))
    return written_out.bits_of_row(base, other)


def test_a_scene_is_plain_json(three):
    assert json.loads(json.dumps(scene_json(three), allow_nan=False)) == scene_json(three)


def test_a_photo_is_told_from_another_of_its_size_and_is_the_same_in_every_result(three):
    pixels = three.image.copy()
    pixels[0, 0, 0] ^= 1
    other = replace(three, image=pixels)
    again = comparison(recording(seed=9), image=three.image.copy())
    assert scene_json(three)["photo"] == scene_json(again)["photo"] != scene_json(other)["photo"]


def test_sizes_names_and_what_is_offered(three):
    made = scene_json(three)
    found = {key: made[key] for key in ("grid", "image_size", "layers", "heads", "model", "variants", "own", "prompt")}
    assert found == {
        "grid": [3, 5],
        "image_size": [70, 130],
        "layers": LAYERS,
        "heads": HEADS,
        "model": "demo",
        "variants": list(NAMES),
        "own": False,
        "prompt": "What is red?",
    }
    assert made["views"] == ["raw", "sink-masked", "contrast", "relative", "gradient", "named", "named alone"]
    assert made["recorded_views"] == ["raw", "sink-masked", "contrast"]
    assert [view for view, kind in made["view_kinds"].items() if not kind["heads"]] == [
        "contrast",
        "named",
        "named alone",
    ]
    assert made["view_kinds"]["named alone"]["recorded"] == "named"
    assert made["windows"] == [0, 1, 2]  # 4 layers have no window of 4 to both sides
    assert made["percentiles"] == [100, 99, 95]
    assert made["legend"] == "Under each token: its share of attention on the image, mean of all heads, base → b → c."
    wide = comparison(recording(layers=5), model=replace(MODEL, num_layers=5))
    assert scene_json(wide)["windows"] == [0, 1, 2, 4]


def test_colour_tables_are_matplotlibs(three):
    made = scene_json(three)
    assert list(made["tables"]) == [*made["colormaps"], *made["diverging"]]
    for name, table in made["tables"].items():
        colours = np.frombuffer(base64.b64decode(table), np.uint8).reshape(256, 3)
        expected = [matplotlib.colormaps[name](index)[:3] for index in range(256)]
        assert np.abs(colours - 255 * np.array(expected)).max() <= 1
    assert [*made["colormaps"][:1], *made["diverging"][:1]] == ["viridis", "RdBu_r"]


def test_tokens_have_their_words_roles_and_labels(three):
    found = scene_json(three)["tokens"]
    assert [token["index"] for token in found] == list(range(10))
    assert [token["text"] for token in found] == [token.text for token in three.tokens]
    assert [token["role"] for token in found] == [
        "template",
        *["prompt"] * 4,
        "template",
        "template",
        "answer",
        "answer",
        "end",
    ]
    labels = ["<|vision_end|>", "What", "is", "red", "?", "<|im_end|>", "\\n", "red", "circle", "end"]
    assert [token["label"] for token in found] == labels


def test_shares_are_the_percent_of_each_layer_and_bars_their_lengths(three):
    made = scene_json(three)
    assert list(made["shares"]) == list(made["bars"]) == list(NAMES)
    for each, name in zip(three.recordings, NAMES, strict=True):
        for token in range(10):
            for layer in range(LAYERS):
                share = each.by_token[token, layer].astype(float).sum()
                assert made["shares"][name][token][layer] == f"{100 * share:.1f}"
                assert made["bars"][name][token][layer] == pytest.approx(share, abs=6e-5)
                assert made["bars"][name][token][layer] == round(made["bars"][name][token][layer], 4)


def test_a_bar_is_never_longer_than_the_whole_nor_shorter_than_nothing():
    """As a record may hold it: in bfloat16 a row's weights, each rounded, sum to 1 but for 0.004."""
    one = recording()
    rows, shares = one.by_token.copy(), one.group_share.copy()
    rows[1] *= 1 / rows[1].sum(axis=(1, 2), keepdims=True)
    rows[2] = 0
    shares[1], shares[2] = [1.003, 0, 0, 0], [-0.003, 1.003, 0, 0]
    made = scene_json(comparison(replace(one, by_token=rows, group_share=shares)))
    assert made["bars"]["base"][1] == [1.0] * LAYERS
    assert made["bars"]["base"][2] == [0.0] * LAYERS
    assert made["shares"]["base"][1] == ["100.3"] * LAYERS


def test_changes_are_whole_rows_against_the_first_variant_in_every_layer_of_every_token(three):
    made = scene_json(three)
    assert list(made["changed"]["rows"]) == ["b", "c"]
    for name in ("b", "c"):
        expected = np.array([[changed(three, name, token, layer) for layer in range(LAYERS)] for token in range(10)])
        np.testing.assert_allclose(made["changed"]["rows"][name], expected, rtol=6e-4)


@pytest.mark.parametrize("seeds", [(1, 2), (2, 1), (3, 4), (5, 8)])
def test_the_largest_change_is_that_of_all_variants_and_answer_tokens_and_the_scene_opens_on_it(seeds):
    shown = comparison(recording(), *(recording(name, seed=seed) for name, seed in zip("bc", seeds, strict=True)))
    bits = {
        (name, token): [changed(shown, name, token, layer) for layer in range(LAYERS)]
        for name in "bc"
        for token in (7, 8)
    }
    name, token = max(bits, key=lambda key: np.mean(bits[key]))
    layer = int(np.argmax(bits[name, token]))
    made = scene_json(shown)
    assert made["changed"]["most"] == {"token": token, "layer": layer, "variant": name}
    assert made["opening"] == {
        "token": token,
        "layer": layer,
        "window": 0,
        "head": "mean",
        "view": "raw",
        "against": "base",
        "adapter": name,
        "opacity": 0.6,
        "colormap": "viridis",
        "diverging": "RdBu_r",
        "percentile": 100,
        "log": False,
        "smooth": True,
        "fade": True,
        "marks": True,
        "boxes": [],
        "said": True,
    }


def test_where_nothing_differs_it_opens_on_the_middle_layer_and_the_first_answer_token():
    made = scene_json(comparison(recording(), recording("untouched")))
    assert made["changed"]["most"] is None
    assert [made["opening"][key] for key in ("token", "layer", "against", "adapter")] == [7, 2, "base", "untouched"]
    assert made["changed"]["rows"]["untouched"] == [[0] * LAYERS] * 10
    assert any("exactly the same places" in words for words in made["warnings"])


def test_it_opens_on_parts_that_are_given_in_place_of_its_own():
    shown = comparison(recording(), recording("find-red", seed=1))
    own, given = scene_json(shown), {"layer": 1, "head": 2, "boxes": [[1.0, 2.0, 30.0, 40.0]]}
    assert scene_json(shown, opens=given) == own | {"opening": own["opening"] | given}


def test_where_nothing_differs_it_opens_on_the_first_of_the_others():
    assert scene_json(comparison(recording("c"), recording(), recording("b")))["opening"]["adapter"] == "base"


def test_without_an_answer_it_opens_on_the_last_word():
    row = tokens(answer=(), end=False)
    bare = comparison(recording(row=row, focus=(0,)), recording("a", row=row, seed=1, focus=(0,)))
    made = scene_json(bare)
    assert (made["changed"]["most"], made["opening"]["token"], made["opening"]["layer"]) == (None, 6, 2)
    assert np.shape(made["changed"]["rows"]["a"]) == (7, LAYERS)


def test_one_variant_has_nothing_to_compare():
    made = scene_json(comparison(recording("find-red")))
    assert made["changed"] == {"against": "find-red", "rows": {}, "most": None}
    assert (made["head_changes"]["matrix"], made["head_changes"]["top"]) == ({}, {})
    assert made["own_tokens"] == {}
    assert (made["opening"]["against"], made["opening"]["adapter"]) == ("find-red", "find-red")
    assert made["recorded"] == [7]
    assert made["legend"] == "Under each token: its share of attention on the image, mean of all heads."


def test_own_answers_have_tokens_of_their_own_and_nothing_to_compare():
    own = own_words()
    made = scene_json(own)
    assert made["own"] is True
    assert made["changed"]["rows"] == made["head_changes"]["matrix"] == {}
    assert made["changed"]["most"] is None
    assert made["own_tokens"]["base"] == made["tokens"]
    assert [token["text"] for token in made["own_tokens"]["a"]] == [token.text for token in own.recordings[1].tokens]
    assert [len(made["shares"][name]) for name in ("base", "a")] == [10, 9]
    assert [answer["replayed"] for answer in made["answers"]] == [True, True]


UNITS = {"js": "bits", "share": "pp", "entropy": "nats"}


def shifts(base, other):
    """The three measures of one head's two maps, in the units that people read."""
    return {
        "js": written_out.bits_over_image(base, other),
        "share": 100 * (other.sum() - base.sum()),
        "entropy": written_out.nats(other) - written_out.nats(base),
    }


def test_the_matrix_holds_every_head_of_every_layer_of_the_focus_on_one_scale_for_all_variants(three):
    made = scene_json(three)
    assert made["recorded"] == [7]
    expected = {
        name: [
            [
                shifts(*(written_out.row(three.recording(each), 7, [layer], head) for each in (None, name)))
                for head in range(HEADS)
            ]
            for layer in range(LAYERS)
        ]
        for name in ("b", "c")
    }
    assert list(made["head_changes"]["matrix"]) == ["b", "c"]
    for measure, label in (("js", "JS divergence"), ("share", "Δ image share"), ("entropy", "Δ entropy")):
        signed = measure != "js"
        factor = 100 if measure == "share" else 1
        numbers = {
            name: np.array([[head[measure] for head in heads] for heads in layers]) for name, layers in expected.items()
        }
        top = max(np.abs(each).max() for each in numbers.values()) / factor
        for name, values in numbers.items():
            found = made["head_changes"]["matrix"][name][measure]
            assert found["label"] == label
            np.testing.assert_allclose(np.multiply(found["values"], factor), values, rtol=6e-4, atol=1e-5)
            texts = [[f"{digits(value, sign=signed)} {UNITS[measure]}" for value in heads] for heads in values]
            assert found["texts"] == texts
            limits = found["limits"]
            assert (limits["low"], limits["high"]) == (
                pytest.approx(-top if signed else 0, rel=1e-5),
                pytest.approx(top, rel=1e-5),
            )
            assert (limits["signed"], limits["log"]) == (signed, False)


def test_few_heads_of_all_layers_are_named_by_what_changed_and_by_what_they_look_at(three):
    made = scene_json(three)
    places = list(itertools.product(range(LAYERS), range(HEADS)))
    maps = {each.adapter: {at: written_out.row(each, 7, [at[0]], at[1]) for at in places} for each in three.recordings}

    def first_five(scores):
        return ",".join(f"L{layer}H{head}" for layer, head in sorted(places, key=lambda at: -scores[at])[:5])

    for name in ("b", "c"):
        bits = {at: written_out.bits_over_image(maps[None][at], maps[name][at]) for at in places}
        assert made["head_changes"]["top"][name] == first_five(bits)
    for name in NAMES:
        heads = maps[None if name == "base" else name]
        few = {at: heads[at].sum() * (1 - written_out.nats(heads[at]) / np.log(15)) for at in places}
        assert made["head_changes"]["localizing"][name] == first_five(few)
    unchanged = scene_json(comparison(recording(), recording("untouched")))
    assert unchanged["head_changes"]["top"] == {"untouched": ""}


def test_changes_can_be_asked_for_against_any_variant(three):
    """Rows, where they are largest, and the matrix: by their definitions, against the second of three."""
    made, of_heads = changes_json(three, "b"), head_changes_json(three, "b")
    assert made["against"] == of_heads["against"] == "b"
    assert list(made["rows"]) == list(of_heads["matrix"]) == ["base", "c"]
    rows = {
        name: np.array([[changed(three, name, token, layer, "b") for layer in range(LAYERS)] for token in range(10)])
        for name in (None, "c")
    }
    for name, expected in rows.items():
        np.testing.assert_allclose(made["rows"][name or "base"], expected, rtol=6e-4)
    name, token = max(itertools.product(rows, (7, 8)), key=lambda each: rows[each[0]][each[1]].mean())
    layer = int(rows[name][token].argmax())
    assert made["most"] == {"token": token, "layer": layer, "variant": name or "base"}
    for name, layer, head in itertools.product((None, "c"), range(LAYERS), range(HEADS)):
        maps = [written_out.row(three.recording(each), 7, [layer], head) for each in ("b", name)]
        for measure, expected in shifts(*maps).items():
            found = 100 ** (measure == "share") * of_heads["matrix"][name or "base"][measure]["values"][layer][head]
            assert found == pytest.approx(expected, rel=6e-4, abs=1e-5)
    assert scene_json(three, against="b")["changed"] == made
    assert scene_json(three, against="b")["head_changes"] == of_heads
    assert scene_json(three, against="b", heads=False) == scene_json(three, against="b") | {"head_changes": None}
    assert scene_json(three, against="b")["opening"] == scene_json(three)["opening"]
    assert changes_json(three) == changes_json(three, "base") == scene_json(three)["changed"]
    assert head_changes_json(three) == head_changes_json(three, "base") == scene_json(three)["head_changes"]
    with pytest.raises(SelectionError, match="'d' is not in this comparison; it has base, b, c"):
        changes_json(three, "d")


def test_a_head_that_puts_nothing_on_the_image_has_a_dash_and_takes_no_part_in_the_scale():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.01)
    maps[:, :, :, 0, 0] = 0.03
    dark = maps.copy()
    dark[:, 1, 2] = 0
    found = scene_json(comparison(recording(maps=maps), recording("a", maps=dark)))["head_changes"]["matrix"]["a"]
    for measure in ("js", "entropy"):
        assert (found[measure]["values"][1][2], found[measure]["texts"][1][2]) == (None, "–")
        assert found[measure]["limits"]["empty"]
    assert found["share"]["texts"][1][2] == "−17 pp"
    assert found["share"]["values"][1][2] == pytest.approx(-0.17)
    assert found["js"]["values"][0] == [0, 0, 0]


def test_heads_recorded_for_several_tokens_are_their_means_and_for_different_tokens_no_matrix():
    several = scene_json(comparison(recording(focus=(8, 7)), recording("a", seed=1, focus=(8, 7))))
    assert several["recorded"] == [8, 7]
    different = scene_json(comparison(recording(focus=(8,)), recording("a", seed=1, focus=(7,))))
    assert different["recorded"] == []
    assert different["head_changes"]["matrix"] == {}


def wrote(each, answer, ids):
    return replace(each, answer=answer, answer_ids=ids)


def test_answers_are_those_that_the_variants_wrote_and_the_replayed_one_is_said(three):
    ids = tuple(token.id for token in three.tokens if token.role in ("answer", "end"))
    first = [
        wrote(each, f"words of {name}", ids if name == "b" else (1,))
        for each, name in zip(three.recordings, NAMES, strict=True)
    ]
    written = replace(three, recordings=tuple(first))
    replayed = replace(three, recordings=tuple(wrote(each, None, ()) for each in three.recordings))
    for made in (scene_json(written), scene_json(replayed, written=written)):
        assert made["answers"] == [
            {"variant": "base", "text": "words of base", "replayed": False, "words": [], "parts": 0},
            {"variant": "b", "text": "words of b", "replayed": True, "words": [], "parts": None},
            {"variant": "c", "text": "words of c", "replayed": False, "words": [], "parts": 0},
        ]
    assert [each["text"] for each in scene_json(replayed)["answers"]] == [None] * 3


def test_an_answer_that_is_not_replayed_has_its_words_and_where_it_parts(three):
    row = tuple(token.id for token in three.tokens if token.role in ("answer", "end"))
    base = replace(wrote(three.recordings[0], "red square", (row[0], 77, row[2])), answer_pieces=("red", " square", ""))
    replayed = replace(wrote(three.recordings[1], "red circle", row), answer_pieces=("red", " circle", ""))
    made = scene_json(replace(three, recordings=(base, replayed, *three.recordings[2:])))["answers"]
    assert (made[0]["words"], made[0]["parts"]) == (["red", "square", "end"], 1)
    assert (made[1]["words"], made[1]["parts"], made[1]["replayed"]) == ([], None, True)


def test_warnings_say_which_variants_are_alike(three):
    different = [wrote(each, name, ()) for each, name in zip(three.recordings, NAMES, strict=True)]
    assert scene_json(comparison(*different))["warnings"] == []
    alike = [wrote(recording("b", seed=0), "b", ()), different[2]]
    assert scene_json(comparison(different[0], *alike))["warnings"] == [
        "b and base look at exactly the same places: every difference is 0."
    ]
    even = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.5 / 15)
    barely = even.copy()
    barely[7, :, :, 0, 0] += 1e-6
    barely[7, :, :, 2, 3] -= 1e-6
    close = [wrote(recording("b", maps=barely), "b", ()), different[2]]
    assert scene_json(comparison(wrote(recording(maps=even), "", ()), *close))["warnings"] == [
        "Differences between b and base are within rounding noise: do not read anything into their pattern."
    ]
    same = [wrote(each, "red", ()) for each in three.recordings]
    assert scene_json(comparison(*same))["warnings"] == [
        "All answers are the same: what changed, if anything, is where the model looked and how likely they are."
    ]


def test_notes_of_both_results_are_said_once_each(three):
    different = replace(
        three, recordings=tuple(wrote(each, name, ()) for each, name in zip(three.recordings, NAMES, strict=True))
    )
    written = replace(different, notes=("Of the first.", "Of both."))
    made = scene_json(replace(different, notes=("Of both.", "Of the second.")), written=written)
    assert (made["warnings"], made["notes"]) == (["Of the first.", "Of both."], ["Of the second."])


def test_checkpoints_of_a_family_are_listed_in_the_order_of_their_steps():
    names = ("run-b-20", "other", "run-a-100", "run-a-20", "run-a-3")
    shown = comparison(recording(), *(recording(name, seed=index) for index, name in enumerate(names)))
    families = {
        "run-b-20": ("run-b", 20),
        "run-a-100": ("run-a", 100),
        "run-a-20": ("run-a", 20),
        "run-a-3": ("run-a", 3),
    }
    found = scene_json(shown, families={**families, "not-recorded": ("run-a", 1)})["families"]
    assert list(found.items()) == [
        ("run-a-3", ["run-a", 3]),
        ("run-a-20", ["run-a", 20]),
        ("run-a-100", ["run-a", 100]),
        ("run-b-20", ["run-b", 20]),
    ]
    assert scene_json(shown)["families"] == {}


@pytest.mark.parametrize("evil", ["\0", "<img src=x onerror=alert(1)>", 'a"b\\c\n', "\u202e\u2028"])
def test_hostile_words_are_passed_on_as_they_are_and_made_harmless_only_in_labels(evil):
    row = tokens(prompt=(evil,), answer=(evil,))
    shown = comparison(
        wrote(recording(row=row), evil, ()),
        wrote(recording("a", row=row, seed=1), "other", ()),
        prompt=evil,
        model=replace(MODEL, id=evil),
    )
    made = json.loads(json.dumps(scene_json(shown)))
    assert made["tokens"][1]["text"] == made["prompt"] == made["model"] == made["answers"][0]["text"] == evil
    assert made["tokens"][1]["label"].isprintable()
