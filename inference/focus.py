"""Decide at which tokens of an answer single heads are shown and measured, where a word names them; it runs no model.

| word | the tokens |
|---|---|
| `first` | the answer's first; in an answer that is empty, its end |
| `digits` | those that spell the digits of the points and boxes that the answer says; where it says none, every digit |

Where nobody says: the digits of its points and boxes, since there the answer is decided; else the first.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from inference.errors import SelectionError
from inference.recording import Token
from inference.said import said_in
from inference.spelling import Spelling

FocusWord = Literal["first", "digits"]
WORDS: tuple[FocusWord, ...] = get_args(FocusWord)
_SHOWN = 80


def focus_of(tokens: Sequence[Token], focus: Sequence[int] | FocusWord | None) -> tuple[int, ...]:
    """The tokens that are meant of a recorded sequence.

    Args:
        tokens: see `Comparison.tokens`.
        focus: their indices, one of `WORDS`, or None where nobody says.

    Returns:
        Indices, in order; those given as they are.

    Raises:
        SelectionError: `"digits"` of an answer without any.
    """
    if focus == "digits":
        found = digit_tokens(tokens)
        if not found:
            words = "".join(token.text for token in tokens if token.role == "answer")
            raise SelectionError(
                f"The answer {words[:_SHOWN]!r} holds no digit: there is nothing to show at.", "Choose another focus."
            )
        return found
    if focus is not None and not isinstance(focus, str):
        return tuple(focus)
    first = next(index for index, token in enumerate(tokens) if token.role in ("answer", "end"))
    return (place_tokens(tokens) if focus is None else ()) or (first,)


def place_tokens(tokens: Sequence[Token]) -> tuple[int, ...]:
    """Indices of the tokens that spell the digits of the points and boxes that the answer says; () where it says none.

    Args:
        tokens: see `Comparison.tokens`.
    """
    answer, pieces = _answer(tokens)
    said = said_in("".join(pieces), (1, 1), pieces=pieces)  # which tokens spell it depends on no photo
    return tuple(answer[token] for token in sorted({token for place in said.places for token in place.tokens}))


def digit_tokens(tokens: Sequence[Token]) -> tuple[int, ...]:
    """Indices of the tokens that `digits` means; () for an answer without a digit.

    Args:
        tokens: see `Comparison.tokens`.
    """
    answer, pieces = _answer(tokens)
    spelled, words = Spelling(pieces), "".join(pieces)
    digits = [place for place, character in enumerate(words) if character.isdecimal()]
    every = sorted({token for place in digits for token in spelled.tokens(place, place + 1)})
    return place_tokens(tokens) or tuple(answer[token] for token in every)


def _answer(tokens: Sequence[Token]) -> tuple[list[int], list[str]]:
    answer = [index for index, token in enumerate(tokens) if token.role == "answer"]
    return answer, [tokens[index].text for index in answer]
