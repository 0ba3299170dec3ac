"""Decide what is said of looking and saying beside a target: inside or outside, each with its number; never a mood.

A map looks inside where its maximum lies in the target, as in the pointing game; words say inside where a said point,
or the middle of a said box, lies in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inference.boxes import Box
from inference.places import Point, Said
from inference.records import Comparison
from visualize.numbers.caption import variant_name
from visualize.numbers.looked_said import words_of
from visualize.numbers.scale import number


@dataclass(frozen=True, slots=True)
class SaidInTarget:
    """How many said places lie in a target.

    Attributes:
        places: how many are said.
        inside: of how many of these the point, or the middle of the box, lies in the target.
        away: pixels from the nearest of them to the target, 0 inside; nan where none is said.
    """

    places: int
    inside: int
    away: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One map beside its variant's words.

    Attributes:
        looks: whether the map's maximum lies in the target.
        share: of the row's whole attention that is in the target, 0–1; nan where that is not known.
        said: what the words say of the target.
    """

    looks: bool
    share: float
    said: SaidInTarget

    @property
    def words(self) -> str:
        """`looks inside (12.3 % of its attention there), says outside (41 px away)`."""
        looks = (
            f"looks {'inside' if self.looks else 'outside'} ({number(self.share, 'share')} % of its attention there)"
        )
        if not self.said.places:
            return f"{looks}, says no place"
        if self.said.inside:
            return f"{looks}, says inside ({self.said.inside} of {self.said.places} said)"
        return f"{looks}, says outside ({number(self.said.away, 'nats')} px away)"


def said_in_target(said: Said, target: Sequence[Box]) -> SaidInTarget:
    """Where the said places lie beside a target.

    Args:
        said: what a variant says.
        target: boxes in pixels of the photo, at least one; their union is the target, with its edges.
    """
    away = [min(_away(place.middle, box) for box in target) for place in said.places]
    return SaidInTarget(len(away), away.count(0.0), min(away, default=math.nan))


def said_beside(comparison: Comparison, variants: Sequence[str], target: Sequence[Box]) -> list[SaidInTarget]:
    """What the words of variants, `base` or adapters' names, say of a target; see `said_in_target`."""
    named = {variant_name(recording): recording for recording in comparison.recordings}
    return [said_in_target(words_of(comparison, named[variant]).said, target) for variant in variants]


def _away(point: Point, box: Box) -> float:
    """Pixels from a point to a box; 0 in it and on its edges."""
    (x, y), (top, left, bottom, right) = point, box
    return math.hypot(max(left - x, x - right, 0.0), max(top - y, y - bottom, 0.0))
