"""Decide which few heads a ranking puts first, whatever it counts; what it means is said by who counts.

The mean of a few heads of any layers, chosen by a ranking, is what training-free grounding reads (LocalizationHeads,
Kang et al., CVPR 2025, arXiv 2503.06287: three heads chosen by image share and spatial entropy).
"""

import numpy as np
from numpy.typing import ArrayLike

from inference.errors import SelectionError

#: So many heads are offered as one.
TOP = 5


def top_heads(scores: ArrayLike, count: int = TOP) -> tuple[tuple[int, int], ...]:
    """The heads with the largest scores of all layers, as `Selection(head=…)` takes them.

    Args:
        scores: `(layers, heads)`, larger is better: `localization` of a recording's `by_head`, `shift_matrix`, one
            variant's `BoxScores.heads.share`, `Attribution.by_head` (minus it, where its total is negative), or any.
        count: at most so many.

    Returns:
        Pairs `(layer, head)`, the largest score first, the lower layer and head first where scores are equal; fewer
        where fewer are above 0. A score that is nan is none.

    Raises:
        SelectionError: scores of another shape, or a count below 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2:
        raise SelectionError(f"scores must be (layers, heads); got shape {values.shape}.")
    if count < 1:
        raise SelectionError(f"count must be 1 or more; not {count!r}.")
    flat = np.nan_to_num(values.ravel(), nan=0.0)
    order = [at for at in np.argsort(-flat, kind="stable").tolist()[:count] if flat[at] > 0]
    return tuple(divmod(at, values.shape[1]) for at in order)
