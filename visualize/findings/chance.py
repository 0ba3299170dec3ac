"""Decide the words for "more than chance?": heads that changed more than any head of random adapters of equal size."""

import numpy as np

from inference.explanations import Chance
from visualize.findings.finding import Finding
from visualize.findings.pictures import marks, matrix
from visualize.findings.words import counted, runs
from visualize.json_values import Json
from visualize.numbers.scale import number, shared_limits


def chance(explanation: Chance) -> Finding:
    """How many heads changed more than chance allows."""
    beyond, threshold = explanation.beyond, explanation.threshold
    largest = float(explanation.divergence.max())
    controls = explanation.controls.shape[0]
    count, of, floor = int(beyond.sum()), beyond.size, float(explanation.floor.max())
    numbers = {"beyond": float(count), "of": float(of), "largest": largest, "threshold": threshold, "floor": floor}
    numbers |= {"controls": float(controls), "level": 1 / (controls + 1)}
    layer, head = (int(each) for each in np.unravel_index(int(explanation.divergence.argmax()), beyond.shape))
    at = f"layer {layer} head {head}"
    of_chance = f"{_bits(threshold)}, the largest of any head of {counted(controls, 'random adapter')} of equal size"
    if count:
        where = runs(np.flatnonzero(beyond.any(axis=1)).tolist())
        sentence = (
            f"Beyond chance: {count:,} of {counted(of, 'head')}, in {where}, at level 1/{controls + 1}; "
            f"the largest change, {at}, is {_bits(largest)} against {of_chance}."
        )
    else:
        sentence = (
            f"Cannot be told apart from chance: 0 of {counted(of, 'head')} at level 1/{controls + 1}; "
            f"the largest change, {at}, is {_bits(largest)}, not above {of_chance}."
        )
    compared = "far below" if floor < threshold / 10 else "below" if floor < threshold else "not below"
    details = (
        f"Arithmetic alone (the same rows on two paths) moves a head by at most {_bits(floor)}, {compared} chance.",
        "What is within chance is dimmed in the matrices and numbers of this token.",
    )
    per_control = explanation.controls.max(axis=(1, 2)).tolist()
    shown = [
        matrix(
            explanation.divergence,
            [[_cell(explanation, each) for each in row] for row in explanation.divergence.tolist()],
            shared_limits(explanation.divergence.astype(np.float32), unit="bits"),
            label="change (JS divergence), within chance dimmed",
            alt=f"JS divergence of every head, heads down, layers across; {count:,} of {of:,} are beyond chance.",
            within=~beyond,
        ),
        marks(
            [("largest of a head", largest, per_control, f"{_bits(largest)} · chance at most {_bits(threshold)}")],
            title="this adapter among random ones, bits",
            alt=f"{_bits(largest)}; random adapters at most {_bits(threshold)}",
        ),
    ]
    return Finding("chance", sentence, numbers, details, tuple(shown), _heads(explanation))


def _bits(value: float) -> str:
    return f"{number(value, 'bits')} bits"


def _cell(explanation: Chance, value: float) -> str:
    return f"{_bits(value)}, {'beyond' if value > explanation.threshold else 'within'} chance"


def _heads(explanation: Chance) -> Json:
    """Which heads are within chance, what is said of each, and of each layer as a whole."""
    beyond, threshold = explanation.beyond, _bits(explanation.threshold)
    level = f"level 1/{explanation.controls.shape[0] + 1}"
    heads: list[Json] = [
        [
            f"Head {head} of layer {layer}: {_cell(explanation, value)} (up to {threshold}, {level})."
            for head, value in enumerate(row)
        ]
        for layer, row in enumerate(explanation.divergence.tolist())
    ]
    layers: list[Json] = [
        f"Layer {layer}: {int(row.sum()):,} of {counted(row.size, 'head')} beyond chance ({level})."
        for layer, row in enumerate(beyond)
    ]
    return {"within": [list(row) for row in (~beyond).tolist()], "heads": heads, "layers": layers}
