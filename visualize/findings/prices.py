"""What a question costs, said before it runs: replays, and about how long they take after what this result took."""

from inference.explanations import Explanation
from inference.questions import AttributionOptions, ChanceOptions, KnockoutOptions, PartsOptions, Question
from inference.records import Comparison
from visualize.findings.finding import QUESTIONS
from visualize.json_values import Json

#: A replay of the text costs about this part of a comparison of two variants: eight cost 0.07–0.14 of it
#: (`python -m tests.causes_table`).
REPLAY = 0.0175
#: A replay on an adapter of its own also reads the image anew: about one variant of the comparison.
READING = 0.5

_ASKED: dict[str, Question[Explanation]] = {
    "attribution": AttributionOptions(),
    "heads": AttributionOptions(by="head"),
    "knockout": KnockoutOptions((0,)),
    "chance": ChanceOptions(),
    "parts": PartsOptions(),
}


def prices_json(comparison: Comparison) -> list[Json]:
    """The questions that can be asked between two variants, in order, each with its price in words."""
    return [
        {"kind": kind, "question": QUESTIONS[kind], "price": _price(question, comparison)}
        for kind, question in _ASKED.items()
    ]


def _price(question: Question[Explanation], comparison: Comparison) -> str:
    replays = question.replays(comparison.model, 2)
    each = READING if isinstance(question, (ChanceOptions, PartsOptions)) else REPLAY
    seconds = replays * each * float(comparison.timings.get("total", 0.0)) * 2 / len(comparison.recordings)
    return f"{replays:,} replays" + (f", about {_duration(seconds)}" if seconds else "")


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
