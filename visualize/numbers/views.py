"""Decide which views there are, what their values count, and what must have been recorded for them."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from inference.recording import ExtraView
from visualize.numbers.scale import Unit

View = Literal["raw", "sink-masked", "contrast", "relative", "gradient", "named", "named alone"]


class ViewKind(NamedTuple):
    """What a view is.

    Attributes:
        unit: what its values count.
        change: what a difference of two variants counts.
        signed: whether its values have both signs.
        heads: whether single heads have it; otherwise it is of the mean over heads, or of no head at all.
        layers: whether layers have it each their own; otherwise it is the same whatever layer is looked at.
        verb: what a variant with larger values does more of.
        recorded: what a request must have asked for; None where every recording has it.
    """

    unit: Unit = "share"
    change: Unit = "share difference"
    signed: bool = False
    heads: bool = True
    layers: bool = True
    verb: str = "looks"
    recorded: ExtraView | None = None


VIEWS: Mapping[View, ViewKind] = {
    "raw": ViewKind(),
    "sink-masked": ViewKind(),
    "contrast": ViewKind("share difference", signed=True, heads=False),
    "relative": ViewKind("ratio", "ratio difference", recorded="relative"),
    "gradient": ViewKind("logits", "logit difference", verb="relies", recorded="gradient"),
    "named": ViewKind("logits", "logit difference", heads=False, layers=False, verb="names", recorded="named"),
    "named alone": ViewKind("logits", "logit difference", heads=False, layers=False, verb="names", recorded="named"),
}
