"""Decide where a result opens: which layer and token stand first, on the page, in a notebook, for a program."""

from inference.records import Comparison, Recording
from visualize.numbers.change import LargestChange, largest_change, row_changes
from visualize.numbers.token_choice import answer_indices


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
    if not answered or not comparison.tokens:
        return opens_on(first, None)
    return opens_on(first, largest_change({"": row_changes(first, second, answered)}, answered))


def opens_on(recording: Recording, most: LargestChange | None) -> tuple[int, int]:
    """(layer, token) of the largest change; where nothing differs, as `opening` says."""
    if most is not None:
        return most.layer, most.token
    answered = answer_indices(recording.tokens)
    return middle_layer(recording), answered[0] if answered else len(recording.tokens) - 1


def middle_layer(recording: Recording) -> int:
    """The layer where nothing else decides: half of their number, rounded down."""
    return len(recording.by_head) // 2
