"""Every word, picture and number that findings of made-up explanations give: `what_is_said.json` holds what was read.

The sentences' numbers are held to other routes in `test_sentences.py`; here nothing may change unnoticed. A change that
is meant is written down, read over in the difference and committed:

    python -m tests.visualize.findings.what_is_said
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.explanations import Attribution, Chance, Explanation, Knockout, Parts
from inference.recording import Token
from tests.visualize.factory import HEADS, LAYERS, comparison, recording, tokens
from tests.visualize.findings.explained import ABOUT, attribution, chance, knockout, parts
from tests.visualize.kept import Kept, keep, plain
from visualize.findings.cards_json import QUESTIONS, Way, findings_json, offers_json, price_words
from visualize.findings.explanation_json import explanation_json

KNOWN = Path(__file__).with_suffix(".json")


def explanations() -> dict[str, Explanation]:
    """By name; the last ones with numbers that differ everywhere."""
    rng = np.random.default_rng(11)
    few, against = np.zeros((LAYERS, HEADS)), np.full((LAYERS, HEADS), -0.1)
    few[2, 1], few[1, 0], few[3, 2] = 0.8, 0.64, 0.1
    some = np.where(np.arange(LAYERS)[:, None] == 1, [[0.9, 0.3, 0.2]], np.nan)
    later = (*tokens()[:8], Token(8, " blue", "answer", 28, 27))
    seen = knockout((-0.3, -2.5), rng.normal(-0.4, 0.3, (4, 2)), layers=(0, 2, 3), rows="answer", tokens=later)
    return {
        "shares": attribution(),
        "a later token": attribution(tokens=later, timings={"total": 12.34, "replays": 8.0}),
        "less likely": attribution(first=-0.5, seeing=0.0, looking=-0.3, saying=-1.7),
        "nothing": attribution(seeing=0.001, looking=0.002, saying=-0.001),
        "cancels": attribution(seeing=0.0, looking=1.2, saying=-1.2),
        "pulls apart": attribution(seeing=0.0, looking=1.2, saying=-1.0),
        "works against": attribution(seeing=0.0, looking=2.0, saying=-0.1),
        "a margin": attribution(first=-1.0, outcome="margin", by_head=few),
        "few heads": attribution(by_head=few, notes=("One note.",)),
        "some heads": attribution(by_head=some, by_layer=[0.0, 1.4, 0.0, 0.0]),
        "heads against": attribution(by_head=against),
        "no heads": attribution(looking=0.001, saying=1.0, by_head=rng.normal(0, 0.001, (LAYERS, HEADS))),
        "layers": attribution(by_layer=[0.1, 1.0, 0.0, 0.44]),
        "one layer": attribution(by_layer=[0.0, 1.6, 0.0, 0.0]),
        "both ways": _both_ways(rng),
        "needed": knockout(),
        "needed later": seen,
        "no other sets": knockout(controls=np.zeros((0, 2))),
        "rises": knockout((0.5, -0.3)),
        "beyond": chance(),
        "within": chance(0, controls=40),
        "chance everywhere": _chance(rng),
        "a coarse floor": replace(_chance(rng), floor=np.full((LAYERS, HEADS), 0.6)),
        "parts": parts(),
        "parts of nothing": parts(0.0, [0.0, -0.2, 0.0, 0.0, 0.1, 0.0, 0.0]),
        "parts everywhere": _parts(rng),
    }


def _both_ways(rng: np.random.Generator) -> Attribution:
    forward, reverse = rng.normal(size=(LAYERS, HEADS)), rng.normal(size=(LAYERS, HEADS))
    return Attribution(
        **ABOUT | {"variants": ("counts", "find-red")},
        outcome="logprob",
        says=("a", "b"),
        outcomes=-rng.exponential(2.0, (2, 2, 2)),
        by_layer=forward.sum(1),
        by_layer_reverse=reverse.sum(1),
        by_head=forward,
        by_head_reverse=reverse,
        heads=((0, 1), (3, 2)),
        together=0.4,
        together_reverse=-0.5,
        says_together=("b", "a"),
    )


def _chance(rng: np.random.Generator) -> Chance:
    return replace(
        chance(),
        divergence=rng.uniform(0, 0.6, (LAYERS, HEADS)),
        controls=rng.uniform(0, 0.4, (16, LAYERS, HEADS)),
        share=rng.normal(0, 0.1, (LAYERS, HEADS)),
        floor=rng.uniform(0, 1e-3, (LAYERS, HEADS)),
    )


def _parts(rng: np.random.Generator) -> Parts:
    made = parts()
    return replace(
        made,
        part_logprobs=-rng.exponential(2.0, len(made.names)),
        part_shares=rng.uniform(0, 1, len(made.names)),
        strength_logprobs=np.array([-3.0, -1.0, -0.2]),
        strength_shares=np.array([0.2, 0.3, 0.7]),
    )


def what_is_said() -> Kept:
    """All of it, as plain values."""
    way = Way({"question": "attribution", "by": "head"}, "every head", 48, 12.3)
    shown = comparison(recording(), recording("find-red", seed=1))
    prices = [(1, None), (1_200, 0.01), (8, 9.96), (8, 10.4), (8, 89.0), (8, 90.0), (8, 3_000.0)]
    return plain(
        {
            "cards": {
                name: findings_json(each, shown, about="these cells" if isinstance(each, Knockout) else "", more=[way])
                for name, each in explanations().items()
            },
            "without a result": {"few heads": findings_json(explanations()["few heads"])},
            "for programs": {name: explanation_json(each) for name, each in explanations().items()},
            "offers": {"all": offers_json({card: [way, Way({}, "", 1, None)] for card in QUESTIONS})},
            "prices": {"all": [price_words(*price) for price in prices]},
        }
    )


if __name__ == "__main__":
    keep(KNOWN, what_is_said())
