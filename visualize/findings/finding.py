"""Decide what a finding is and which an explanation holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from inference.errors import SelectionError
from inference.explanations import Attribution, Chance, Explanation, Knockout, Parts
from inference.measures import Measure
from visualize.json_values import Json

#: One question each; an attribution by layer or head answers two of them.
Card = Literal["attribution", "heads", "knockout", "chance", "parts"]
CARDS: tuple[Card, ...] = get_args(Card)


@dataclass(frozen=True, slots=True)
class Finding:
    """One question's answer in words.

    Attributes:
        card: which question.
        sentence: the answer, with its numbers in it.
        numbers: the same numbers as they are, unrounded, by name; nats, bits or shares 0–1 as the name says.
        details: more sentences with numbers, for whoever looks behind the first.
        pictures: plain values that the viewer draws: bars, a matrix, a curve, rows of marks, cells, a table.
        heads: per layer and head what the viewer orders or dims by, see `carries.py` and `chance.py`; else None.
    """

    card: Card
    sentence: str
    numbers: Mapping[str, float]
    details: tuple[str, ...] = ()
    pictures: tuple[Json, ...] = field(default=(), repr=False)
    heads: Json = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.sentence


def finding(explanation: Explanation) -> Finding:
    """What an explanation says, as one sentence with its numbers.

    Args:
        explanation: what `backend.explain` gave. Of an attribution by layer or head it is about those.

    Raises:
        SelectionError: a kind of explanation that has no words yet.
    """
    return findings(explanation)[-1]


def findings(explanation: Explanation, changed: Measure | None = None) -> tuple[Finding, ...]:
    """All that an explanation says: of an attribution by layer or head what it says as a whole, too.

    Args:
        explanation: what `backend.explain` gave.
        changed: `(layers, heads)`, how much each head changed at the measured token (JS divergence, bits), where known:
            set beside what carries the change.

    Raises:
        SelectionError: see `finding`.
    """
    # late: each of them makes findings
    from visualize.findings.carries import carries
    from visualize.findings.chance import chance
    from visualize.findings.knockout import knockout
    from visualize.findings.mediation import mediation
    from visualize.findings.parts import parts

    if isinstance(explanation, Attribution):
        whole = mediation(explanation)
        return (whole,) if explanation.by_layer is None else (whole, carries(explanation, changed))
    if isinstance(explanation, Knockout):
        return (knockout(explanation),)
    if isinstance(explanation, Chance):
        return (chance(explanation),)
    if isinstance(explanation, Parts):
        return (parts(explanation),)
    raise SelectionError(f"There are no words for a {type(explanation).__name__}.")
