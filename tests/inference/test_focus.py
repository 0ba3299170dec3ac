"""Which tokens of an answer a word means, by hand."""

import pytest

from inference.errors import SelectionError
from inference.focus import digit_tokens, focus_of, place_tokens
from inference.recording import Token


def answered(*pieces: str, end: bool = True) -> tuple[Token, ...]:
    """Two tokens of a prompt with a number in it, then an answer of these pieces."""
    words = [(" (1, 2)", "prompt"), ("<|im_end|>", "template"), *((piece, "answer") for piece in pieces)]
    words += [("", "end")] if end else []
    return tuple(Token(i, text, role, i, i - (role in ("answer", "end"))) for i, (text, role) in enumerate(words))


CLICK = ('{"point_2', 'd": [', "4", "12", ",", " 7", "]}", " of 3")  # tokens 2 to 9


@pytest.mark.parametrize(
    ("pieces", "focus", "expected"),
    [
        (CLICK, "digits", (4, 5, 7)),  # and not the 2 of its key, nor the 3 behind it
        (CLICK, None, (4, 5, 7)),
        (CLICK, "first", (2,)),
        (CLICK, (3, 9), (3, 9)),
        (("a ", "3"), "digits", (3,)),  # no place: every digit
        (("a ", "3"), None, (2,)),
        (("(", "5", ",6)"), None, (3, 4)),
        (("(5,", "6)"), None, (2, 3)),  # the first token is one of them
        (("red",), None, (2,)),
        ((), None, (2,)),  # its end
        ((), "first", (2,)),
        (("at (5,", " 6"), None, (2,)),  # no place: it ends within it
    ],
)
def test_a_word_means_these_tokens(pieces, focus, expected):
    assert focus_of(answered(*pieces), focus) == expected


def test_an_answer_without_an_end_has_its_tokens_too():
    tokens = answered("(5,", " 6)", end=False)
    assert focus_of(tokens, None) == place_tokens(tokens) == digit_tokens(tokens) == (2, 3)


@pytest.mark.parametrize(("pieces", "shown"), [(("none",), "'none'"), ((), "''"), (("y" * 500,), "'y{80}' holds")])
def test_digits_of_an_answer_without_any_are_refused(pieces, shown):
    assert digit_tokens(answered(*pieces)) == ()
    with pytest.raises(SelectionError, match=f"The answer {shown}"):
        focus_of(answered(*pieces), "digits")
