"""Decide the words for "which heads carry it?": single layers or heads, each forced alone, against all of them at once.

The effect of one head is the mean of both directions: what the second variant's looking there adds to the first, and
what the first's takes from the second. All together are the same two replays with every head forced.
"""

from dataclasses import dataclass

import numpy as np

from inference.explanations import Attribution
from inference.measures import Measure
from visualize.findings.finding import Finding
from visualize.findings.mediation import amount, change_words, is_shareable, unit
from visualize.findings.pictures import bars, matrix
from visualize.findings.words import NOTHING, counted, percent, runs
from visualize.json_values import Json
from visualize.numbers.head_choice import head_text
from visualize.numbers.scale import diverging_limits, number
from visualize.numbers.top_heads import top_heads

MOST = 0.8  # of what all do together: so many heads are named


@dataclass(frozen=True, slots=True)
class _Few:
    """The few that carry most of it.

    Attributes:
        places: (layer, head), or (layer,), the largest effect first; all that work in its direction where `enough` is
            not reached.
        share: of what all do together.
        enough: whether they reach `MOST`.
    """

    places: tuple[tuple[int, ...], ...]
    share: float
    enough: bool


def effects(explanation: Attribution) -> Measure:
    """What each head (or, without heads, each layer) alone does to the outcome, `(layers, heads)` or `(layers,)`."""
    forward, reverse = explanation.by_head, explanation.by_head_reverse
    if forward is None or reverse is None:
        forward, reverse = explanation.by_layer, explanation.by_layer_reverse
    return _both_ways(forward, reverse)


def together(explanation: Attribution) -> float:
    """What all heads at once do: the mean of both directions, as for one head."""
    f = explanation.outcomes
    return float((f[0, 1, 0] - f[0, 0, 0]) + (f[1, 1, 1] - f[1, 0, 1])) / 2


def carries(explanation: Attribution, changed: Measure | None = None) -> Finding:
    """Which heads or layers carry the looking.

    Args:
        explanation: by layer or by head.
        changed: see `findings`.
    """
    found, whole = effects(explanation), together(explanation)
    few = _few(found, whole)
    numbers = {"total": explanation.total, "looking": explanation.looking, "together": whole}
    numbers |= {"count": float(len(few.places)), "of": float(np.isfinite(found).sum()), "share": few.share}
    numbers["all_alone"] = float(np.nansum(found))
    if is_shareable(explanation):
        numbers["looking_share"] = explanation.looking / explanation.total
    details = [
        f"Forced one at a time, all {_things(explanation, int(numbers['of']))} add up to "
        f"{amount(explanation, numbers['all_alone'])}; all at once they do {amount(explanation, whole)}.",
        *_beside_the_change(explanation, few, found, changed, numbers),
    ]
    pictures: list[Json] = []
    if explanation.by_head is not None:
        pictures.append(_matrix(explanation, found))
    pictures.append(_by_layer(explanation))
    return Finding(
        "heads",
        _sentence(explanation, few, numbers),
        numbers,
        tuple(details),
        tuple(pictures),
        _heads(explanation, found),
    )


def layers_that_matter(explanation: Attribution) -> tuple[int, ...]:
    """The few layers that carry most of what all do together; the strongest one at least."""
    found = _both_ways(explanation.by_layer, explanation.by_layer_reverse)
    few = _few(found, together(explanation))
    return tuple(sorted(layer for (layer,) in few.places)) or (int(np.abs(found).argmax()),)


def _both_ways(forward: Measure | None, reverse: Measure | None) -> Measure:
    assert forward is not None
    assert reverse is not None
    return (forward - reverse) / 2


def _few(found: Measure, whole: float) -> _Few:
    toward = np.where(np.isfinite(found), found, 0.0) * np.sign(whole)
    order = np.argsort(-toward, axis=None, kind="stable")
    working = order[toward.ravel()[order] > 0]
    if abs(whole) < NOTHING or not working.size:
        return _Few((), 0.0, False)
    sums = np.cumsum(toward.ravel()[working]) / abs(whole)
    enough = bool(sums[-1] >= MOST)
    count = int((sums >= MOST).argmax()) + 1 if enough else working.size
    places = tuple(tuple(map(int, np.unravel_index(each, found.shape))) for each in working[:count])
    return _Few(places, float(sums[count - 1]), enough)


def _sentence(explanation: Attribution, few: _Few, numbers: dict[str, float]) -> str:
    found, whole = effects(explanation), numbers["together"]
    change = change_words(explanation)
    if is_shareable(explanation):
        begin = f"Looking carries {percent(numbers['looking_share'])} of the change of {change}"
    else:
        begin = f"Looking adds {amount(explanation, explanation.looking)} to the change of {change}"
    if abs(whole) < NOTHING:
        place = np.unravel_index(int(np.nanargmax(np.abs(found))), found.shape)
        largest = f"the largest, {_place(tuple(map(int, place)))}, {amount(explanation, float(found[place]))}"
        alone = amount(explanation, whole)
        return f"{begin}; forced alone it does {alone}, so there is nothing for heads to carry; {largest}."
    of = int(numbers["of"])
    alone = amount(explanation, whole)
    if not few.places:
        return f"{begin}; forced alone it does {alone}, and no head alone works in that direction (0 of {of:,})."
    where = (
        f" in {runs(place[0] for place in few.places)}"
        if len(few.places[0]) == 2
        else f" ({runs(place[0] for place in few.places)})"
    )
    named = f"{len(few.places):,} of {_things(explanation, of)}{where}"
    if few.enough:
        verb = "carries" if len(few.places) == 1 else "carry"
        strongest = few.places[0]
        first = f"the strongest is {_place(strongest)}, {amount(explanation, float(found[strongest]))}"
        return f"{begin}; {named} {verb} {percent(few.share)} of what looking alone does ({alone}); {first}."
    return (
        f"{begin}; no few carry it: one at a time, even all {named} that work in its direction add up to "
        f"{percent(few.share)} of what looking alone does ({alone})."
    )


def _beside_the_change(
    explanation: Attribution, few: _Few, found: Measure, changed: Measure | None, numbers: dict[str, float]
) -> list[str]:
    """How many of the heads that carry it are among as many that changed most: two different questions."""
    if changed is None or found.ndim != 2 or not few.places:
        return [
            "A head that changed most need not carry the change: how far it moved and what that does are two things."
        ]
    count = len(few.places)
    order = np.argsort(-np.nan_to_num(changed), axis=None, kind="stable")[:count]
    most = {tuple(map(int, np.unravel_index(each, found.shape))) for each in order}
    both = len(most & set(few.places))
    numbers["also_changed_most"] = float(both)
    return [
        f"“Changed most” and “carries the change” are two things: of the {counted(count, 'head')} that carry it, "
        f"{both:,} {'is' if both == 1 else 'are'} among the {count:,} that changed most (JS divergence)."
    ]


def _things(explanation: Attribution, count: int) -> str:
    return counted(count, "layer" if explanation.by_head is None else "head")


def _place(place: tuple[int, ...]) -> str:
    return f"layer {place[0]}" + (f" head {place[1]}" if len(place) == 2 else "")


def _texts(explanation: Attribution, found: Measure) -> list[list[str]]:
    return [[amount(explanation, each) if np.isfinite(each) else "not asked" for each in row] for row in found.tolist()]


def _matrix(explanation: Attribution, found: Measure) -> Json:
    values = np.append(np.nan_to_num(found), NOTHING)  # what is nothing looks like nothing
    limits = diverging_limits(values.astype(np.float32), unit="nats")
    largest = np.unravel_index(int(np.nanargmax(np.abs(found))), found.shape)
    place = _place(tuple(map(int, largest)))
    alt = (
        f"What each head alone does, {unit(explanation)}, heads down, layers across: the largest is {place}, "
        f"{amount(explanation, float(found[largest]))}."
    )
    return matrix(found, _texts(explanation, found), limits, label="carries the change", alt=alt)


def _by_layer(explanation: Attribution) -> Json:
    found = _both_ways(explanation.by_layer, explanation.by_layer_reverse).tolist()
    rows = [(f"layer {layer}", value, amount(explanation, value)) for layer, value in enumerate(found)]
    said = ", ".join(f"{label} {text}" for label, _, text in rows[:48])
    alt = f"What each layer's looking alone does: {said}."
    return bars(rows, title="one layer at a time", alt=alt, least=NOTHING)


def _heads(explanation: Attribution, found: Measure) -> Json:
    """Per layer the heads in the order of what they carry, and what that is; `top`, the strongest of all layers.

    None where heads were not asked for.
    """
    if explanation.by_head is None:
        return None
    sign = np.sign(together(explanation)) or 1.0
    order: list[Json] = []
    for row in found:
        toward = np.where(np.isfinite(row), row * sign, -np.inf)
        order.append([int(head) for head in np.argsort(-toward, kind="stable")])
    words: list[Json] = [
        [
            f"head {head} · carries {number(each, 'nats', sign=True)} {unit(explanation)}"
            if np.isfinite(each)
            else f"head {head} · not asked"
            for head, each in enumerate(row)
        ]
        for row in found.tolist()
    ]
    return {"order": order, "words": words, "top": head_text(top_heads(found * sign))}
