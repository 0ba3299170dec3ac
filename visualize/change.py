"""Decide where two variants differ most: which token the page opens on, and which layer.

The measure is `row_divergence` of the head-mean rows: Jensen–Shannon divergence in bits of whole rows, the image's
cells plus one outcome for all that is not image. It sees a look that moved within the image and a look that moved on
or off it in one number from 0 to 1, and a layer that barely sees the image cannot win by the noise of its
renormalised map. A token's change is the mean over layers.
"""

import numpy as np

from inference.errors import SelectionError
from inference.records import Comparison, Recording
from visualize.measures import Measure, row_divergence
from visualize.token_choice import answer_indices, token_indices


def change_per_token(base: Recording, adapter: Recording) -> Measure:
    """How much each answer token's attention differs between two variants.

    Args:
        base, adapter: recordings of the same tokens; the measure is symmetric.

    Returns:
        `(answer tokens,)` in bits, 0–1: mean over layers of `row_divergence`, in the order of `answer_indices(tokens)`
        (the end token counts only where the answer is empty).

    Raises:
        SelectionError: the variants replayed different tokens, or there is no answer token.
    """
    check_same_tokens(base, adapter)
    indices = list(token_indices(base, "answer"))
    return np.asarray(row_divergence(base.by_token[indices], adapter.by_token[indices]).mean(axis=1))


def token_of_largest_change(comparison: Comparison, base: str | None, adapter: str | None) -> int:
    """The answer token on which two variants differ most: what the page opens on.

    An answer is replayed word by word, so once the words that decide it are in the context, both variants look at the
    same place; a mean over the answer would hide the one row in which they part.

    Args:
        comparison: what was recorded.
        base, adapter: variants of it; None is the base model.

    Returns:
        Index into `comparison.tokens`; the first where several are equal (for instance all 0).

    Raises:
        SelectionError: a variant that was not recorded, or variants that replayed different tokens.
    """
    pair = pair_of(comparison, base, adapter)
    return answer_indices(comparison.tokens)[int(change_per_token(*pair).argmax())]


def layer_of_largest_change(comparison: Comparison, base: str | None, adapter: str | None, token: int) -> int:
    """The layer in which two variants' rows of one token differ most, by the same measure; the first where equal.

    Raises:
        SelectionError: see `token_of_largest_change`; or the token does not exist.
    """
    first, second = pair_of(comparison, base, adapter)
    token_indices(first, token)
    return int(row_divergence(first.by_token[token], second.by_token[token]).argmax())


def pair_of(comparison: Comparison, base: str | None, adapter: str | None) -> tuple[Recording, Recording]:
    """The recordings of two variants whose difference can be taken.

    Raises:
        SelectionError: a variant that was not recorded, or each replayed its own answer.
    """
    if not comparison.tokens:
        raise SelectionError(
            "Each variant replayed its own answer here, so their rows follow different words and have no difference.",
            "Replay one answer through both: set answer_from to one of the variants.",
        )
    return comparison.recording(base), comparison.recording(adapter)


def check_same_tokens(base: Recording, adapter: Recording) -> None:
    """Pass two recordings whose rows follow the same words on the same grid.

    Raises:
        SelectionError: they do not.
    """
    if base.tokens != adapter.tokens or base.by_token.shape != adapter.by_token.shape:
        raise SelectionError(
            "The two variants replayed different tokens, so their rows have no difference.",
            "Replay one answer through both: set answer_from to one of the variants.",
        )
