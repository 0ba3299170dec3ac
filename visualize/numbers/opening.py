"""Decide where a result opens: which layer and tokens stand first, on the page, in a notebook, for a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.focus import digit_tokens, place_tokens
from inference.measures import row_divergence
from inference.recording import Recording, Token
from inference.records import Comparison
from visualize.numbers.change import LargestChange, largest_change, row_changes
from visualize.numbers.token_choice import TokenChoice, answer_indices


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a result opens.

    Attributes:
        layer: 0-based.
        token: a token of the answer, or its digits.
        variant: the one that differs most from the first, there; None where nothing differs.
    """

    layer: int
    token: TokenChoice
    variant: str | None


def questioned(comparison: Comparison) -> int:
    """The token that a question about a change is of where none of the answer's is looked at alone.

    The first that a variant wrote otherwise than it is replayed. Where all wrote the same: the first of its digits,
    where a place is decided; without any, the answer's first token (the last of all, where nothing was answered).
    """
    tokens = comparison.recordings[0].tokens
    differs = [_parts(comparison.tokens, recording.answer_ids) for recording in comparison.recordings]
    usual = digit_tokens(tokens) or answer_indices(tokens)
    return next(iter(sorted(index for index in differs if index is not None) or usual), len(tokens) - 1)


def _parts(replayed: Sequence[Token], written: Sequence[int]) -> int | None:
    """The index of the first replayed token of an answer that is not what was written; None where there is none."""
    answer = [index for index, token in enumerate(replayed) if token.role in ("answer", "end")]
    pairs = zip(answer, written, strict=False)
    return next((index for index, wrote in pairs if replayed[index].id != wrote), None)


def opening(comparison: Comparison, base: str | None, adapter: str | None) -> tuple[int, TokenChoice]:
    """The layer and the tokens that two variants of a result open on.

    Of an answer that says a point or a box, its digits, and the layer in which their mean row differs most. Of any
    other, the token on which the variants differ most, and its layer of largest change. Where nothing differs, there is
    one variant, or each replayed its own answer: the middle layer, and the first answer token (the last token, where
    nothing was answered) where there are no such digits.

    Args:
        comparison: what was recorded.
        base: the variant on the left; None is the base model.
        adapter: the variant on the right; the same as `base` where it stands alone.

    Returns:
        (layer, token); the layer is 0-based.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    first, second = comparison.recording(base), comparison.recording(adapter)
    answered, most = answer_indices(first.tokens), None
    if answered and comparison.tokens:
        most = largest_change({"": row_changes(first, second, answered)}, answered)
    opens = opens_on(comparison, first, {"": second}, most)
    return opens.layer, opens.token


def opens_on(
    comparison: Comparison, first: Recording, others: Mapping[str, Recording], most: LargestChange | None
) -> Opening:
    """Where some variants open, see `opening`.

    Args:
        comparison: what was recorded.
        first: the variant that the others are compared with.
        others: these, by name.
        most: where in the answer they differ most.
    """
    digits = list(place_tokens(first.tokens))
    if digits:
        return _on_digits(digits, first, others if comparison.tokens else {})
    if most is not None:
        return Opening(most.layer, most.token, most.variant)
    answered = answer_indices(first.tokens)
    return Opening(middle_layer(first), answered[0] if answered else len(first.tokens) - 1, None)


def middle_layer(recording: Recording) -> int:
    """The layer where nothing else decides: half of their number, rounded down."""
    return len(recording.by_head) // 2


def _on_digits(digits: list[int], first: Recording, others: Mapping[str, Recording]) -> Opening:
    def mean_rows(recording: Recording) -> np.typing.NDArray[np.float64]:  # (layers, grid_h, grid_w)
        return np.asarray(recording.by_token[digits].mean(axis=0, dtype=np.float64))

    rows = mean_rows(first)
    changes = {name: row_divergence(rows, mean_rows(other)) for name, other in others.items()}
    variant = max(changes, key=lambda name: float(changes[name].mean()), default=None)
    if variant is None or not changes[variant].any():
        return Opening(middle_layer(first), "digits", None)
    return Opening(int(changes[variant].argmax()), "digits", variant)
