"""Decide what the row of answer tokens says: each token's text, how much it looked at the image, how likely it was.

Token texts are a model's words about a stranger's photo: hostile until escaped, which is left to
whoever shows them.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from inference.recording import Recording, Role
from visualize.numbers.caption import bare
from visualize.numbers.reduce import Layer, check_layers


@dataclass(frozen=True, slots=True)
class Chip:
    """One token to choose.

    Attributes:
        index: into the recording's tokens.
        text: as decoded, unescaped; may be empty.
        label: the text on one line with spaces and unprintable characters made visible; never empty.
        role: see `Token`.
        share: share of the token's attention on the image, 0–1, mean over heads and the chosen layers.
        logprob: natural log of the probability the variant gives it (≤ 0); None for a prompt or template token.
    """

    index: int
    text: str
    label: str
    role: Role
    share: float
    logprob: float | None


def chips(
    recording: Recording, layer: Layer | None = None, *, roles: Collection[Role] = ("answer", "end")
) -> tuple[Chip, ...]:
    """What the token row shows for one variant.

    Args:
        recording: what the variant attended to.
        layer: 0-based index or window `(first, last)`, both included; None is the mean over all layers.
        roles: tokens to list.

    Returns:
        One chip per token with such a role, in order.

    Raises:
        SelectionError: a layer the model does not have.
    """
    count = recording.by_head.shape[0]
    layers = slice(0, count) if layer is None else check_layers(layer, count)
    shares = recording.image_share[:, layers].mean(axis=(1, 2), dtype=np.float64)
    logprobs = iter(recording.logprobs)
    found = []
    for index, token in enumerate(recording.tokens):
        logprob = float(next(logprobs)) if token.role in ("answer", "end") else None
        if token.role in roles:
            label = label_of(token.text, token.role)
            found.append(Chip(index, token.text, label, token.role, float(shares[index]), logprob))
    return tuple(found)


def label_of(text: str, role: Role) -> str:
    """A token's text on one line, with spaces and unprintable characters made visible; never empty."""
    if not text:
        return "end" if role == "end" else "…"
    return bare(text)
