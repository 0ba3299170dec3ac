"""Decide what a browser gets of findings: the questions on offer with their prices, and each answer with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.explanations import Explanation
from inference.measures import Measure
from inference.records import Comparison
from visualize.findings.finding import Card, Finding, findings
from visualize.findings.words import measured, pair, token
from visualize.json_values import Json
from visualize.numbers.shift_matrix import shift_matrix

#: Each card's question in plain words, and what is done to answer it.
QUESTIONS: Mapping[Card, tuple[str, str]] = {
    "attribution": (
        "Seeing, looking or saying?",
        "The words are replayed with what is read of the image, where they look, and the rest, each from either side.",
    ),
    "heads": (
        "Which heads carry it?",
        "The looking of one layer, or one head, at a time is taken from the other variant, both ways.",
    ),
    "knockout": (
        "Does it need to look there?",
        "Nobody may look at some cells; beside it, other sets of as many cells.",
    ),
    "chance": (
        "More than chance?",
        "Random adapters of equal size are run like this one; the largest change of any of their heads is chance.",
    ),
    "parts": (
        "Which part of the adapter?",
        "Each part of the adapter alone, and the whole at other strengths.",
    ),
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask a card's question.

    Attributes:
        options: what is asked, as `pack_question` names it.
        label: the way in words; "" where there is one.
        replays: its price.
        seconds: an estimate, or None.
    """

    options: Mapping[str, Json]
    label: str
    replays: int
    seconds: float | None

    def json(self) -> dict[str, Json]:
        """The way as plain values, its price in words."""
        return {"options": dict(self.options), "label": self.label, "price": price_words(self.replays, self.seconds)}


def price_words(replays: int, seconds: float | None) -> str:
    """`8 replays, about 0.4 s`; without an estimate the replays alone."""
    said = f"{replays:,} replay{'' if replays == 1 else 's'}"
    if seconds is None:
        return said
    if seconds >= 90:
        return f"{said}, about {seconds / 60:,.0f} min"
    return f"{said}, about {max(seconds, 0.1):.{1 if seconds < 10 else 0}f} s"


def offers_json(ways: Mapping[Card, Sequence[Way]]) -> list[Json]:
    """The cards on offer, each with its ways to ask."""
    return [
        {
            "card": card,
            "title": QUESTIONS[card][0],
            "about": QUESTIONS[card][1],
            "ways": [way.json() for way in ways[card]],
        }
        for card in QUESTIONS
        if ways.get(card)
    ]


def findings_json(
    explanation: Explanation, comparison: Comparison | None = None, *, about: str = "", more: Sequence[Way] = ()
) -> list[Json]:
    """What an explanation says, as the viewer's cards show it.

    Args:
        explanation: what was answered.
        comparison: the result that it is about, where there is one: how much each head changed stands beside what it
            carries.
        about: more words on what was asked, such as which cells.
        more: further ways to ask the last of its questions, now that this is known.
    """
    found = findings(explanation, None if comparison is None else _changed(explanation, comparison))
    cards = [finding_json(explanation, each, about) for each in found]
    cards[-1]["more"] = [way.json() for way in more]
    return list(cards)


def finding_json(explanation: Explanation, finding: Finding, about: str = "") -> dict[str, Json]:
    """One finding: its sentence, on what it was measured, its numbers and pictures."""
    first, *others = (name or "base" for name in explanation.variants)
    title, what = QUESTIONS[finding.card]
    return {
        "card": finding.card,
        "title": title,
        "about": what,
        "token": explanation.token,
        "first": first,
        "second": others[-1] if others else first,
        "of": f"token {explanation.token} {token(explanation)}, {pair(explanation)}",
        "sentence": finding.sentence,
        "measured": " · ".join(filter(None, [measured(explanation), about])),
        "spent": _spent(explanation),
        "numbers": {name: float(f"{value:.6g}") for name, value in finding.numbers.items()},
        "details": list(finding.details),
        "notes": list(explanation.notes),
        "pictures": list(finding.pictures),
        "heads": finding.heads,
        "more": [],
    }


def _changed(explanation: Explanation, comparison: Comparison) -> Measure | None:
    """How much each head changed at the measured token, where the result recorded the heads of just that one."""
    focus = {recording.adapter: recording.focus for recording in comparison.recordings}
    known = all(focus.get(name) == (explanation.token,) for name in explanation.variants)
    if not known or not comparison.tokens or len(explanation.variants) != 2 or comparison.elsewhere:
        return None  # of several images, each has changes of its own
    first, second = explanation.variants
    return shift_matrix(comparison, first, second)


def _spent(explanation: Explanation) -> str:
    seconds = explanation.timings.get("total")
    took = "" if seconds is None else f", {seconds:,.1f} s"
    return f"{explanation.replays:,} replays{took}" if explanation.replays else ""
