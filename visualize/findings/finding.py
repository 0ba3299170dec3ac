"""A finding: question, sentence, numbers and picture of any explanation."""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.explanations import Attribution, Chance, Explanation, Knockout, Parts
from visualize.findings.attribution import attribution_rows, attribution_sentence, heads_picture, shares_picture
from visualize.findings.chance import chance_picture, chance_rows, chance_sentence
from visualize.findings.knockout import knockout_picture, knockout_rows, knockout_sentence
from visualize.findings.parts import parts_picture, parts_rows, parts_sentence
from visualize.findings.words import named, quoted
from visualize.json_values import Json

Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one explanation says.

    Attributes:
        kind: which question it answers, as in `inference.explanations.EXPLANATIONS`; `"heads"` for an attribution by
            layer or head.
        question: it, in words.
        sentence: the answer, with its numbers.
        about: of which token, between which variants.
        rows: (label, value) of every number behind it.
        picture: what a browser draws; see `visualize/viewer/contract.d.ts`.
        notes: warnings for the person.
    """

    kind: str
    question: str
    sentence: str
    about: str
    rows: tuple[tuple[str, str], ...]
    picture: Mapping[str, Json]
    notes: tuple[str, ...] = ()


def finding(explanation: Explanation) -> Finding:
    """Say what an explanation found.

    Args:
        explanation: what `Backend.explain` answered.

    Raises:
        TypeError: a record of another kind.
    """
    kind, question, sentence, rows, picture = _of(explanation)
    return Finding(kind, question, sentence, _about(explanation), tuple(rows), picture, tuple(explanation.notes))


def finding_json(explanation: Explanation) -> dict[str, Json]:
    """The same as plain values, with what it is of: `token`, an index into the result's tokens, and `variants`."""
    found = finding(explanation)
    return {
        "kind": found.kind,
        "question": found.question,
        "sentence": found.sentence,
        "about": found.about,
        "rows": [list(row) for row in found.rows],
        "picture": dict(found.picture),
        "notes": list(found.notes),
        "token": explanation.token,
        "variants": [named(name) for name in explanation.variants],
    }


#: The questions in words, by the kind of finding, in the order in which they are offered.
QUESTIONS: Mapping[str, str] = {
    "attribution": "Does it see, look or say otherwise?",
    "heads": "Which heads carry it?",
    "knockout": "Does it need to look there?",
    "chance": "Is it more than chance?",
    "parts": "Which part of the adapter does it?",
}


def _of(explanation: Explanation) -> tuple[str, str, str, Rows, dict[str, Json]]:
    match explanation:
        case Attribution():
            kind = "attribution" if explanation.by_layer is None else "heads"
            picture = shares_picture(explanation) if explanation.by_layer is None else heads_picture(explanation)
            found = attribution_sentence(explanation), attribution_rows(explanation), picture
        case Knockout():
            kind = "knockout"
            found = knockout_sentence(explanation), knockout_rows(explanation), knockout_picture(explanation)
        case Chance():
            kind = "chance"
            found = chance_sentence(explanation), chance_rows(explanation), chance_picture(explanation)
        case Parts():
            kind = "parts"
            found = parts_sentence(explanation), parts_rows(explanation), parts_picture(explanation)
        case _:
            raise TypeError(f"{type(explanation).__name__} is no explanation that this package can put in words")
    return kind, QUESTIONS[kind], *found


def _about(explanation: Explanation) -> str:
    names = [named(name) for name in explanation.variants]
    variants = f"{names[1]} against {names[0]}" if len(names) == 2 else ", ".join(names)
    return f"{variants}, token {explanation.token} {quoted(explanation.tokens[-1])}"
