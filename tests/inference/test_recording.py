"""A recording is checked where it is made."""

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import CaptureError
from inference.recording import Token, background_of
from tests.visualize.factory import comparison


def test_an_answer_token_shows_the_row_before_it_and_nothing_else():
    assert Token(1, "a", "answer", 5, 4).query == 4
    for role, query in (("answer", 5), ("prompt", 4), ("end", 6), ("nobody", 5)):
        with pytest.raises(CaptureError):
            Token(1, "a", role, 5, query)


def test_the_background_leaves_out_the_row_that_predicts_the_answer_and_the_answers_own():
    """Worked out by hand: eleven rows come before, 0 … 10; then 1,000 for the row that is shown, and for the answer."""
    roles = ["template"] + ["prompt"] * 8 + ["template"] * 3 + ["answer", "end"]
    tokens = [Token(1, "x", role, i, i - (role in ("answer", "end"))) for i, role in enumerate(roles)]
    by_token = np.array([*range(10, -1, -1), 1_000, 1_000, 5_000], dtype=np.float32)[:, None, None, None]
    by_token = by_token * np.array([[[1], [2]]], dtype=np.float32)  # (tokens, 1 layer, 2 × 1 cells)
    mean, low, rows = background_of(by_token, tokens)
    assert (mean.dtype, low.dtype, rows) == (np.float32, np.float32, 11)
    assert mean.tolist() == [[[5], [10]]]
    assert low.tolist() == [[[1], [2]]]
    assert background_of(by_token[:12], tokens[:12])[2] == 11, "before any answer is known, too"
    with pytest.raises(CaptureError, match="got 1"):
        background_of(by_token[:1], tokens[:1])


def test_as_many_pieces_of_an_answer_as_it_has_tokens_or_none():
    one = comparison().recordings[0]
    assert replace(one, answer_pieces=()).answer_pieces == ()
    with pytest.raises(CaptureError, match="2 answer_pieces do not fit 3 answer_ids"):
        replace(one, answer_ids=(1, 2, 3), answer_pieces=("a", "b"))


@pytest.mark.parametrize("damage", ["nan", "shape", "dtype", "sum", "focus"])
def test_a_recording_that_cannot_be_true_is_an_error(damage: str):
    good = comparison().recordings[0]
    changes = {
        "nan": {"by_head": good.by_head * np.float32("nan")},
        "shape": {"background": good.background[:, :-1]},
        "dtype": {"logprobs": good.logprobs.astype(np.float64)},
        "sum": {"group_share": good.group_share * np.float32(1.1)},
        "focus": {"focus": (99,)},
    }[damage]
    with pytest.raises(CaptureError):
        replace(good, **changes)
