"""A box per line of a batch: its columns by another route, one that misses its photo, another for kept answers."""

import math

import numpy as np
import pytest

from inference import Comparison
from tests.inference.batch.conftest import batch, photos, prompts, states, summary
from tests.scripted_backend import ScriptedBackend

BOXES = [[8, 16, 40, 80], [30, 0, 64, 20]]


def covered(grid):
    inside = np.zeros((64, 96))
    for top, left, bottom, right in BOXES:
        inside[top:bottom, left:right] = 1
    return inside.reshape(grid[0], 64 // grid[0], grid[1], 96 // grid[1]).mean(axis=(1, 3))


def test_the_columns_of_a_box_are_those_of_the_files_by_another_route(tmp_path):
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "What?", "box": BOXES}, {"prompt": "Where?"})
    out = tmp_path / "out"
    code, _ = batch(photos(tmp_path / "in", 2), "--prompts", lines, "--adapter", "find-red", "--out", out)
    assert code == 0
    rows = summary(out)
    assert len(rows) == 8
    means = {}
    for row in rows:
        if row["prompt"] == "Where?":
            assert all(row[name] is None for name in row if name.startswith("box"))
            continue
        comparison = Comparison.load(out / row["file"])
        own = comparison.recording(None if row["adapter"] == "base" else row["adapter"])
        cover = covered(comparison.grid)
        shares, hits = {}, 0
        for layer, head in np.ndindex(own.by_head.shape[:2]):
            heat = own.by_head[layer, head].astype(float)
            shares[layer, head] = math.fsum((heat * cover).ravel())
            hits += cover[np.unravel_index(heat.argmax(), heat.shape)] > 0
        best = max(shares, key=shares.get)
        means[row["image"], row["adapter"]] = np.mean(list(shares.values()))
        assert row["box"] == "8,16,40,80;30,0,64,20"
        assert row["box_share"] == pytest.approx(means[row["image"], row["adapter"]], rel=1e-5)
        assert row["box_hits"] == pytest.approx(hits / len(shares), rel=1e-5)
        assert (row["box_layer"], row["box_head"]) == best
        assert row["box_share_max"] == pytest.approx(shares[best], rel=1e-5)
        assert row["box_ratio"] > 0
    for row in rows:
        if row["box"] and row["adapter"] == "find-red":
            change = means[row["image"], "find-red"] - means[row["image"], "base"]
            assert row["box_change"] == pytest.approx(change, rel=1e-4, abs=1e-9)
        else:
            assert row["box_change"] is None


def test_another_box_asks_nothing_again_and_measures_the_answers_that_are_there(tmp_path):
    images, out, backend = photos(tmp_path / "in", 2), tmp_path / "out", ScriptedBackend()
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "What?", "box": [0, 0, 9, 9]})
    assert batch(images, "--prompts", lines, "--out", out, backend=backend)[0] == 0
    first, files, asked = summary(out), states(out), len(backend.requests)
    prompts(lines, {"prompt": "What?", "box": [0, 0, 64, 300]})
    assert batch(images, "--prompts", lines, "--out", out, backend=backend)[0] == 0
    second = summary(out)
    assert (states(out), len(backend.requests)) == (files, asked)
    assert [row["box"] for row in first + second] == ["0,0,9,9"] * 2 + ["0,0,64,96"] * 2
    assert "was cut to (0, 0, 64, 96)" in second[0]["notes"]
    assert second[0]["box_share"] == pytest.approx(second[0]["image_share"], rel=1e-5)  # the whole photo
    assert first[0]["box_share"] < second[0]["box_share"]


def test_two_boxes_of_the_same_image_and_words_are_two_rows_of_one_answer(tmp_path):
    lines = prompts(
        tmp_path / "p.jsonl", {"prompt": "What?", "box": [0, 0, 9, 9]}, {"prompt": "What?", "box": [0, 0, 64, 96]}
    )
    backend = ScriptedBackend()
    assert batch(photos(tmp_path / "in", 1), "--prompts", lines, "--out", tmp_path / "out", backend=backend)[0] == 0
    rows = summary(tmp_path / "out")
    assert len(backend.requests) == 1
    assert [row["box"] for row in rows] == ["0,0,9,9", "0,0,64,96"]
    assert rows[0]["file"] == rows[1]["file"]
    assert rows[0]["box_share"] < rows[1]["box_share"]


def test_a_box_that_misses_its_photo_is_one_bad_item_before_and_after_the_answer_is_there(tmp_path):
    images, out, backend = photos(tmp_path / "in", 1), tmp_path / "out", ScriptedBackend()
    missing = {"prompt": "What?", "image": "photo00.png", "box": [64, 0, 99, 9]}
    lines = prompts(tmp_path / "p.jsonl", missing, {"prompt": "Where?"})
    code, said = batch(images, "--prompts", lines, "--out", out, backend=backend)
    assert code == 1
    assert "outside the photo, which is 64 pixels high and 96 wide" in said
    assert [row["error"] for row in summary(out)] == ["invalid_selection", None]
    assert len(backend.requests) == 1  # the engine was not asked for it
    whole = prompts(tmp_path / "q.jsonl", {"prompt": "What?"})
    assert batch(images, "--prompts", whole, "--out", out, backend=backend)[0] == 0
    code, said = batch(images, "--prompts", lines, "--out", out, backend=backend)
    assert code == 1
    assert [row["error"] for row in summary(out)] == ["invalid_selection", None]
    assert len(backend.requests) == 2
