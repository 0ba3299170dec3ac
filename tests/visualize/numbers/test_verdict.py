"""Looking and saying beside a target: every outcome, counted pixel by pixel."""

import math

import numpy as np
import pytest

from inference.said import said_in
from tests.visualize.factory import HEADS, LAYERS, comparison, photo, recording, tokens
from tests.visualize.said_answers import answering, spelled
from visualize import box_scores
from visualize.numbers.verdict import SaidInTarget, Verdict, said_beside, said_in_target

SIZE = (60, 100)
TARGET = ((20, 40, 40, 60),)  # the cell (1, 2) of 3 × 5


@pytest.mark.parametrize(
    ("looks", "said", "words"),
    [
        (True, SaidInTarget(1, 1, 0.0), "looks inside (12.3 % of its attention there), says inside (1 of 1 said)"),
        (True, SaidInTarget(1, 0, 41.2), "looks inside (12.3 % of its attention there), says outside (41.2 px away)"),
        (False, SaidInTarget(3, 2, 0.0), "looks outside (12.3 % of its attention there), says inside (2 of 3 said)"),
        (False, SaidInTarget(2, 0, 7.0), "looks outside (12.3 % of its attention there), says outside (7 px away)"),
        (True, SaidInTarget(0, 0, math.nan), "looks inside (12.3 % of its attention there), says no place"),
        (False, SaidInTarget(0, 0, math.nan), "looks outside (12.3 % of its attention there), says no place"),
    ],
)
def test_every_outcome_has_its_two_numbers(looks: bool, said: SaidInTarget, words: str):
    assert Verdict(looks, 0.123, said).words == words


@pytest.mark.parametrize("cell", [(1, 2), (0, 0)])
@pytest.mark.parametrize(
    "answer", ["(500, 500)", "(100, 900)", "a circle", "(399, 500)", '{"bbox_2d": [300, 300, 700, 700]}', "(2000, 500)"]
)
def test_what_is_found_equals_what_the_pixels_say(cell, answer: str):
    row = tokens(answer=spelled(answer), end=False)
    maps = np.full((len(row), LAYERS, HEADS, 3, 5), 0.001)
    maps[..., cell[0], cell[1]] = 0.3
    shown = comparison(answering(recording(row=row, maps=maps), answer), image=photo(SIZE))
    scores = box_scores(shown, TARGET)
    (said,) = said_beside(shown, scores.variants, scores.boxes)
    found = Verdict(bool(scores.mean.hit[0, 1]), float(scores.mean.share[0, 1]), said)

    painted = np.zeros(SIZE, bool)
    painted[20:40, 40:60] = True
    heat = maps[-1, 1, 0].repeat(20, axis=0).repeat(20, axis=1)
    assert found.looks == painted[np.unravel_index(heat.argmax(), heat.shape)]
    assert found.share == pytest.approx(heat[painted].sum() / 400)
    middles = [place.middle for place in said_in(answer, SIZE).places]
    edges = [(x, y) for x in np.linspace(40, 60, 201) for y in np.linspace(20, 40, 201)]
    for x, y in middles:
        assert said.away == pytest.approx(min(math.hypot(x - u, y - v) for u, v in edges), abs=0.08)
    inside = [40 <= x <= 60 and 20 <= y <= 40 for x, y in middles]
    assert (said.places, said.inside) == (len(middles), sum(inside))
    assert math.isnan(said.away) == (not middles)


def test_of_several_boxes_and_places_each_place_counts_once_and_the_nearest_says_how_far():
    said = said_in("[450, 400] and [100, 100] and [970, 970]", SIZE)  # (45, 24), (10, 6), (97, 58.2)
    found = said_in_target(said, [*TARGET, (20, 40, 30, 50), (50, 90, 60, 95)])
    assert found == SaidInTarget(3, 1, 0.0)
    assert said_in_target(said, [(50, 90, 60, 95)]) == SaidInTarget(3, 0, 2.0)
    assert said_in_target(said, [(0, 10, 6, 12)]) == SaidInTarget(3, 1, 0.0)  # on its corner
