"""An answer that says a place is shown at its digits: bit for bit what is recorded where these tokens are named."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from inference.errors import CaptureError, SelectionError
from inference.model.recorders import TextRecorder
from tests.inference.model.placed import ask

POINT = '{"point_2d": [412, 73]}'


@pytest.fixture(params=["eager", "rows"])
def engine(request, placed):
    return placed("dense").engine(request.param)


def check_equal(found, expected):
    for own, other in zip(found.recordings, expected.recordings, strict=True):
        for field in fields(own):
            np.testing.assert_equal(getattr(own, field.name), getattr(other, field.name), field.name)


def spelling(comparison, meant):
    return tuple(i for i, token in enumerate(comparison.tokens) if token.role == "answer" and meant(token.text))


@pytest.mark.parametrize("focus", ["digits", None])
def test_its_digits_are_the_focus_where_they_are_asked_for_and_where_nobody_says(engine, focus):
    found = engine.compare(ask(None, "language", answer=POINT, focus=focus))
    assert "".join(token.text for token in found.tokens if token.role == "answer") == POINT
    digits = found.recordings[0].focus
    assert "".join(found.tokens[index].text for index in digits).replace(" ", "") == "41273"
    named = engine.compare(ask(None, "language", answer=POINT, focus=digits))
    check_equal(found, named)
    rows = found.recordings[1].by_token[list(digits)].mean(axis=0)  # heads' mean, by the other reduction
    np.testing.assert_allclose(found.recordings[1].by_head.mean(axis=1), rows, atol=1e-6)


def test_a_digit_that_is_the_first_token_counts_as_any_other(engine):
    found = engine.compare(ask(None, "language", answer="3 of 7", focus="digits"))
    digits = spelling(found, lambda text: any(map(str.isdigit, text)))
    start = next(i for i, token in enumerate(found.tokens) if token.role == "answer")
    assert len(digits) == 2
    assert digits[0] == start
    check_equal(found, engine.compare(ask(None, "language", answer="3 of 7", focus=digits)))


def test_any_other_answer_is_shown_at_its_first_token(engine):
    for answer in ("3 of 7", "red"):
        found = engine.compare(ask(None, answer=answer))
        assert found.recordings[0].focus == (spelling(found, lambda text: True)[0],)
        check_equal(found, engine.compare(ask(None, answer=answer, focus="first")))
    first = engine.compare(ask(None, answer=POINT, focus="first"))
    assert first.recordings[0].focus == (spelling(first, lambda text: True)[0],)


def test_views_are_recorded_of_the_digits_too(engine):
    request = ask(None, answer="(4, 7)", focus="digits", views=("gradient", "named"))
    found = engine.compare(request)
    check_equal(found, engine.compare(replace(request, focus=found.recordings[0].focus)))
    assert found.recordings[0].gradient is not None


def test_an_answer_without_digits_is_refused_and_the_engine_goes_on(engine):
    with pytest.raises(SelectionError, match="holds no digit"):
        engine.compare(ask(None, answer="red", focus="digits"))
    engine.compare(ask(None, answer="red"))


def test_rows_whose_heads_were_not_kept_cannot_be_averaged_later():
    recorder = TextRecorder(1, 1, [slice(0, 2)], 2, 5, torch.zeros(6, dtype=torch.int64), [3])
    for row in (2, 3):
        recorder.record(Layer(), slice(0, 1), row, torch.full((1, 1, row + 1), 1 / (row + 1)))
    recorder.refocus([3, 5])
    assert recorder.by_head.flatten().tolist() == [0.125, 0.125]
    with pytest.raises(CaptureError, match=r"rows \[2\] were shown; only the heads of \[3, 5\]"):
        recorder.refocus([2, 4])
    recorder.refocus([4])
    assert not recorder.by_head.any()


class Layer(torch.nn.Module):
    layer_idx = 0
