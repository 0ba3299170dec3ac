"""Decide which tokens a choice of tokens stands for; knows no layer, head or map."""

from reprlib import repr as shortened
from typing import Any, Literal

import numpy as np

from inference.errors import SelectionError
from inference.focus import focus_of, place_tokens
from inference.recording import Recording, Token

#: One token, a range `(first, last)` with both ends included, or a set of tokens that has a name.
TokenChoice = int | tuple[int, int] | Literal["answer", "focus", "digits"]


def answer_indices(tokens: tuple[Token, ...]) -> tuple[int, ...]:
    """Indices of the tokens with role answer; where the answer is empty, the end token's."""
    answer = tuple(index for index, token in enumerate(tokens) if token.role == "answer")
    return answer or tuple(index for index, token in enumerate(tokens) if token.role == "end")


def default_token(recording: Recording) -> TokenChoice:
    """What is shown where nobody says: the digits of the places that the answer says, else its first token.

    The whole answer for a recording without one, which whoever shows it refuses.
    """
    if place_tokens(recording.tokens):
        return "digits"
    return next(iter(answer_indices(recording.tokens)), "answer")


def token_indices(recording: Recording, token: TokenChoice) -> tuple[int, ...]:
    """The indices that a selection's `token` stands for.

    Raises:
        SelectionError: an index past the last token, an answer without tokens, or digits of one that holds none.
    """
    if token == "focus":
        return recording.focus
    if token == "digits":
        return focus_of(recording.tokens, "digits")
    if token == "answer":
        indices = answer_indices(recording.tokens)
        if not indices:
            raise SelectionError("This recording has no answer tokens.", "Choose a prompt token.")
        return indices
    first, last = token if isinstance(token, tuple) else (token, token)
    check_range("token", last, len(recording.tokens))
    return tuple(range(first, last + 1))


def heads_recorded(recording: Recording, token: TokenChoice) -> bool:
    """Whether the recording's single heads are those of exactly these tokens."""
    return set(token_indices(recording, token)) == set(recording.focus)


def check_token_choice(token: object) -> None:
    """Pass a well-formed choice of tokens; whether a recording has them is another question.

    Raises:
        SelectionError: anything else.
    """
    if isinstance(token, str) and token in ("answer", "focus", "digits"):
        return
    if isinstance(token, tuple):
        if len(token) != 2 or not all(map(is_index, token)) or token[0] > token[1]:
            raise SelectionError(f"A range of tokens is (first, last) with 0 ≤ first ≤ last; not {shortened(token)}.")
    elif not is_index(token):
        raise SelectionError(
            "token must be a 0-based index, a range (first, last), 'answer', 'digits' or 'focus'; "
            f"not {shortened(token)}."
        )


def is_index(value: Any) -> bool:
    """Whether a value is a whole number from 0 up."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)


def check_range(what: str, value: int, count: int) -> None:
    """Pass an index of `count` things.

    Raises:
        SelectionError: it is past the last.
    """
    if value >= count:
        raise SelectionError(
            f"{what} {value} does not exist: this result has {what}s 0–{count - 1}.", "Choose one of them."
        )
