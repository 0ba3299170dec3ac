"""Decide where a result opens: which layer and token stand first, on the page, in a notebook, for a program."""

from inference.records import Comparison, Recording
from visualize.change import change_per_token, layer_of_largest_change, token_of_largest_change
from visualize.token_choice import answer_indices


def opening(comparison: Comparison, base: str | None, adapter: str | None) -> tuple[int, int]:
    """The layer and the token that two variants of a result open on.

    The token on which they differ most, and its layer of largest change. Where nothing differs, there is one variant,
    or each replayed its own answer: the middle layer and the first answer token (the last token, where nothing was
    answered).

    Args:
        comparison: what was recorded.
        base: the variant on the left; None is the base model.
        adapter: the variant on the right; the same as `base` where it stands alone.

    Returns:
        (layer, token), both 0-based.

    Raises:
        SelectionError: a variant that was not recorded.
    """
    first, second = comparison.recording(base), comparison.recording(adapter)
    answered = answer_indices(first.tokens)
    if answered and comparison.tokens and change_per_token(first, second).any():
        token = token_of_largest_change(comparison, base, adapter)
        return layer_of_largest_change(comparison, base, adapter, token), token
    return middle_layer(first), answered[0] if answered else len(first.tokens) - 1


def middle_layer(recording: Recording) -> int:
    """The layer where nothing else decides: half of their number, rounded down."""
    return len(recording.by_head) // 2
