"""Numbers and names in sentences: enough digits to compare, signs said as words where they help."""

import math

from inference.explanations import Explanation
from inference.records import Token

#: A change of log-probability below this many nats is none: a probability then changes by less than a thousandth.
NO_CHANGE = 0.001


def named(adapter: str | None) -> str:
    """A variant's name as people read it."""
    return adapter or "base"


def nats(value: float, *, sign: bool = True) -> str:
    """A change in nats: three significant digits, and no zero where there is something."""
    return f"{_digits(value, sign)} nats"


def bits(value: float) -> str:
    """A divergence in bits."""
    return f"{_digits(value, sign=False)} bits"


def points(share: float) -> str:
    """A change of a share of attention, in percentage points."""
    return f"{_digits(100 * share, sign=True)} percentage points"


def percent(part: float, whole: float) -> str:
    """One number as a percentage of another; may be below 0 or above 100."""
    return f"{round(100 * part / whole):d} %".replace("-", "−")


def quoted(token: Token) -> str:
    """A token's text in quotes, as people read it."""
    return f"“{token.text.strip() or token.text or '…'}”"


def outcome(explanation: Explanation) -> str:
    """What is measured, in words."""
    return f"the log-probability of {quoted(explanation.tokens[-1])}"


def counted(count: int, what: str) -> str:
    """“1 head”, “3 heads”."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _digits(value: float, sign: bool) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    decimals = min(6, max(0, 2 - math.floor(math.log10(size)))) if size < 100 else 0
    text = f"{size:.{decimals}f}"
    if float(text) == 0:
        text = f"{size:.1e}"
    lead = ("−" if value < 0 else "+") if sign else ("−" if value < 0 else "")
    return lead + text
