"""What a browser and a program get of a box: the numbers of `box_scores`, written as the page writes numbers."""

import json

import numpy as np
import pytest

from inference.boxes import as_boxes
from inference.measures import attention_ratio, box_share
from tests.visualize.factory import HEADS, LAYERS, comparison, photo, recording
from visualize import StackChoice, box_scores
from visualize.stacks.box_body import NAMED_HEADS, box_body, box_json, box_matrix

BOXES = [(5, 10, 35, 50), (30, 40, 60, 70)]


@pytest.fixture
def several():
    names = (None, "find-red", "counts")
    return comparison(*[recording(name, seed=seed) for seed, name in enumerate(names)], image=photo((60, 100)))


def percent(text, unit=" %"):
    assert text.endswith(unit)
    return float(text.removesuffix(unit).replace("−", "-"))


def test_the_texts_are_the_scores_of_each_layer_and_head_against_the_variant_that_is_chosen(several):
    body = json.loads(json.dumps(box_body(several, BOXES, StackChoice(7, against="counts")), allow_nan=False))
    scores = box_scores(several, BOXES, 7)
    assert body["boxes"] == [list(map(float, box)) for box in BOXES]
    assert list(body["numbers"]) == ["counts", "base", "find-red"]
    assert "change" not in body["numbers"]["counts"]
    against = scores.variants.index("counts")
    for name in ("base", "find-red"):
        index, texts = scores.variants.index(name), body["numbers"][name]
        assert set(texts["share"]) == {"mean", *map(str, range(HEADS))}
        for layer in range(LAYERS):
            for head in ("mean", *range(HEADS)):
                share, ratio, hit = (
                    getattr(scores.mean if head == "mean" else scores.heads, kind)[
                        (slice(None), layer) if head == "mean" else (slice(None), layer, head)
                    ]
                    for kind in ("share", "ratio", "hit")
                )
                assert percent(texts["share"][str(head)][layer]) == pytest.approx(100 * share[index], rel=5e-3)
                assert float(texts["ratio"][str(head)][layer]) == pytest.approx(ratio[index], rel=5e-3)
                assert texts["hit"][str(head)][layer] == ("peak inside" if hit[index] else "peak outside")
                change = percent(texts["change"][str(head)][layer], " pp")
                assert change == pytest.approx(100 * (share[index] - share[against]), rel=5e-3)


def test_it_says_of_what_the_numbers_are(several):
    one = box_body(several, BOXES[0], StackChoice(7))
    assert one["about"] == (
        "In the box (20 % of the photo): share of all attention of “red”; ratio to the mean of all boxes of that size."
    )
    assert "change" in one["numbers"]["find-red"]
    mean = box_body(several, BOXES, StackChoice((3, 4), window=1))
    assert mean["about"].startswith("In the 2 boxes together (")
    assert "the mean of 2 tokens" in mean["about"]
    assert mean["about"].endswith("Single heads of this choice were not recorded: the mean of all heads is measured.")
    assert set(mean["numbers"]["base"]["share"]) == {"mean"}
    assert "was cut to" in box_body(several, (0, 0, 999, 50), StackChoice(7))["notes"][0]


def test_the_matrix_is_the_scores_of_the_recorded_tokens(several):
    made = box_matrix(several, BOXES)
    scores = box_scores(several, BOXES)
    assert list(made["matrix"]) == ["find-red", "counts"]
    for index, name in ((1, "find-red"), (2, "counts")):
        measures = made["matrix"][name]
        assert list(measures) == ["box_change", "box_against", "box"]
        for measure, values in (
            ("box_change", scores.heads.share[index] - scores.heads.share[0]),
            ("box_against", scores.heads.share[0]),
            ("box", scores.heads.share[index]),
        ):
            np.testing.assert_allclose(measures[measure]["values"], values, rtol=1e-3)
            unit = " pp" if measure == "box_change" else " %"
            texts = [[percent(text, unit) for text in row] for row in measures[measure]["texts"]]
            np.testing.assert_allclose(texts, 100 * values, rtol=6e-3)
        assert measures["box"]["limits"] == measures["box_against"]["limits"]
        assert measures["box"]["limits"]["high"] == pytest.approx(scores.heads.share.max())
        assert measures["box_change"]["limits"]["signed"]
        best = [(each.layer, each.head) for each in scores.ranked(name)[:NAMED_HEADS]]
        assert [(each["layer"], each["head"]) for each in made["heads"][name]] == best
        assert made["top"][name] == ",".join(f"L{layer}H{head}" for layer, head in best)


def test_a_set_of_heads_has_numbers_of_its_own(several):
    few = ((3, 1), (0, 2))
    made = box_body(several, BOXES, StackChoice(7, head=few, against="counts"))
    for index, name in enumerate(("counts", "base", "find-red")):
        row = np.mean(
            [several.recording(None if name == "base" else name).by_head[at].astype(float) for at in few], axis=0
        )
        expected = box_share(row, as_boxes(BOXES), several.image_size)
        numbers = made["numbers"][name]
        shown = [percent(text, " %") for text in numbers["share"]["L3H1,L0H2"]]
        np.testing.assert_allclose(shown, [100 * expected] * LAYERS, rtol=6e-3)
        ratio = attention_ratio(row, as_boxes(BOXES), several.image_size)
        np.testing.assert_allclose(list(map(float, numbers["ratio"]["L3H1,L0H2"])), float(ratio), rtol=6e-3)
        assert set(numbers["hit"]["L3H1,L0H2"]) <= {"peak inside", "peak outside"}
        assert ("change" in numbers) == bool(index)
        if index:
            assert len(numbers["change"]["L3H1,L0H2"]) == LAYERS
    assert "L3H1,L0H2" not in box_body(several, BOXES, StackChoice(7))["numbers"]["base"]["share"]
    assert "L3H1,L0H2" not in box_body(several, BOXES, StackChoice(8, head=few))["numbers"]["base"]["share"]


def test_the_matrix_can_be_against_any_variant(several):
    made = box_matrix(several, BOXES, "counts")
    scores = box_scores(several, BOXES)
    assert list(made["matrix"]) == ["base", "find-red"]
    for name in ("base", "find-red"):
        measures = made["matrix"][name]
        assert list(measures) == ["box_change", "box_against", "box"]
        share = dict(zip(scores.variants, scores.heads.share, strict=True))
        np.testing.assert_allclose(measures["box_against"]["values"], share["counts"], rtol=6e-4)
        np.testing.assert_allclose(measures["box"]["values"], share[name], rtol=6e-4)
        np.testing.assert_allclose(
            measures["box_change"]["values"], share[name] - share["counts"], rtol=6e-4, atol=1e-9
        )
    assert box_matrix(several, BOXES, "base") == box_matrix(several, BOXES)


def test_one_variant_alone_has_its_own_matrix_and_own_answers_have_no_change():
    alone = box_matrix(comparison(recording(), image=photo((60, 100))), BOXES)
    assert list(alone["matrix"]["base"]) == ["box"]
    own = comparison(recording(), recording("find-red", seed=1), image=photo((60, 100)), own=True)
    assert list(box_matrix(own, BOXES)["matrix"]["find-red"]) == ["box_against", "box"]
    assert "change" not in box_body(own, BOXES, StackChoice(7))["numbers"]["find-red"]
    apart = comparison(recording(), recording("find-red", seed=1, focus=(3,)), image=photo((60, 100)))
    assert box_matrix(apart, BOXES) == {"matrix": {}, "heads": {}, "top": {}}


def test_a_program_gets_plain_numbers_and_null_where_there_are_none(several):
    scores = box_scores(several, BOXES, 7)
    found = json.loads(json.dumps(box_json(several, BOXES, 7), allow_nan=False))
    assert found["area"] == scores.area
    assert found["tokens"] == [7]
    for index, entry in enumerate(found["scores"]):
        assert entry["adapter"] == scores.variants[index]
        for kind in ("share", "ratio", "hit"):
            assert entry["heads"][kind] == getattr(scores.heads, kind)[index].tolist()
            assert entry["mean"][kind] == getattr(scores.mean, kind)[index].tolist()
    assert box_json(several, BOXES, "answer")["scores"][0]["heads"] is None
    maps = np.full((len(recording().tokens), LAYERS, HEADS, 3, 5), 0.01)
    maps[:, 1, 2] = 0
    dark = box_json(comparison(recording(maps=maps), image=photo((60, 100))), BOXES, 7)
    assert dark["scores"][0]["heads"]["ratio"][1][2] is None
