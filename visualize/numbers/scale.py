"""Decide what value has which place on a colour scale, and say it in words; this file knows no colours.

Pictures that stand side by side share one scale: stretching each map to its own range hides every change of magnitude.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.recording import FloatArray

#: What a value counts. Shares are stored 0–1 and shown to people in percent, their differences in percentage points.
Unit = Literal["share", "share difference", "bits", "nats", "ratio", "ratio difference", "logits", "logit difference"]
#: A logarithmic scale spans this many decades below its upper limit.
LOG_DECADES = 3

_SMALLEST = 1e-30  # below it float32 has no room for a thousandth
_UNIT_WORDS = {
    "share": "% of the token's attention",
    "share difference": "percentage points of attention",
    "bits": "bits",
    "nats": "nats",
    "ratio": "times the general prompt's attention",
    "ratio difference": "difference of these ratios",
    "logits": "logits",
    "logit difference": "logits",
}
_FROM_ZERO = ("share", "ratio", "logits")


@dataclass(frozen=True, slots=True)
class ColourLimits:
    """The values at the two ends of a colour scale.

    Attributes:
        low, high: values that get the first and the last colour; values beyond them get the same. `low` is −`high`
            for a signed scale. Both are 0 where there is nothing to show (`empty`).
        log: whether equal ratios, not equal differences, are equal steps of colour.
        unit: what the values count.
        percentile: the percentile of the values at which `high` was set; 100 clips none.

    Raises:
        SelectionError: limits that are not finite or not in order, or a logarithm at or below 0.
    """

    low: float
    high: float
    log: bool = False
    unit: Unit = "share"
    percentile: float = 100.0

    def __post_init__(self) -> None:
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        ordered = 0 <= self.low < self.high or self.low == -self.high <= 0
        if not (finite and ordered) or (self.log and not self.empty and self.low <= 0):
            kind = "logarithmic " if self.log else ""
            raise SelectionError(f"{kind}colour limits cannot go from {self.low} to {self.high}.")
        if self.unit not in get_args(Unit):
            raise SelectionError(f"unit must be one of {', '.join(get_args(Unit))}; not {self.unit!r}.")

    @property
    def empty(self) -> bool:
        """Whether all values were 0: everything gets the first colour (the middle one on a signed scale)."""
        return self.low == self.high == 0

    @property
    def signed(self) -> bool:
        """Whether the scale is for values of both signs, symmetric about 0."""
        return self.low < 0 or (self.empty and self.unit not in _FROM_ZERO)

    @property
    def unit_words(self) -> str:
        """The unit as people read it on the picture."""
        return _UNIT_WORDS[self.unit]

    def place(self, values: NDArray[np.floating]) -> FloatArray:
        """Where values lie between the limits: float32, 0 at `low` to 1 at `high`, clipped; any shape."""
        numbers: NDArray[np.floating] = np.asarray(values, dtype=np.float32 if self.high > _SMALLEST else np.float64)
        if self.empty:
            return np.full(numbers.shape, 0.5 if self.signed else 0.0, dtype=np.float32)
        low, high = self.low, self.high
        if self.log:
            numbers, low, high = np.log(np.maximum(numbers, low)), math.log(low), math.log(high)
        return np.asarray(np.clip((numbers - low) / (high - low), 0, 1), dtype=np.float32)

    def words(self) -> str:
        """The limits as one phrase, e.g. `0 – 4.31 % of the token's attention`."""
        if self.empty:
            return f"all 0 {self.unit_words}"
        if self.signed:
            limits = f"± {number(self.high, self.unit)}"
        else:
            limits = f"{number(self.low, self.unit)} – {number(self.high, self.unit)}"
        scale = ", logarithmic" if self.log else ""
        clipped = f", clipped at percentile {self.percentile:g}" if self.percentile < 100 else ""
        return f"{limits} {self.unit_words}{scale}{clipped}"


def shared_limits(
    *maps: FloatArray,
    percentile: float = 100.0,
    log: bool = False,
    hidden: NDArray[np.bool_] | None = None,
    unit: Unit = "share",
) -> ColourLimits:
    """One scale for all maps that stand side by side, from 0 (or three decades below the top) to their common top.

    Args:
        maps: `(grid_h, grid_w)` each, values ≥ 0; all count together.
        percentile: 50–100. The top is this percentile of all values above 0; 100 is the largest value, and nothing is
            clipped. Lower it to see past a few hot cells.
        log: logarithmic steps, from `high / 1000`.
        hidden: cells that do not count, `(grid_h, grid_w)` bool.
        unit: what the values count.

    Raises:
        SelectionError: a percentile outside 50–100, or values below 0.
    """
    high = float(tops(_counted(maps, hidden)[None], (percentile,))[0, 0])
    return limits_from_zero(high, log=log, percentile=percentile, unit=unit)


def diverging_limits(
    *maps: FloatArray,
    percentile: float = 100.0,
    hidden: NDArray[np.bool_] | None = None,
    unit: Unit = "share difference",
) -> ColourLimits:
    """One signed scale, symmetric about 0, for differences and contrasts.

    Args:
        maps: `(grid_h, grid_w)` each; all count together.
        percentile: 50–100, of the absolute values that are not 0.
        hidden: cells that do not count, `(grid_h, grid_w)` bool.
        unit: what the values count.

    Raises:
        SelectionError: a percentile outside 50–100.
    """
    high = float(tops(np.abs(_counted(maps, hidden))[None], (percentile,))[0, 0])
    return limits_about_zero(high, percentile=percentile, unit=unit)


def limits_from_zero(high: float, *, log: bool, percentile: float, unit: Unit) -> ColourLimits:
    """The scale of `shared_limits` with this top."""
    return ColourLimits(high / 10**LOG_DECADES if log else 0.0, high, log, unit, percentile)


def limits_about_zero(high: float, *, percentile: float, unit: Unit) -> ColourLimits:
    """The scale of `diverging_limits` with this top."""
    return ColourLimits(-high if high else 0.0, high, False, unit, percentile)


def tops(values: FloatArray, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """Where several scales end, each by numbers of its own.

    Args:
        values: `(scales, numbers)`, all ≥ 0; those that are 0 do not count.
        percentiles: 50–100 each; 100 is the largest number.

    Returns:
        `(percentiles, scales)`, 0 for a scale of zeros.

    Raises:
        SelectionError: a percentile outside 50–100, or values below 0.
    """
    for each in percentiles:
        if not 50 <= each <= 100:
            raise SelectionError(f"percentile must be 50–100, not {each!r}.")
    if values.min(initial=0) < 0:
        raise SelectionError(
            "These values have both signs; a scale from 0 would hide half of them.", "Use diverging_limits."
        )
    asked = np.array(percentiles, dtype=np.float64)
    found = np.tile(values.max(axis=1, initial=0).astype(np.float64), (len(asked), 1))
    clipped = np.flatnonzero(asked < 100)  # the largest needs no sorting
    counts = np.count_nonzero(values, axis=1)
    for count in np.unique(counts[counts > 0]) if clipped.size else ():  # scales of as many numbers go together
        alike = np.flatnonzero(counts == count)
        above = values[alike]
        above = above[above > 0].reshape(-1, count).astype(np.float64)
        found[np.ix_(clipped, alike)] = np.percentile(above, asked[clipped], axis=1)
    return found


def number(value: float, unit: Unit, *, sign: bool = False) -> str:
    """A value as people read it: three significant digits, shares times 100 (the unit's words hold the percent).

    Args:
        value: as stored.
        unit: what it counts.
        sign: write a plus before positive values too.
    """
    shown = value * 100 if unit in ("share", "share difference") else value
    if not math.isfinite(shown):
        return "–"
    size = abs(shown)
    if 0 < size < 1e-4:
        text = f"{shown:.1e}"
    else:
        text = f"{shown:.{max(2 - math.floor(math.log10(size)), 0) if size else 0}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return ("+" if sign and shown > 0 else "") + text.replace("-", "−")


def _counted(maps: Sequence[FloatArray], hidden: NDArray[np.bool_] | None) -> FloatArray:
    if not maps:
        raise SelectionError("A scale needs at least one map.")
    if hidden is None:
        return np.concatenate([each.ravel() for each in maps])
    return np.concatenate([each[~hidden] for each in maps])
