"""What an attribution says of its eight numbers, against games whose Shapley values are known; and its checks."""

from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest

from inference import Attribution, Token
from inference.errors import CaptureError, InputError
from inference.serialization import pack_explanation, unpack_explanation
from tests.scripted_backend import HEADS, LAYERS, MODEL
from tests.upstream_mediation import shapley

TOKENS = (Token(7, "What", "prompt", 30, 30), Token(8, "\n", "template", 31, 31), Token(9, "red", "answer", 32, 31))


def attribution(game, **more) -> Attribution:
    """The attribution of a game: its value for each (seeing, looking, saying) of 0 and 1."""
    outcomes = np.zeros((2, 2, 2))
    for place in product((0, 1), repeat=3):
        outcomes[place] = game(*place)
    return Attribution(MODEL, (None, "one"), TOKENS, "logprob", ("blue", "red"), outcomes, **more)


@pytest.mark.parametrize(
    ("game", "shares", "interaction"),
    [
        (lambda s, lo, y: 4 - 2 * s + 3 * lo + 5 * y, (-2, 3, 5), 0),
        (lambda s, lo, y: 6 * s * lo * y, (2, 2, 2), 6),
        (lambda s, lo, y: 6 * s * y, (3, 0, 3), 6),
        (lambda s, lo, y: 6 * max(s, lo, y), (2, 2, 2), -12),
        (lambda s, lo, y: lo + 12 * lo * y * (1 - s), (-4, 3, 2), 0),
    ],
)
def test_shares_are_the_shapley_values_worked_out_by_hand(game, shares, interaction):
    found = attribution(game)
    np.testing.assert_allclose([found.seeing, found.looking, found.saying], shares, atol=1e-12)
    assert found.interaction == pytest.approx(interaction)


def test_shares_average_a_factors_effect_over_every_order_and_add_up_to_the_total():
    rng = np.random.default_rng(5)
    for _ in range(50):
        values = rng.normal(scale=10, size=(2, 2, 2))
        found = attribution(lambda *place, values=values: values[place])
        shares = found.seeing, found.looking, found.saying
        np.testing.assert_allclose(shares, shapley(values), atol=1e-12)
        assert sum(shares) == pytest.approx(found.total, abs=1e-12)
        assert found.total == values[1, 1, 1] - values[0, 0, 0]
        alone = values[1, 0, 0] + values[0, 1, 0] + values[0, 0, 1] - 3 * values[0, 0, 0]
        assert found.interaction == pytest.approx(found.total - alone)


def test_the_measured_token_is_the_last():
    assert attribution(lambda *place: 0).token == 2


def whole() -> Attribution:
    by_head = np.arange(LAYERS * HEADS, dtype=np.float64).reshape(LAYERS, HEADS)
    by_head[1] = np.nan
    return attribution(
        lambda s, lo, y: s / 3 - lo,
        by_layer=np.arange(LAYERS) / 7,
        by_layer_reverse=-np.arange(LAYERS) / 7,
        by_head=by_head,
        by_head_reverse=-by_head,
        heads=((0, 1), (2, 3)),
        together=1 / 3,
        together_reverse=-0.1,
        says_together=("red", "blue"),
        attention="rows",
        replays=68,
        timings={"replays": 0.5},
        notes=("A note.",),
    )


@pytest.mark.parametrize("original", [attribution(lambda s, lo, y: s / 3), whole()])
def test_what_is_packed_comes_back_bit_for_bit(original):
    back = unpack_explanation(pack_explanation(original))
    arrays = original.ARRAYS
    for name in [each.name for each in fields(original) if each.name not in arrays]:
        assert getattr(back, name) == getattr(original, name), name
    for name in arrays:
        one, other = getattr(back, name), getattr(original, name)
        assert (one is None) == (other is None)
        assert one is None or (one.dtype == np.float64 and np.array_equal(one, other, equal_nan=True)), name


def test_bytes_that_are_none_are_refused():
    packed = pack_explanation(whole())
    for damaged in (b"", b"PK", packed[: len(packed) // 2]):
        with pytest.raises(InputError, match="no packed explanation"):
            unpack_explanation(damaged)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcomes": np.zeros((2, 2))},
        {"outcomes": np.zeros((2, 2, 2), np.float32)},
        {"outcomes": np.full((2, 2, 2), np.nan)},
        {"by_layer": np.zeros(LAYERS + 1)},
        {"by_layer": np.full(LAYERS, np.nan)},
        {"by_layer_reverse": np.zeros(LAYERS, np.float32)},
        {"by_head": np.zeros((HEADS, LAYERS))},
        {"by_head": np.where(np.eye(LAYERS, HEADS) > 0, np.nan, 0.0)},
        {"by_head_reverse": np.full((LAYERS, HEADS), np.inf)},
        {"outcome": "probability"},
        {"tokens": ()},
        {"heads": None},
        {"together": None},
        {"says_together": None},
        {"together": np.nan},
        {"together_reverse": np.inf},
        {"heads": ((LAYERS, 0),)},
        {"heads": ((0, HEADS),)},
        {"heads": ((0, -1),)},
        {"tokens": TOKENS[:2]},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(CaptureError):
        replace(whole(), **wrong)
