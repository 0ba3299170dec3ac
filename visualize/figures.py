"""Decide which numbers stand beside a picture; all are of the attention itself, whatever the view shows."""

import math
from dataclasses import dataclass

from inference.records import FloatArray, Recording
from visualize.measures import effective_cells, entropy, image_share, js_divergence, row_divergence
from visualize.reduce import Head, TokenChoice, token_indices


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers of one variant's attention, see `visualize.measures`; nan where it has none.

    Attributes:
        image_share: share of the row's whole attention on the image, 0–1; nan for head "max", which is no row.
        entropy: over the image's cells, in nats.
        effective_cells: exp(entropy).
    """

    image_share: float
    entropy: float
    effective_cells: float


@dataclass(frozen=True, slots=True)
class Change:
    """Numbers of a difference; nan where one of the two maps has no attention on the image.

    Attributes:
        js_divergence: bits, 0–1, between the two maps renormalised over the image.
        delta_share: adapter − base, of image share, −1–1.
        delta_entropy: adapter − base, of entropy, in nats.
        row_divergence: bits, 0–1, between the two whole rows; nan for head "max", which is no row.
    """

    js_divergence: float
    delta_share: float
    delta_entropy: float
    row_divergence: float


def measures_of(weights: FloatArray, head: Head) -> Measures:
    """The numbers of one variant's map, `(grid_h, grid_w)`, as the raw view shows it."""
    share = math.nan if head == "max" else float(image_share(weights))
    return Measures(share, float(entropy(weights)), float(effective_cells(weights)))


def change_of(base: FloatArray, adapter: FloatArray, head: Head) -> Change:
    """The numbers of two variants' maps, `(grid_h, grid_w)` each, as the raw view shows them."""
    first, second = measures_of(base, head), measures_of(adapter, head)
    return Change(
        float(js_divergence(base, adapter)),
        second.image_share - first.image_share,
        second.entropy - first.entropy,
        math.nan if head == "max" else float(row_divergence(base, adapter)),
    )


def probability_of(recording: Recording, token: TokenChoice) -> float | None:
    """The probability, 0–1, that a variant gives to one replayed token; None for another token, or several.

    Raises:
        SelectionError: a token this recording does not have.
    """
    indices = token_indices(recording, token)
    replayed = [index for index, each in enumerate(recording.tokens) if each.role in ("answer", "end")]
    if len(indices) > 1 or indices[0] not in replayed:
        return None
    return math.exp(float(recording.logprobs[replayed.index(indices[0])]))
