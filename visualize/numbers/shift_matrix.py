"""Decide what "where did it change?" counts: one number per layer and head, of the focus tokens' rows."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from inference.errors import SelectionError
from inference.measures import Measure, entropy, image_share, js_divergence
from inference.recording import FloatArray
from inference.records import Comparison
from visualize.numbers.at_once import at_once
from visualize.numbers.change import check_same_tokens, pair_of

ShiftMeasure = Literal["js", "share", "entropy"]

_OF_LAYER: dict[str, Callable[[FloatArray, FloatArray], Measure]] = {
    "js": js_divergence,
    "share": lambda base, adapter: np.asarray(image_share(adapter) - image_share(base)),
    "entropy": lambda base, adapter: np.asarray(entropy(adapter) - entropy(base)),
}


def shift_matrix(
    comparison: Comparison, base: str | None, adapter: str | None, measure: ShiftMeasure = "js"
) -> Measure:
    """How much each head of each layer changed, for the focus token(s).

    Args:
        comparison: what was recorded.
        base, adapter: variants of it; None is the base model.
        measure: `"js"` in bits, 0–1, between the rows renormalised over the image; `"share"` the image share,
            `"entropy"` the entropy over the image in nats, both adapter − base.

    Returns:
        `(layers, heads)` float64; nan where a head puts nothing on the image and the measure does not exist.

    Raises:
        SelectionError: an unknown variant or measure, or variants that replayed different tokens or have another focus.
    """
    first, second = pair_of(comparison, base, adapter)
    check_same_tokens(first, second)
    if first.focus != second.focus:
        raise SelectionError(f"The variants' heads follow different tokens: {first.focus} and {second.focus}.")
    if measure not in _OF_LAYER:
        raise SelectionError(f"measure must be one of {', '.join(get_args(ShiftMeasure))}; not {measure!r}.")
    return at_once(_OF_LAYER[measure], first.by_head, second.by_head)
