"""Decide what a program gets of an explanation: what it says, and all of its numbers, as JSON values."""

from dataclasses import fields

import numpy as np

from inference.explanations import EXPLANATIONS, Explanation
from visualize.findings.finding import findings
from visualize.json_values import Json, finite


def explanation_json(explanation: Explanation) -> dict[str, Json]:
    """An explanation with its sentences.

    Returns:
        `sentence` and `numbers` of what was asked, `findings` where that answers more than one question; then the
        record's own fields, arrays as nested lists with None where one holds no number.
    """
    said = findings(explanation)
    kind = next(name for name, each in EXPLANATIONS.items() if isinstance(explanation, each))
    made: dict[str, Json] = {
        "question": kind,
        "sentence": said[-1].sentence,
        "numbers": dict(said[-1].numbers),
        "findings": [{"card": each.card, "sentence": each.sentence} for each in said],
        "variants": [name or "base" for name in explanation.variants],
        "token": {"index": explanation.token, "text": explanation.tokens[-1].text},
        "replays": explanation.replays,
        "timings": dict(explanation.timings),
        "notes": list(explanation.notes),
    }
    shared = {each.name for each in fields(Explanation)}
    for each in fields(explanation):
        if each.name not in shared:
            made[each.name] = _plain(getattr(explanation, each.name))
    return made


def _plain(value: object) -> Json:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return finite(value)
    assert value is None or isinstance(value, (bool, int, str))
    return value
