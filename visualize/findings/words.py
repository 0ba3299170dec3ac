"""Decide how the numbers of a finding are written: nats, bits and percent, a token, a change of probability.

Signs are said in words where a sentence has room for them; a minus is the real one.
"""

import math
from collections.abc import Iterable

from inference.explanations import Explanation
from visualize.numbers.caption import in_quotes, plain, quoted
from visualize.numbers.scale import number

#: Below it, in nats, a change is nothing: the probability stays within 1 % of itself, and shares of it mean nothing.
NOTHING = 0.01


def names(explanation: Explanation) -> list[str]:
    """The variants as people read them."""
    return [plain(name or "base", most=100) for name in explanation.variants]


def token(explanation: Explanation) -> str:
    """The measured token in quotes."""
    return quoted(explanation.tokens[-1])


def measured(explanation: Explanation) -> str:
    """On what it was measured: token, answer so far, variants."""
    before = "".join(each.text for each in explanation.tokens[:-1] if each.role == "answer")
    where = f"after {in_quotes(before)}" if before else "the answer's first"
    return f"token {explanation.token} {token(explanation)}, {where} · {pair(explanation)}"


def pair(explanation: Explanation) -> str:
    """`base → find-red`."""
    return " → ".join(names(explanation))


def nats(value: float, *, sign: bool = True) -> str:
    """`+2.31 nats`; what is nothing is written with three places."""
    if abs(value) < NOTHING:
        return f"{signed(f'{abs(value):.3f}', value if sign and round(abs(value), 3) else 0.0)} nats"
    return f"{number(value, 'nats', sign=sign)} nats"


def signed(text: str, value: float) -> str:
    """A text of an absolute value with the sign of `value`; none where it is 0."""
    return ("+" if value > 0 else "−" if value < 0 else "") + text


def percent(share: float) -> str:
    """`71 %`; `<1 %` for what is more than nothing and rounds to it."""
    shown = round(share * 100)
    if shown == 0 and share:
        return "<1 %" if share > 0 else ">−1 %"
    return f"{shown} %".replace("-", "−")


def probability(logprob: float) -> str:
    """A log-probability as percent, three digits: `51.3 %`; `<0.01 %` below."""
    chance = math.exp(logprob)
    return f"{number(chance, 'share')} %" if chance >= 1e-4 else "<0.01 %"


def from_to(before: float, after: float) -> str:
    """`5.1 % → 51 %`, of two log-probabilities."""
    return f"{probability(before)} → {probability(after)}"


def likelier(change: float) -> str:
    """Which way a log-probability goes, in words."""
    return "more likely" if change > 0 else "less likely"


def runs(layers: Iterable[int]) -> str:
    """`layer 4`, `layers 4–5`, `layers 0, 3–5`."""
    found: list[list[int]] = []
    for layer in sorted(set(layers)):
        if found and found[-1][1] == layer - 1:
            found[-1][1] = layer
        else:
            found.append([layer, layer])
    texts = [str(first) if first == last else f"{first}–{last}" for first, last in found]
    single = len(found) == 1 and found[0][0] == found[0][1]
    return f"{'layer' if single else 'layers'} {', '.join(texts)}"


def counted(count: int, noun: str) -> str:
    """`1 head`, `3 heads`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
