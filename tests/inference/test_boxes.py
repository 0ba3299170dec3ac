"""What a box is at every door: how it is written, what is refused in which words, what is cut."""

import math

import numpy as np
import pytest

from inference.boxes import MOST_BOXES, as_boxes, check_inside, on_photo, text_of
from inference.errors import InputError, SelectionError

ONE = ((10.0, 20.0, 30.0, 40.0),)
TWO = (*ONE, (0.0, 0.0, 5.5, 6.0))


@pytest.mark.parametrize(
    ("written", "boxes"),
    [
        ((10, 20, 30, 40), ONE),
        ([10, 20, 30, 40], ONE),
        (np.array([10, 20, 30, 40]), ONE),
        ("10,20,30,40", ONE),
        (" 10, 20 ,30,40 ;", ONE),
        (["10,20,30,40"], ONE),
        (["10", "20", "30", "40"], ONE),
        ([[10, 20, 30, 40], (0, 0, 5.5, 6)], TWO),
        ("10,20,30,40;0,0,5.5,6", TWO),
        (["10,20,30,40", "0,0,5.5,6"], TWO),
        (np.array([[10, 20, 30, 40], [0, 0, 5.5, 6]]), TWO),
        ("", ()),
        ([], ()),
    ],
)
def test_one_box_or_several_are_read_in_every_way_they_are_written(written, boxes):
    assert as_boxes(written) == boxes


def test_boxes_are_written_as_they_are_read():
    assert text_of(TWO) == "10,20,30,40;0,0,5.5,6"
    assert as_boxes(text_of(TWO)) == TWO
    assert text_of(()) == ""


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (7, "four numbers"),
        (None, "four numbers"),
        ({"top": 1}, "four numbers"),
        ((1, 2, 3), "four numbers"),
        ("1,2,3", "four numbers"),
        ("1,2,3,4,5", "four numbers"),
        ("a,b,c,d", "a number of pixels"),
        ("1,2,3,１", "a number of pixels"),
        ((1, 2, 3, "4e9999"), "a number of pixels"),
        ((1, 2, 3, True), "a number of pixels"),
        ((1, 2, 3, None), "a number of pixels"),
        ((0, 0, math.nan, 5), "finite"),
        ((0, 0, math.inf, 5), "finite"),
        ((0, 0, 10**400, 5), "finite"),
        ((30, 20, 10, 40), "wrong order"),
        ((10, 40, 30, 20), "wrong order"),
        ((10, 20, 10, 40), "no area"),
        ((10, 20, 30, 20), "no area"),
        ([(0, 0, 1, 1)] * (MOST_BOXES + 1), "At most 16 boxes are one target; got 17"),
        ([(0, 0, 1, 1), 5], "four numbers"),
    ],
)
def test_what_is_no_box_is_refused_in_a_sentence(written, words):
    with pytest.raises(InputError, match=words):
        as_boxes(written)


def test_a_box_that_reaches_beyond_the_photo_is_cut_and_said():
    boxes, notes = on_photo([(-5, 10, 900, 900), (1, 1, 2, 2)], (60, 100))
    assert boxes == ((0, 10, 60, 100), (1, 1, 2, 2))
    assert notes == (
        "The box (-5, 10, 900, 900) reaches beyond the photo (60 pixels high, 100 wide); "
        "it was cut to (0, 10, 60, 100).",
    )
    assert on_photo((0, 0, 60, 100), (60, 100)) == (((0, 0, 60, 100),), ())


@pytest.mark.parametrize("box", [(60, 0, 70, 10), (0, 100, 10, 110), (-9, 0, 0, 10), (0, -9, 10, 0)])
def test_a_box_outside_the_photo_is_refused_with_the_photos_size(box):
    with pytest.raises(SelectionError, match="outside the photo, which is 60 pixels high and 100 wide") as refused:
        on_photo(box, (60, 100))
    assert "between 0 and 60" in refused.value.hint
    assert "between 0 and 100" in refused.value.hint


def test_no_box_is_nothing_to_measure_in():
    with pytest.raises(SelectionError, match="no box"):
        check_inside((), (60, 100))
