"""What the tool says of adapters that click wrongly in a known way: the rule by hand, and on the embedded model."""

import math
from functools import partial

import numpy as np
import pytest

from inference import Request, open_backend
from inference.demo import EXAMPLE_SCREENS
from tests.verdict_table import (
    FAULTS,
    LIMIT_SEED,
    SET,
    TABLE_SEED,
    Limits,
    Seen,
    best_heads,
    fault_by_counts,
    fault_by_shares,
    limits_of,
    named_by,
    screens,
    shares,
    table,
    watch,
)
from visualize.numbers.verdict import SaidInTarget, Verdict, said_beside

LIMITS = Limits(misses=0.3, looks=0.5)


def seen(looks, inside, places=1, factors=None):
    said = SaidInTarget(places, inside, 0.0 if inside else 40.0 if places else math.nan)
    return Seen(Verdict(False, 0.1, said), Verdict(looks, 0.1, said), 12.0 if places else math.nan, factors)


RIGHT, HANDS, EYES, LUCK, SILENT = (
    seen(True, 1),
    seen(True, 0),
    seen(False, 0),
    seen(False, 1),
    seen(True, 0, places=0),
)


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ([RIGHT] * 10, "none"),
        ([LUCK] * 10, "none"),
        ([RIGHT] * 7 + [HANDS] * 3, "none"),  # as many as the limit are no fault
        ([RIGHT] * 6 + [HANDS] * 4, "hands"),
        ([RIGHT] * 6 + [EYES] * 4, "eyes"),
        ([HANDS] * 5 + [EYES] * 5, "hands"),  # as many as the limit are the hands'
        ([HANDS] * 4 + [EYES] * 6, "eyes"),
        ([RIGHT] * 5 + [HANDS] * 5 + [EYES] * 4, "hands"),  # looks of screens that were hit count for nothing
        ([SILENT] * 6 + [HANDS] * 4, "no place"),
        ([SILENT] * 5 + [HANDS] * 5, "hands"),
    ],
)
def test_a_fault_is_named_by_counts(found, named):
    assert fault_by_counts(found, LIMITS) == named


@pytest.mark.parametrize(
    ("looking", "saying", "named"), [(2.0, 1.0, "eyes"), (1.0, 2.0, "hands"), (3.0, -1.0, "eyes"), (-1.0, 3.0, "hands")]
)
def test_a_fault_is_named_by_what_carries_the_change_of_the_missed(looking, saying, named):
    right = seen(True, 1, factors=(0.0, 9.0 * saying, 9.0 * looking))  # of screens that were hit nothing counts
    missed = [seen(True, 0, factors=(5.0, looking, saying)), seen(True, 0, factors=(5.0, looking, saying))]
    assert fault_by_shares([right] * 2 + missed, LIMITS) == named
    assert fault_by_shares([right] * 10 + missed, LIMITS) == "none"
    assert fault_by_shares([SILENT] * 9 + missed, LIMITS) == "no place"


def test_limits_lie_midway():
    known = {
        "base": [RIGHT] * 9 + [EYES],
        "untouched": [RIGHT] * 10,
        "wrong-eyes": [EYES] * 8 + [RIGHT] * 2,
        "wrong-hands": [HANDS] * 6 + [EYES] * 3 + [RIGHT],
    }
    assert limits_of(known) == Limits(pytest.approx((0.1 + 0.8) / 2), pytest.approx((0 + 6 / 9) / 2))


def test_shares_are_of_sums_over_the_screens_that_differ():
    found = [seen(True, 0, factors=(1.0, 2.0, 5.0)), seen(True, 0, factors=(0.0, 0.0, 2.0)), RIGHT]
    assert shares(found) == "10% / 20% / 70% of 2"
    assert shares([RIGHT]) == "–"
    row = table({"wrong-hands": found * 10}, LIMITS).splitlines()[-1]
    numbers = "| 33.3% | 0.0% | 100.0% | 20 of 20 | 12 | 10% / 20% / 70% of 20 |"
    assert row == f"| `wrong-hands` {numbers} hands 100.0% | hands 100.0% |"


def test_sets_are_drawn_without_repetition():
    found = [HANDS] * (SET - 1) + [RIGHT]
    rule = partial(fault_by_counts, limits=Limits(1 - 1.5 / SET, 0.5))
    assert named_by(found, rule, sets=20) == {"hands": 1.0}


def test_screens_of_the_three_sets_differ_and_ask_for_every_place():
    drawn = list(screens(TABLE_SEED, 60))
    assert {len(shown.buttons) for shown, _ in drawn} == {2, 3, 4, 5}
    assert {shown.buttons.index(named) for shown, named in drawn} == {0, 1, 2, 3, 4}
    assert not np.array_equal(drawn[0][0].image, next(screens(LIMIT_SEED, 1))[0].image)


@pytest.fixture(scope="module")
def backend():
    opened = open_backend("local", device="cpu")
    yield opened
    opened.close()


@pytest.mark.slow
def test_wrong_eyes_and_wrong_hands_are_told_apart(backend):
    """Base clicks right; the two that click wrongly have their fault named, in both of two sets of screens."""
    heads, rates = best_heads(backend, 12)
    assert rates["word"] >= 0.6
    known = [name if FAULTS[name] != "none" else None for name in ("base", "wrong-eyes", "wrong-hands")]
    limits = limits_of(watch(backend, heads, LIMIT_SEED, 12, known, factors=False))
    found = watch(backend, heads, TABLE_SEED, 2 * SET, known, factors=True)
    print(table(found, limits))
    assert np.mean([one.word.said.inside > 0 for one in found["base"]]) >= 0.85
    for name in found:
        assert named_by(found[name], partial(fault_by_shares, limits=limits))[FAULTS[name]] >= 0.95
        assert [fault_by_shares(part, limits) for part in (found[name][:SET], found[name][SET:])] == [FAULTS[name]] * 2
    for name, factor in (("wrong-eyes", 1), ("wrong-hands", 2)):
        factors = np.array([one.factors for one in found[name] if one.factors is not None])
        assert factors.sum(axis=0).argmax() == factor


@pytest.mark.parametrize("shown", EXAMPLE_SCREENS, ids=lambda shown: shown.adapter)
def test_an_example_shows_what_its_adapter_was_made_to_do(backend, shown):
    """`click-tuned` hits what base misses; the others miss, or say no place, where base hits."""
    drawn = shown.draw()
    compared = backend.compare(Request(drawn.image, shown.prompt, adapters=(None, shown.adapter)))
    base, other = said_beside(compared, ["base", shown.adapter], [drawn.find(shown.name).box])
    better = shown.adapter == "click-tuned"
    assert (base.inside, other.inside) == ((0, 1) if better else (1, 0))
    assert base.places == 1
    assert other.places == (0 if shown.adapter == "caption-only" else 1)
