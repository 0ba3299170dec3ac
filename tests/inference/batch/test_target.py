"""A line's target: points and boxes, read strictly, measured where they lie."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import Comparison
from inference.batch.target import Target, as_target
from inference.errors import SelectionError
from inference.measures import cell_coverage
from tests.inference.batch.conftest import batch, photos, prompts, summary
from tests.scripted_backend import ScriptedBackend

SIZE, GRID = (64, 96), (2, 3)


@pytest.mark.parametrize(
    ("value", "boxes", "points", "text"),
    [
        ([40, 25], (), ((40, 25),), "@40,25"),
        ([0, 1, 8, 9.5], ((0, 1, 8, 9.5),), (), "0,1,8,9.5"),
        ([[40, 25], [0, 1, 8, 9], [3.25, 4]], ((0, 1, 8, 9),), ((40, 25), (3.25, 4)), "0,1,8,9;@40,25;@3.25,4"),
        ([], (), (), ""),
    ],
)
def test_it_is_read(value, boxes, points, text):
    target = as_target(value)
    assert (target.boxes, target.points, target.text, bool(target)) == (boxes, points, text, bool(value))


@pytest.mark.parametrize(
    "value",
    [
        *("40,25", 3, None, {"x": 1}, [1], [1, 2, 3], [1, 2, 3, 4, 5], [True, 2], ["1", "2"], [[1, 2], 3]),
        *([math.nan, 2], [1, math.inf], [4, 0, 2, 8], [[[1, 2]]], [[1, 2]] * 17, [None, None]),
    ],
)
def test_what_is_none_is_refused(value):
    with pytest.raises(SelectionError):
        as_target(value)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_point_stands_for_the_one_cell_that_it_lies_in(rows, columns, high, wide, down, along):
    size = (rows * 28 + high, columns * 28 + wide)
    point = (min(along, 0.999) * size[1], min(down, 0.999) * size[0])
    area = Target(points=(point,)).area(size, (rows, columns))
    cover = cell_coverage(area, size, (rows, columns))
    assert np.flatnonzero(cover > 0).size == 1
    row, column = np.unravel_index(cover.argmax(), cover.shape)
    assert row <= point[1] * rows / size[0] < row + 1
    assert column <= point[0] * columns / size[1] < column + 1
    assert cover.max() == pytest.approx(1)


@pytest.mark.parametrize("point", [(96, 0), (0, 64), (-0.1, 3), (3, -1), as_target([10**400, 1]).points[0]])
def test_a_point_beyond_the_photo_is_refused_as_a_box_there_is(point):
    with pytest.raises(SelectionError, match="outside the photo, which is 64 pixels high and 96 wide"):
        Target(points=(point,)).check(SIZE)
    with pytest.raises(SelectionError, match="outside the photo"):
        Target(boxes=((64, 0, 70, 9),)).area(SIZE, GRID)


def test_a_batch_measures_in_the_cell_of_a_point(tmp_path):
    lines = prompts(
        tmp_path / "p.jsonl",
        {"prompt": "Where?", "target": [40, 25]},
        {"prompt": "Where?", "target": [[40, 25], [0, 0, 9, 9]]},
    )
    out, backend = tmp_path / "out", ScriptedBackend(answer=("[", "420", ", ", "100", "]"))
    code, said = batch(photos(tmp_path / "in", 1), "--prompts", lines, "--out", out, backend=backend)
    assert code == 0, said
    point, both = summary(out)
    map_ = Comparison.load(out / point["file"]).recordings[0].by_head.astype(float)
    assert point["box"] == "0,32,32,64"
    assert point["box_share"] == pytest.approx(map_[:, :, 0, 1].mean(), rel=1e-5)
    assert both["box"] == "0,0,9,9;0,32,32,64"
    assert both["box_share"] > point["box_share"]
    assert (point["said"], point["said_in_box"]) == ("40.32,6.4", 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"target": [1, 2, 3]}, "A box must be four numbers"),
        ({"target": [1, 2], "box": [0, 0, 9, 9]}, "a target or a box, not both"),
        ({"target": "here"}, "A target must be a list"),
    ],
)
def test_a_line_with_another_target_is_named(tmp_path, line, words):
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "What?"}, {"prompt": "Where?", **line})
    code, said = batch(photos(tmp_path / "in", 1), "--prompts", lines, "--out", tmp_path / "out")
    assert code == 2
    assert "p.jsonl, line 2: " in said
    assert words in said


def test_a_point_that_misses_its_photo_is_one_bad_item(tmp_path):
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "Where?", "target": [96, 2]}, {"prompt": "What?"})
    code, said = batch(photos(tmp_path / "in", 1), "--prompts", lines, "--out", tmp_path / "out")
    assert code == 1
    assert "The point (96, 2) lies outside the photo" in said
    assert [row["error"] for row in summary(tmp_path / "out")] == ["invalid_selection", None]
