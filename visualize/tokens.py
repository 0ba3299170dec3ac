"""Decide what the row of answer tokens says: each token's text, how much it looked at the image, how likely it was.

Token texts are a model's words about a stranger's photo: hostile until escaped. The data here is raw; `chips_html` is
the one place that turns it into HTML, and escapes everything.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from html import escape

import numpy as np

from inference.records import Recording, Role
from visualize.caption import plain
from visualize.reduce import Layer, check_layers


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
            label = _label(token.text, token.role)
            found.append(Chip(index, token.text, label, token.role, float(shares[index]), logprob))
    return tuple(found)


def chips_html(row: Collection[Chip], *, name: str = "Answer tokens") -> str:
    """The token row as HTML to read: one element per token, its image share written out and as the length of a bar.

    Args:
        row: from `chips`.
        name: what the row is called for those who cannot see it.

    Returns:
        A `<div>`; each element in it has class `token` and its index as `data-token`. Every text is escaped.
    """
    elements = "".join(_element(chip) for chip in row)
    return f'<div class="tokens" role="group" aria-label="{escape(name)}" style="{_ROW}">{elements}</div>'


_ROW = "display:flex;flex-wrap:wrap;gap:4px;font-family:system-ui,sans-serif"
_CHIP = (
    "display:inline-flex;flex-direction:column;align-items:stretch;min-width:3.2em;padding:3px 7px 4px;"
    "border-radius:6px;background:transparent;color:inherit;font-size:14px;border:1px solid rgba(128,128,128,.55)"
)


def _element(chip: Chip) -> str:
    percent = f"{chip.share * 100:.1f} %"
    title = f"token {chip.index}, {percent} of its attention on the image"
    if chip.logprob is not None:
        title += f", probability {math.exp(chip.logprob):.3g}"
    length = min(max(chip.share, 0.0), 1.0) * 100
    return (
        f'<span class="token" data-token="{chip.index}" title="{escape(title)}" style="{_CHIP}">'
        f'<bdi style="white-space:pre">{escape(chip.label)}</bdi>'
        f'<span style="font-size:11px;opacity:.75">{percent}</span>'
        f'<span aria-hidden="true" style="display:block;height:3px;background:rgba(128,128,128,.3)">'
        f'<span style="display:block;height:3px;width:{length:.1f}%;background:currentColor"></span></span></span>'
    )


def _label(text: str, role: Role) -> str:
    if not text:
        return "end" if role == "end" else "…"
    line = plain(text)
    return line.strip() or line.replace(" ", "␣")
