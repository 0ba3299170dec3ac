"""Where a variant looks beside where it says: cells worked out by hand, distances by another road."""

import math
from dataclasses import replace

import numpy as np
import pytest

from inference.places import Frame
from tests.visualize.factory import HEADS, LAYERS, comparison, first_answer, photo, recording, tokens
from tests.visualize.said_answers import answering, spelled
from visualize import stack
from visualize.numbers.looked_said import looked_said, point_words, said_line, says, words_of

SIZE, GRID = (60, 100), (3, 5)  # cells of 20 × 20 pixels
WIDE = (60, 200)  # cells of 20 high, 40 wide


def looking_at(row, *cells, share=0.5):
    """Maps in which every row of layer i has its peak at the i-th cell."""
    maps = np.full((len(row), LAYERS, HEADS, *GRID), 0.001)
    for layer in range(LAYERS):
        maps[:, layer, :, cells[layer % len(cells)][0], cells[layer % len(cells)][1]] = share
    return maps


def one(answer, *cells, size=SIZE, **more):
    """What is found of one variant that wrote an answer and looks at some cells."""
    row = tokens(answer=spelled(answer), end=False)
    shown = comparison(answering(recording(row=row, maps=looking_at(row, *cells)), answer), image=photo(size), **more)
    (found,) = looked_said(shown, stack(shown, first_answer(row)))
    return found


def test_the_peak_is_the_middle_of_its_cell_and_far_from_the_point_by_pythagoras():
    found = one("(530, 500)", (0, 0), (1, 2))  # says (53, 30)
    assert found.looked[:2] == ((10, 10), (50, 30))
    assert found.pixels[:2] == (pytest.approx(math.sqrt(43**2 + 20**2)), pytest.approx(3))
    assert found.cells[:2] == (pytest.approx(math.sqrt(2.15**2 + 1)), pytest.approx(0.15))


def test_cells_that_are_not_square_have_their_own_distance():
    found = one("(100, 500)", (0, 0), size=WIDE)  # says (20, 30), looks at (20, 10)
    assert (found.pixels[0], found.cells[0]) == (pytest.approx(20), pytest.approx(1))
    found = one("(300, 166.66666)", (0, 0), size=WIDE)  # says (60, 10)
    assert (found.pixels[0], found.cells[0]) == (pytest.approx(40, abs=1e-4), pytest.approx(1, abs=1e-4))


def test_a_point_that_is_looked_at_is_no_way_off_and_has_its_cells_share():
    found = one("(500, 500)", (1, 2), (2, 2))
    assert found.pixels[:2] == (0, pytest.approx(20))
    assert found.share[:2] == (pytest.approx(0.5), pytest.approx(0.001))


def test_a_box_is_far_by_its_nearest_edge_and_has_its_own_share():
    found = one('{"bbox_2d": [0, 0, 300, 500]}', (0, 1), (2, 4))  # 0–30 across, 0–30 down
    assert found.pixels[:2] == (0, pytest.approx(math.hypot(60, 20)))
    # cell (0, 1) lies half in it; (0, 0) whole, (1, 0) half, (1, 1) a quarter
    assert found.share[:2] == (pytest.approx(0.5 / 2 + 0.001 * 1.75), pytest.approx(0.001 * 2.25))


def test_of_several_places_the_nearest_counts_and_all_share():
    found = one("[500, 500] or [900, 900], or [910, 910]", (1, 2), (2, 3))
    assert found.pixels[:2] == (0, pytest.approx(math.hypot(20, 4)))
    assert found.share[:2] == (pytest.approx(0.501), pytest.approx(0.002))  # two cells: one of them is said twice
    assert says(found.words.said) == "50, 30 and 2 more"


def test_the_share_of_more_places_than_are_measured_together_is_none_and_that_is_said():
    points = [f"[{10 * each}, 500]" for each in range(17)]
    found = one(", ".join(points[:16]), (1, 0))  # over the cells (1, 0), where the peak is, and none beside it
    assert found.share[0] == pytest.approx(0.5)
    assert "share" not in said_line(found.words)
    found = one(", ".join(points), (1, 0))
    assert all(map(math.isnan, found.share))
    assert found.pixels[0] == 0
    assert "whose share of attention is measured of at most 16 places together" in said_line(found.words)


def test_of_much_that_is_not_read_the_rest_is_counted():
    said = said_line(one(" ".join(['{"bbox_2d": [1, 2, 3]}'] * 6), (0, 0)).words)
    assert said.count("not read:") == 4
    assert said.endswith("2 more not read")


@pytest.mark.parametrize("answer", ["a red circle", "(1, 2, 3)", '{"point_2d": [1, 2'])
def test_where_no_place_is_said_there_is_no_distance(answer: str):
    found = one(answer, (0, 0))
    assert all(map(math.isnan, (*found.pixels, *found.cells, *found.share)))
    assert says(found.words.said) == "–"


def test_a_place_beyond_the_photo_is_far_and_has_no_share():
    found = one("(2000, 500)", (1, 2))
    assert found.pixels[0] == pytest.approx(150)
    assert all(map(math.isnan, found.share))
    assert not found.words.said.places[0].is_on_photo


def test_a_box_is_measured_where_it_lies_on_the_photo():
    found = one('{"bbox_2d": [800, -1000, 3000, 333.33333]}', (0, 4), (0, 0))
    assert found.share[:2] == (pytest.approx(0.5, abs=1e-6), pytest.approx(0.001, abs=1e-6))


def test_a_point_on_the_far_edge_is_of_the_last_cell():
    assert one("(1000, 1000)", (2, 4)).share[0] == pytest.approx(0.5)
    assert one("(0, 0)", (0, 0)).share[0] == pytest.approx(0.5)
    assert one("(199.9, 0)", (0, 0)).share[0] == pytest.approx(0.5)
    assert one("(200, 0)", (0, 1)).share[0] == pytest.approx(0.5)


def test_without_a_peak_nothing_is_looked_at():
    row = tokens(answer=spelled("(500, 500)"), end=False)
    maps = np.full((len(row), LAYERS, HEADS, *GRID), 0.02)  # every row the same: a contrast of 0
    shown = comparison(answering(recording(row=row, maps=maps), "(500, 500)"), image=photo(SIZE))
    (found,) = looked_said(shown, stack(shown, first_answer(row), view="contrast"))
    assert found.looked == (None,) * LAYERS
    assert all(map(math.isnan, (*found.pixels, *found.cells)))
    assert found.share == (pytest.approx(0.02),) * LAYERS  # which is of the attention itself


def test_a_maximum_over_heads_has_a_peak_and_no_share():
    row = tokens(answer=spelled("(500, 500)"), end=False)
    shown = comparison(answering(recording(row=row, maps=looking_at(row, (1, 2))), "(500, 500)"), image=photo(SIZE))
    (found,) = looked_said(shown, stack(shown, first_answer(row), head="max"))
    assert found.pixels == (0,) * LAYERS
    assert all(map(math.isnan, found.share))


def test_every_variant_says_its_own_words_and_the_rows_are_of_the_replayed_ones():
    row = tokens(answer=spelled("(500, 500)"), end=False)
    base = answering(recording(row=row), "at (10, 20)")
    adapter = answering(recording("find-red", row=row), "(500, 500)")
    shown = comparison(base, adapter, image=photo(SIZE))
    first, second = (words_of(shown, each) for each in shown.recordings)
    assert (first.own, first.replayed, says(first.said)) == (True, False, "1, 1.2")
    assert (second.own, second.replayed, says(second.said)) == (True, True, "50, 30")
    x, y = first.said.places[0].numbers
    assert "".join(spelled("at (10, 20)")[token] for token in (*x.tokens, *y.tokens)) == "1020"


def test_a_given_answer_is_said_by_all():
    row = tokens(answer=spelled("(500, 500)"))
    given = [replace(recording(name, row=row), answer=None, answer_ids=()) for name in (None, "find-red")]
    shown = comparison(*given, image=photo(SIZE))
    for each in given:
        words = words_of(shown, each)
        assert (words.own, words.replayed, says(words.said)) == (False, True, "50, 30")


def test_words_without_their_tokens_are_still_read():
    row = tokens(answer=spelled("(500, 500)"))
    old = replace(recording(row=row), answer="(10, 20)", answer_pieces=())
    words = words_of(comparison(old, image=photo(SIZE)), old)
    assert says(words.said) == "1, 1.2"
    assert words.said.places[0].tokens == ()


def test_the_prompts_tool_description_or_the_caller_says_the_unit():
    found = one("(50, 30)", (1, 2), prompt="The screen's resolution is 100x60. Click it.")
    assert found.pixels[0] == 0
    shown = comparison(answering(recording(row=tokens(answer=spelled("(5, 3)"), end=False)), "(5, 3)"))
    words = words_of(shown, shown.recordings[0], Frame(10, 6))
    assert says(words.said) == "50, 30"


def test_points_are_written_in_tenths_of_a_pixel():
    assert [point_words(each) for each in (None, (12, 3.25), (-0.01, 1234.56))] == ["–", "12, 3.2", "0, 1234.6"]
