"""Decide which heads are worth looking at: those that look at the image, and at one place of it.

A mean over heads buries the few that localise (three can be enough: Kang et al., arXiv 2503.06287).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.records import Recording
from visualize.measures import Measure
from visualize.sinks import sink_cells


@dataclass(frozen=True, slots=True)
class RankedHead:
    """One head and what it was ranked by, sinks left out of both.

    Attributes:
        layer, head: 0-based.
        image_share: share of the row's attention on the image, 0–1.
        spatial_entropy: in nats; 0 is one connected place, inf is none that stands out.
        looks: whether the share reaches the elbow of all heads' shares.
    """

    layer: int
    head: int
    image_share: float
    spatial_entropy: float
    looks: bool


def rank_heads(recording: Recording) -> tuple[RankedHead, ...]:
    """All heads, the best localisers first.

    1. Sink cells of each layer are set to 0: a head that only feeds a sink is no localiser.
    2. Heads whose image share reaches the elbow of the sorted shares come first. The elbow is the share farthest from
       the chord between the smallest and the largest; where it hangs below the chord it is the last of the low ones,
       and the next one up counts.
    3. Among those, low spatial entropy first; the others by image share.

    Args:
        recording: its `by_head` is used, so the ranking is about its `focus` tokens.

    Returns:
        layers × heads of them.
    """
    maps = recording.by_head.astype(np.float64)
    for layer, heads in enumerate(maps):
        heads[:, sink_cells(recording, layer)] = 0
    shares, places = maps.sum(axis=(-2, -1)), spatial_entropy(maps)
    threshold = _elbow(shares.ravel())
    ranked = []
    for layer, head in np.ndindex(*shares.shape):
        share = float(shares[layer, head])
        looks = share >= threshold and share > 0
        ranked.append(RankedHead(layer, head, share, float(places[layer, head]), looks))
    return tuple(sorted(ranked, key=_order))


def spatial_entropy(maps: ArrayLike) -> Measure:
    """Over how many connected places a map is spread: −Σ p ln p over its places, in nats.

    Cells count by what they hold above twice the map's mean; places are groups of such cells that touch, diagonally
    too; p is a place's part of the whole. (Kang et al., arXiv 2503.06287; the twice is their code's.)

    Args:
        maps: `(…, grid_h, grid_w)`, values ≥ 0.

    Returns:
        The leading axes; 0 for one place; inf where no cell stands out.
    """
    values = np.asarray(maps, dtype=np.float64)
    above = np.clip(values - 2 * values.mean(axis=(-2, -1), keepdims=True), 0, None)
    above = above.reshape(-1, *values.shape[-2:])  # (maps, grid_h, grid_w)
    count, cells = len(above), above[0].size
    owner = np.arange(count)[:, None, None] * (cells + 1) + _places(above > 0)
    parts = np.bincount(owner.ravel(), weights=above.ravel(), minlength=count * (cells + 1)).reshape(count, cells + 1)
    whole = parts.sum(axis=1, keepdims=True)
    p = np.divide(parts, whole, out=np.zeros_like(parts), where=whole > 0)
    nats = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) + 0.0  # no −0.0
    return np.asarray(np.where(whole[:, 0] > 0, nats, np.inf).reshape(values.shape[:-2]))


def _order(head: RankedHead) -> tuple[bool, float, float, int, int]:
    blurred = head.spatial_entropy if head.looks else 0.0
    return (not head.looks, blurred, -head.image_share, head.layer, head.head)


def _elbow(shares: Measure) -> float:
    ordered = np.sort(shares)
    steps = np.arange(ordered.size)
    chord = ordered[0] + (ordered[-1] - ordered[0]) * steps / max(ordered.size - 1, 1)
    at = int(np.abs(ordered - chord).argmax())  # vertical and perpendicular distance peak at the same place
    return float(ordered[at + 1 if ordered[at] < chord[at] else at])


def _places(cells: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Name the groups of True cells of each map that touch, diagonally too, by 1 … cells; False cells are 0.

    Each cell starts with a name of its own and takes the largest around it until nothing changes.
    """
    _, height, width = cells.shape
    names = np.where(cells, np.arange(1, height * width + 1).reshape(height, width), 0)
    changing = np.arange(len(cells))
    while changing.size:
        before = names[changing]
        around = np.pad(before, ((0, 0), (1, 1), (1, 1)))
        down = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:])
        largest = np.maximum(np.maximum(down[:, :, :-2], down[:, :, 1:-1]), down[:, :, 2:])
        names[changing] = np.where(cells[changing], largest, 0)
        changing = changing[(names[changing] != before).any(axis=(1, 2))]
    return names
