"""The drawn world: what a seed, a size and a wish promise."""

import numpy as np
import pytest

from inference.demo.world import (
    COLOURS,
    LARGEST_RATIO,
    MAX_OBJECTS,
    MIN_OBJECT_SIDE,
    PROMPTS,
    SHAPES,
    ask,
    centre_in_thousandths,
    questions,
    scene,
)

SIZES = ((128, 128), (160, 320), (320, 160), (201, 333), (352, 256))


def closeness(pixels, colour):
    """Largest difference over the channels between each pixel and a colour's centre: ``(height, width)``."""
    return np.abs(pixels.astype(int) - np.array(COLOURS[colour])).max(axis=2)


@pytest.mark.parametrize("size", SIZES)
def test_the_same_seed_draws_the_same_pixels_and_another_seed_others(size):
    first, again, other = scene(7, 3, size), scene(7, 3, size), scene(8, 3, size)
    assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
    assert first.objects == again.objects
    assert not np.array_equal(np.asarray(first.image), np.asarray(other.image))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", range(1, MAX_OBJECTS + 1))
def test_a_scene_has_the_asked_size_and_number_of_different_objects(size, count):
    for seed in range(8):
        drawn = scene(seed, count, size)
        assert drawn.size == size
        assert np.asarray(drawn.image).shape == (*size, 3)
        assert len({item.colour for item in drawn.objects}) == len({item.shape for item in drawn.objects}) == count


@pytest.mark.parametrize("size", SIZES)
def test_boxes_lie_inside_apart_and_are_big_enough(size):
    for seed in range(20):
        boxes = [item.box for item in scene(seed, 4, size).objects]
        for top, left, bottom, right in boxes:
            assert 0 <= top < bottom <= size[0]
            assert 0 <= left < right <= size[1]
            assert max(bottom - top, right - left) >= MIN_OBJECT_SIDE - 1
        covered = np.zeros(size, dtype=int)
        for top, left, bottom, right in boxes:
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1


@pytest.mark.parametrize("size", [(160, 320), (320, 160)])
def test_a_box_bounds_its_object_tightly(size):
    for seed in range(12):
        drawn = scene(seed, 1, size)
        (item,) = drawn.objects
        rows, columns = np.nonzero(closeness(np.asarray(drawn.image), item.colour) < 60)
        top, left, bottom, right = item.box
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        assert inside.mean() > 0.97  # the rest: clutter and noise that happen to have the colour
        rows, columns = rows[inside], columns[inside]
        edges = np.array([rows.min() - top, columns.min() - left, bottom - 1 - rows.max(), right - 1 - columns.max()])
        assert edges.max() <= 4


def test_the_largest_object_is_clearly_the_largest():
    for seed in range(60):
        drawn = scene(seed, 2 + seed % 3, SIZES[seed % len(SIZES)])
        areas = sorted(item.area for item in drawn.objects)
        assert areas[-1] >= LARGEST_RATIO * areas[-2]
        assert drawn.largest.area == areas[-1]


def test_a_scene_asked_for_red_and_a_circle_has_exactly_one_of_each():
    together = 0
    for seed in range(60):
        drawn = scene(seed, 1 + seed % 4, must_have=("red", "circle"))
        assert [item.colour for item in drawn.objects].count("red") == 1
        assert [item.shape for item in drawn.objects].count("circle") == 1
        together += drawn.find("red") is drawn.find("circle")
    assert 15 < together < 60  # one object in a quarter of them, else sometimes the same and mostly not


def test_finding_what_is_not_there_says_what_is():
    drawn = scene(1, 1, must_have=("red",))
    with pytest.raises(KeyError, match="it shows red"):
        drawn.find("blue")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more; got -1"),
        ({"objects": 0}, "objects must be 1 to 4; got 0"),
        ({"objects": 5}, "objects must be 1 to 4; got 5"),
        ({"size": (100, 300)}, r"at least 128; got \(100, 300\)"),
        ({"must_have": ("purple",)}, "got 'purple'"),
        ({"must_have": "red"}, "got the string 'red'"),
        ({"must_have": ("red", "red")}, "each word once"),
        ({"objects": 1, "must_have": ("red", "blue")}, "cannot show all of"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scene(**{"seed": 0, **arguments})


def test_questions_are_answered_truly():
    drawn = scene(5, 3, (200, 310))
    asked = questions(drawn)
    assert len(asked) == 1 + 3 * 3
    for question in asked:
        match question.kind:
            case "describe":
                assert question.answer == f"{drawn.largest.colour} {drawn.largest.shape}"
            case "shape":
                assert question.about.colour in question.prompt
                assert question.answer == question.about.shape
            case "colour":
                assert question.about.shape in question.prompt
                assert question.answer == question.about.colour
            case "where":
                x, y = (int(number) for number in question.answer.split(", "))
                top, left, bottom, right = question.about.box
                assert left < x / 1000 * 310 < right
                assert top < y / 1000 * 200 < bottom


def test_coordinates_are_x_then_y_in_thousandths():
    drawn = scene(3, 1, (160, 320))
    (item,) = drawn.objects
    x, y = centre_in_thousandths(drawn, item)
    top, left, bottom, right = item.box
    assert abs(x - 1000 * (left + right) / 2 / 320) <= 5
    assert abs(y - 1000 * (top + bottom) / 2 / 160) <= 5


def test_every_wording_asks_about_its_object():
    drawn = scene(2, 4)
    for kind, wordings in PROMPTS.items():
        for wording in range(len(wordings)):
            for item in drawn.objects:
                prompt = ask(drawn, kind, item, wording).prompt
                assert "{" not in prompt
                assert kind == "describe" or item.colour in prompt or item.shape in prompt


def test_all_words_occur_and_none_always_with_another():
    names = {item.name for seed in range(400) for item in scene(seed, 4, (128, 128)).objects}
    assert len(names) == len(COLOURS) * len(SHAPES)
