"""Decide which numbers stand beside a picture; all are of the attention itself, whatever the view shows."""

import math
from dataclasses import dataclass

import numpy as np

from inference.measures import Measure, entropy, image_share, js_divergence, row_divergence
from inference.recording import FloatArray, Recording
from visualize.numbers.head_choice import Head
from visualize.numbers.token_choice import TokenChoice, token_indices


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers of one variant's attention, see `inference.measures`; nan where it has none.

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


def measures_of(weights: FloatArray, head: Head) -> tuple[Measures, ...]:
    """The numbers of one variant's maps, `(layers, grid_h, grid_w)`, as the raw view shows them; one per layer."""
    spread = entropy(weights)
    return tuple(map(Measures, _of_rows(image_share(weights), head), spread.tolist(), np.exp(spread).tolist()))


def changes_of(base: FloatArray, adapter: FloatArray, head: Head) -> tuple[Change, ...]:
    """The numbers of two variants' maps, `(layers, grid_h, grid_w)` each, as the raw view shows them; one per layer."""
    return tuple(
        map(
            Change,
            js_divergence(base, adapter).tolist(),
            _of_rows(image_share(adapter) - image_share(base), head),
            (entropy(adapter) - entropy(base)).tolist(),
            _of_rows(row_divergence(base, adapter), head),
        )
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


def _of_rows(values: Measure, head: Head) -> list[float]:
    """Numbers of whole rows, per layer; a maximum over heads is no row."""
    return [math.nan] * len(values) if head == "max" else list(values.tolist())
