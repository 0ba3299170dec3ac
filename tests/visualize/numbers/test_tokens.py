"""The row of tokens, against the recording it was made from."""

import pytest

from inference.errors import SelectionError
from tests.visualize.factory import recording, tokens
from visualize import chips
from visualize.numbers.caption import plain


def test_chips_say_share_and_probability_of_each_answer_token():
    one = recording()
    row = chips(one, 2)
    assert [chip.index for chip in row] == [7, 8, 9]
    assert [chip.label for chip in row] == ["red", "circle", "end"]
    for ordinal, chip in enumerate(row):
        assert chip.share == pytest.approx(float(one.by_token[chip.index, 2].sum(dtype=float)), abs=1e-6)
        assert chip.logprob == pytest.approx(float(one.logprobs[ordinal]))
    mean = [float(one.group_share[index, :, :, 0].mean(dtype=float)) for index in (7, 8, 9)]
    assert [chip.share for chip in chips(one)] == pytest.approx(mean)
    window = [float(one.by_token[index, 1:3].sum(axis=(1, 2)).mean()) for index in (7, 8, 9)]
    assert [chip.share for chip in chips(one, (1, 2))] == pytest.approx(window, abs=1e-6)


def test_prompt_chips_have_no_probability():
    row = chips(recording(), roles=("prompt",))
    assert [chip.text for chip in row] == ["What", " is", " red", "?"]
    assert {chip.logprob for chip in row} == {None}


def test_a_layer_that_does_not_exist_has_no_chips():
    with pytest.raises(SelectionError, match="layers 0–3"):
        chips(recording(), 4)


def test_a_label_is_never_empty_and_shows_what_cannot_be_seen():
    row = chips(recording(row=tokens(answer=("", "  ", "\n", "\u202ex"))))
    assert [chip.label for chip in row] == ["…", "␣␣", "\\n", "\\u202ex", "end"]


def test_a_line_as_long_as_it_may_be_is_not_cut():
    assert plain("a" * 40) == "a" * 40
    assert plain("a" * 41) == "a" * 39 + "…"
    assert plain("abc", most=3) == "abc"
    assert plain("abcd", most=3) == "ab…"
    assert plain("\n", most=2) == "\\n"
