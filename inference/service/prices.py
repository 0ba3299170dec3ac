"""Decide which questions a result offers, in which ways, and what each costs: replays, and seconds by its timings."""

from collections.abc import Sequence

from inference.descriptions import ModelInfo
from inference.explanations import Attribution, Explanation
from inference.questions import QUESTIONS, AttributionOptions, ChanceOptions, KnockoutOptions, PartsOptions, Question
from inference.records import Comparison
from inference.serialization import pack_question
from visualize.findings.cards_json import Way
from visualize.findings.carries import layers_that_matter
from visualize.findings.finding import Card
from visualize.json_values import Json

#: So many replays at most are proposed first; what takes more comes after.
FEW = 200
TOPS = (5, 10, 20)  # percent of the cells
MANY_CONTROLS = 40  # random adapters: level 1/41


def ways(comparison: Comparison, pace: float = 0.0) -> dict[Card, Sequence[Way]]:
    """The ways to ask each question of a result, the one to propose first; of several images, only what can be asked.

    Args:
        comparison: the result; its timings say what a replay and a reading of the image take here.
        pace: seconds of one replay where the result itself does not say; 0 is unknown.
    """
    clock = _Clock(comparison, pace)
    offered: dict[Card, Sequence[Way]] = {"knockout": _of_cells(clock)}
    if len(comparison.recordings) > 1:
        offered = _of_two(clock, comparison.model)
    several = len(comparison.images) > 1
    return {card: found for card, found in offered.items() if not (several and _is_of_one_image(found[0]))}


def _is_of_one_image(way: Way) -> bool:
    return QUESTIONS[str(way.options["question"])].OF_ONE_IMAGE


def _of_two(clock: "_Clock", model: ModelInfo) -> dict[Card, Sequence[Way]]:
    return {
        "attribution": [
            clock.way("of log probability", AttributionOptions()),
            clock.way("of what each would say", AttributionOptions(outcome="margin"), outcome="margin"),
        ],
        "heads": _of_heads(clock, model),
        "knockout": _of_cells(clock),
        "chance": [
            clock.way(f"{controls} random adapters", ChanceOptions(controls=controls), controls=controls)
            for controls in (ChanceOptions().controls, MANY_CONTROLS)
        ],
        "parts": [clock.way("", PartsOptions())],
    }


def further(explanation: Explanation) -> Sequence[Way]:
    """What may be asked next, now that an explanation is known: the heads of the layers that carry most."""
    if not isinstance(explanation, Attribution) or explanation.by_layer is None or explanation.by_head is not None:
        return ()
    layers = layers_that_matter(explanation)
    question = AttributionOptions(by="head", layers=layers, outcome=explanation.outcome)
    replays = question.replays(explanation.model)
    seconds = replays * explanation.timings.get("replays", 0.0) / max(explanation.replays, 1)
    options: dict[str, Json] = {"by": "head", "layers": list(layers), "outcome": explanation.outcome}
    label = f"heads of the layers that carry most ({', '.join(map(str, layers))})"
    return (Way({"question": "attribution"} | options, label, replays, seconds or None),)


class _Clock:
    """What a question takes: replays of the words, and for other adapters readings of the image."""

    def __init__(self, comparison: Comparison, pace: float) -> None:
        timings, variants = comparison.timings, len(comparison.recordings)
        self._model = comparison.model
        self._variants = min(variants, 2)
        self._replay = timings.get("replay", 0.0) / variants or pace
        self._reading = (timings.get("vision", 0.0) + timings.get("prompt", 0.0)) / variants

    def way(self, label: str, question: Question[Explanation], **options: Json) -> Way:
        replays = question.replays(self._model, self._variants)
        # random adapters and parts of one read the image themselves
        readings = replays - self._variants if isinstance(question, (ChanceOptions, PartsOptions)) else 0
        seconds = replays * self._replay + readings * self._reading if self._replay else None
        return Way({"question": pack_question(question)["kind"], **options}, label, replays, seconds)


def _of_heads(clock: _Clock, model: ModelInfo) -> Sequence[Way]:
    found = [
        clock.way("every layer", AttributionOptions(by="layer"), by="layer"),
        clock.way("every head", AttributionOptions(by="head"), by="head"),
    ]
    return found[::-1] if found[1].replays <= FEW else found


def _of_cells(clock: _Clock) -> Sequence[Way]:
    question = KnockoutOptions(cells=(0,))
    tops = [clock.way(f"the top {top} % of the shown map", question, top=top) for top in TOPS]
    return [*tops[1:2], tops[0], *tops[2:], clock.way("the drawn box", question, box=None)]
