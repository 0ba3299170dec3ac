"""What a program gets, written out from the record."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from inference.descriptions import AdapterInfo
from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import MODEL, comparison, photo, recording, tokens, with_sinks
from visualize import Marks, overlay
from visualize.analysis_json import adapter_json, analysis_json, model_json


@pytest.fixture
def three():
    """Base is not the first, so that order counts."""
    made = [recording(name, seed=seed, focus=(8,)) for name, seed in (("b", 4), (None, 0), ("c", 5))]
    return comparison(*made, notes=("Of the engine.",))


@pytest.mark.parametrize(
    ("options", "token", "layer", "head"),
    [
        ({}, 7, 2, "mean"),
        ({"layer": 0}, 7, 0, "mean"),
        ({"layer": 3, "token": 2}, 2, 3, "mean"),
        ({"token": 8, "head": 1}, 8, 2, 1),
        ({"token": 8, "head": "max", "layer": 1}, 8, 1, "max"),
    ],
)
def test_each_variants_map_is_the_records_with_its_share_and_all_share_one_scale(three, options, token, layer, head):
    made = analysis_json(three, **options)
    rows = [written_out.row(each, token, [layer], head) for each in three.recordings]
    assert [entry["adapter"] for entry in made["maps"]] == ["b", "base", "c"]
    for entry, heat in zip(made["maps"], rows, strict=True):
        assert (entry["layer"], entry["head"], entry["token"]) == (layer, head, token)
        np.testing.assert_allclose(entry["heatmap"], heat, atol=1e-7)
        assert entry["image_share"] == (None if head == "max" else pytest.approx(heat.sum()))
        assert set(entry) == {"adapter", "layer", "head", "token", "heatmap", "image_share"}
    assert made["limits"] == {"low": 0.0, "high": pytest.approx(np.max(rows)), "unit": "share", "log": False}
    assert json.loads(json.dumps(made)) == made


def test_the_mean_over_the_answer_and_the_contrast(three):
    answer = analysis_json(three, token="answer")["maps"][0]
    expected = (written_out.row(three.recordings[0], 7, [2]) + written_out.row(three.recordings[0], 8, [2])) / 2
    np.testing.assert_allclose(answer["heatmap"], expected, atol=1e-7)
    assert (answer["token"], answer["image_share"]) == ("answer", pytest.approx(expected.sum()))
    made = analysis_json(three, view="contrast", layer=1)
    rows = [written_out.contrast(each, 7, [1]) for each in three.recordings]
    for entry, heat, each in zip(made["maps"], rows, three.recordings, strict=True):
        np.testing.assert_allclose(entry["heatmap"], heat, atol=1e-7)
        assert entry["image_share"] == pytest.approx(written_out.row(each, 7, [1]).sum())
    top = pytest.approx(np.abs(rows).max(), rel=1e-5)
    assert made["limits"]["unit"] == "share difference"
    assert (-made["limits"]["low"], made["limits"]["high"], made["view"]) == (top, top, "contrast")


def test_a_range_of_tokens_is_their_mean_and_a_list_in_json(three):
    entry = analysis_json(three, token=(2, 4), layer=1)["maps"][0]
    expected = np.mean([written_out.row(three.recordings[0], token, [1]) for token in (2, 3, 4)], axis=0)
    np.testing.assert_allclose(entry["heatmap"], expected, atol=1e-7)
    assert entry["token"] == [2, 4]


def test_sinks_of_any_variant_are_left_out_of_all(three):
    pair = comparison(with_sinks(None, ((0, 0),) * 4), with_sinks("a", ((2, 4),) * 4, seed=1))
    made = analysis_json(pair, view="sink-masked")
    for entry, each in zip(made["maps"], pair.recordings, strict=True):
        heat = written_out.row(each, 7, [2])
        share = heat.sum()
        heat[0, 0] = heat[2, 4] = 0
        np.testing.assert_allclose(entry["heatmap"], heat, atol=1e-7)
        assert entry["image_share"] == pytest.approx(share)
    assert made["limits"]["high"] == pytest.approx(np.max([entry["heatmap"] for entry in made["maps"]]))


def test_the_rest_is_the_comparisons_own(three):
    made = analysis_json(three)
    assert made["answers"] == [{"adapter": name, "text": "red circle"} for name in ("b", "base", "c")]
    assert (made["grid"], made["image_size"], made["view"], made["notes"]) == (
        [3, 5],
        [60, 100],
        "raw",
        ["Of the engine."],
    )
    assert made["tokens"] == [
        {"index": index, "text": token.text, "role": token.role} for index, token in enumerate(three.tokens)
    ]
    assert made["tokens"][7] == {"index": 7, "text": " red", "role": "answer"}
    assert list(made) == ["answers", "tokens", "grid", "image_size", "view", "maps", "limits", "notes", "said"]


def test_what_a_careful_colleague_would_say_of_these_maps_follows_the_runs_notes(three):
    assert analysis_json(three, view="contrast")["notes"] == [
        "Of the engine.",
        "Image share, entropy and divergence are those of the raw row.",
    ]
    cells = ((0, 0), None, (2, 4), (1, 1))
    pair = comparison(with_sinks(None, cells), with_sinks("a", cells, seed=1), notes=("Of the engine.",))
    for layer, cell in enumerate(cells):
        said = analysis_json(pair, layer=layer, view="sink-masked")["notes"]
        left_out = (
            "No cell is a sink here: nothing is left out." if cell is None else "Left out as sinks: 1 of 15 cells."
        )
        assert said[:2] == ["Of the engine.", left_out]
    assert "A maximum over heads is no single row" in analysis_json(three, token=8, head="max")["notes"][-1]


def test_own_answers_have_tokens_of_their_own():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    made = analysis_json(own)
    assert [(entry["adapter"], entry["tokens"][7]["text"]) for entry in made["tokens"]] == [
        ("base", " red"),
        ("a", " blue"),
    ]
    assert [len(entry["tokens"]) for entry in made["tokens"]] == [10, 9]
    for entry, each in zip(made["maps"], own.recordings, strict=True):
        np.testing.assert_allclose(entry["heatmap"], written_out.row(each, 7, [2]), atol=1e-7)


@pytest.mark.parametrize("view", ["raw", "sink-masked", "contrast"])
def test_pictures_are_overlays_on_the_photo(view):
    pair = comparison(with_sinks(None, ((0, 0),) * 4), with_sinks("a", ((2, 4),) * 4, seed=1))
    sinks = np.zeros((3, 5), bool)
    sinks[0, 0] = sinks[2, 4] = True
    for entry, plain in zip(
        analysis_json(pair, view=view, pictures=True)["maps"], analysis_json(pair, view=view)["maps"], strict=True
    ):
        head, _, body = entry.pop("overlay").partition(",")
        assert head == "data:image/png;base64"
        assert entry == plain
        heat = np.array(entry["heatmap"], np.float32)
        hidden = sinks if view == "sink-masked" else None
        peak = written_out.largest(heat, ~sinks if view == "sink-masked" else None)
        limits = _limits(pair, view)
        expected = overlay(pair.image, heat, limits, hidden=hidden, marks=Marks(peak, sinks))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), np.asarray(expected))


def test_pictures_of_a_large_photo_are_smaller_and_its_map_is_laid_on_in_the_same_places(monkeypatch):
    monkeypatch.setattr("visualize.analysis_json.PICTURE_SIDE", 50)
    pair = comparison()
    for entry in analysis_json(pair, pictures=True)["maps"]:
        picture = Image.open(io.BytesIO(base64.b64decode(entry["overlay"].partition(",")[2])))
        assert picture.size == (50, 30)  # of 100 × 60
        heat = np.array(entry["heatmap"], np.float32)
        small = Image.fromarray(pair.image).resize((50, 30), Image.Resampling.LANCZOS, reducing_gap=2.0)
        peak = written_out.largest(heat, None)
        expected = overlay(small, heat, _limits(pair, "raw"), marks=Marks(peak, np.zeros((3, 5), bool)))
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


@pytest.mark.parametrize("size", [(100, 60), (60, 100)])
def test_boxes_on_a_smaller_picture_stand_where_they_stood_on_the_photo(monkeypatch, size):
    monkeypatch.setattr("visualize.analysis_json.PICTURE_SIDE", 50)
    pair = comparison(image=photo(size))
    height, width = size
    drawn = ((0.2 * height, 0.1 * width, 0.7 * height, 0.5 * width), (0.5 * height, 0.6 * width, height, width + 9.0))
    made = analysis_json(pair, pictures=True, boxes=drawn)
    small = Image.fromarray(pair.image).resize((width // 2, height // 2), Image.Resampling.LANCZOS, reducing_gap=2.0)
    halved = tuple(tuple(edge / 2 for edge in box) for box in (drawn[0], (*drawn[1][:3], width)))
    for entry in made["maps"]:
        heat = np.array(entry["heatmap"], np.float32)
        marks = Marks(written_out.largest(heat, None), np.zeros((3, 5), bool), halved)
        expected = overlay(small, heat, _limits(pair, "raw"), marks=marks)
        picture = Image.open(io.BytesIO(base64.b64decode(entry["overlay"].partition(",")[2])))
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


def test_drawing_ends_before_the_picture_that_nobody_waits_for():
    begun = []

    def twice():
        begun.append(1)
        if len(begun) == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        analysis_json(comparison(), pictures=True, before_each=twice)
    analysis_json(comparison(), pictures=False, before_each=twice)
    assert begun == [1, 1]


def _limits(pair, view):
    from visualize import diverging_limits, shared_limits

    maps = [np.array(entry["heatmap"], np.float32) for entry in analysis_json(pair, view=view)["maps"]]
    return diverging_limits(*maps) if view == "contrast" else shared_limits(*maps)


def test_without_an_answer_only_a_word_of_the_prompt_has_a_map():
    bare = comparison(recording(row=tokens(answer=(), end=False), focus=(0,)))
    with pytest.raises(SelectionError, match="no answer tokens"):
        analysis_json(bare)
    assert analysis_json(bare, token=3)["maps"][0]["token"] == 3


@pytest.mark.parametrize(
    "options",
    [{"layer": 4}, {"token": 10}, {"head": 3, "token": 8}, {"head": 1}, {"view": "x"}, {"view": "contrast", "head": 1}],
)
def test_what_is_not_there_is_refused(three, options):
    with pytest.raises(SelectionError):
        analysis_json(three, **options)


def test_a_model_and_an_adapter_as_plain_values():
    assert model_json(MODEL) == {
        "model": "demo",
        "layers": 4,
        "heads": 3,
        "vision_layers": 2,
        "vision_heads": 2,
        "patch_size": 16,
        "merge_size": 2,
    }
    info = AdapterInfo("a", "Names red.", "LoRA", 8, 16.0, ("k_proj", "q_proj"), True, 9, "base-model", ("A note.",))
    made = adapter_json(info)
    assert json.loads(json.dumps(made)) == made
    assert made["target_modules"] == ["k_proj", "q_proj"]
    assert made["notes"] == ["A note."]
    assert (made["name"], made["rank"], made["alpha"], made["touches_vision"]) == ("a", 8, 16.0, True)
    assert (made["base_model"], made["parameters"], made["description"]) == ("base-model", 9, "Names red.")
