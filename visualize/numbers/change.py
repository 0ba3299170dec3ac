"""Decide where two variants differ most: which token the page opens on, and which layer.

The measure is `row_divergence` of the head-mean rows: Jensen–Shannon divergence in bits of whole rows, the image's
cells plus one outcome for all that is not image. It sees a look that moved within the image and a look that moved on
or off it in one number from 0 to 1, and a layer that barely sees the image cannot win by the noise of its
renormalised map. A token's change is the mean over layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.errors import SelectionError
from inference.measures import Measure, row_divergence
from inference.recording import Recording
from inference.records import Comparison
from visualize.numbers.at_once import at_once
from visualize.numbers.token_choice import answer_indices, token_indices


@dataclass(frozen=True, slots=True)
class LargestChange:
    """Where variants differ most: which variant from the first one, at which token, in which layer."""

    variant: str
    token: int
    layer: int


def row_changes(base: Recording, adapter: Recording, tokens: Sequence[int] | None = None) -> Measure:
    """How much the rows of some tokens differ between two variants, layer by layer.

    Args:
        base, adapter: recordings of the same tokens; the measure is symmetric.
        tokens: indices; None is every token.

    Returns:
        `(tokens, layers)` in bits, 0–1, of the head-mean rows.

    Raises:
        SelectionError: the variants replayed different tokens.
    """
    check_same_tokens(base, adapter)
    chosen = range(len(base.tokens)) if tokens is None else tokens
    rows = ([each.by_token[token] for token in chosen] for each in (base, adapter))
    return at_once(row_divergence, *rows)


def largest_change(changes: Mapping[str, Measure], tokens: Sequence[int]) -> LargestChange | None:
    """Where variants differ most from the first: the token by its mean over layers, then its layer.

    Args:
        changes: per variant, `(tokens, layers)` as `row_changes` gives them, of the tokens that count.
        tokens: their indices.

    Returns:
        The first where several are equal; None where nothing differs.
    """
    means = {variant: rows.mean(axis=1) for variant, rows in changes.items()}
    if not any(mean.any() for mean in means.values()):
        return None
    variant = max(means, key=lambda name: float(means[name].max()))
    row = int(means[variant].argmax())
    return LargestChange(variant, tokens[row], int(changes[variant][row].argmax()))


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
    return np.asarray(row_changes(base, adapter, token_indices(base, "answer")).mean(axis=1))


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
    return int(row_changes(first, second, token_indices(first, token)).argmax())


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
