"""Decide where a row's attention is counted as going: image, question, template or answer, per layer.

These are the recorded shares (`Recording.group_share`), which are known for every token and every head.
"""

import numpy as np

from inference.measures import Measure
from inference.recording import Recording
from visualize.numbers.reduce import Selection, check_heads, check_layers
from visualize.numbers.token_choice import token_indices


def group_shares(recording: Recording, selection: Selection) -> Measure:
    """The shares of what is chosen: mean over its tokens, its layers, and its heads.

    Args:
        recording: one variant.
        selection: `head` is one head, a set of them, or the mean of all; a maximum over heads is no row whose shares
            could be counted, so that for `"max"`, too, it is the mean. `view` is not looked at: these are shares of
            the attention itself.

    Returns:
        `(4,)` float64 (of several images more), in the order of `Comparison.groups`, each 0–1; they sum to 1.

    Raises:
        SelectionError: a layer, head or token that this recording does not have.
    """
    layers, head = check_layers(selection.layer, recording.by_head.shape[0]), selection.head
    check_heads(head, *recording.by_head.shape[:2])
    rows = recording.group_share[
        list(token_indices(recording, selection.token))
    ]  # (chosen tokens, layers, heads, groups)
    if isinstance(head, tuple):
        return np.asarray(np.mean([rows[:, layer, one] for layer, one in head], axis=(0, 1), dtype=np.float64))
    of_heads = rows[:, layers] if isinstance(head, str) else rows[:, layers, [head]]
    return np.asarray(of_heads.mean(axis=(0, 1, 2), dtype=np.float64))
