"""Seeing, looking or saying: the sentence, the numbers and the picture of an `Attribution`."""

from typing import NamedTuple

import numpy as np

from inference.explanations import Attribution
from visualize.findings.words import NO_CHANGE, counted, named, nats, outcome, percent, quoted
from visualize.json_values import Json
from visualize.numbers.scale import diverging_limits
from visualize.pictures.bar import limits_json

#: Of what all heads carry together, so much must be carried by those that are named.
CARRIED = 0.8


class Carrying(NamedTuple):
    """The heads that carry most of the looking, in falling order of what each moves when it alone is forced.

    Attributes:
        heads: (layer, head) of each.
        carried: nats that they move, each alone, added up.
        whole: nats that all heads move, forced together.
        counted: of how many heads.
    """

    heads: list[tuple[int, int]]
    carried: float
    whole: float
    counted: int


def attribution_sentence(found: Attribution) -> str:
    """What the replays say: the shares of the change, or which heads carry it."""
    first, second = map(named, found.variants)
    if abs(found.total) < NO_CHANGE:
        return (
            f"From {first} to {second} {_measured(found)} did not change ({nats(found.total)}): there is nothing to "
            "explain."
        )
    if found.by_layer is not None:
        return _heads_sentence(found)
    shares = {"looking": found.looking, "seeing": found.seeing, "saying": found.saying}
    lead, *others = sorted(shares, key=lambda name: -abs(shares[name]))
    rest = ", ".join(f"{name} {percent(shares[name], found.total)}" for name in others)
    return (
        f"{lead.capitalize()} carries {percent(shares[lead], found.total)} of the change of {_measured(found)}, "
        f"{nats(found.total)} from {first} to {second}; {rest}."
    )


def attribution_rows(found: Attribution) -> list[tuple[str, str]]:
    """Every number: the shares, the eight outcomes, how far single swaps are from adding up."""
    first, second = map(named, found.variants)
    rows = [(f"{name} (share)", nats(getattr(found, name))) for name in ("seeing", "looking", "saying")]
    rows.append(("total", nats(found.total)))
    names = (first, second)
    for seeing, looking, saying in np.ndindex(2, 2, 2):
        label = f"seeing {names[seeing]}, looking {names[looking]}, saying {names[saying]}"
        rows.append((label, nats(float(found.outcomes[seeing, looking, saying]))))
    rows.append(("interaction: total minus single swaps", nats(found.interaction)))
    if found.by_head is not None:
        for layer, head in carrying(found).heads:
            rows.append((f"layer {layer}, head {head} alone", nats(float(found.by_head[layer, head]))))
    return rows


def shares_picture(found: Attribution) -> dict[str, Json]:
    """Three bars from 0."""
    bars: list[Json] = []
    for name in ("seeing", "looking", "saying"):
        value = getattr(found, name)
        share = percent(value, found.total) if abs(found.total) >= NO_CHANGE else "–"
        bars.append({"label": name, "value": value, "text": f"{nats(value)} · {share}"})
    return {"type": "bars", "bars": bars, "label": f"what carries the change of {_measured(found)}"}


def heads_picture(found: Attribution) -> dict[str, Json]:
    """A matrix of heads, or bars of layers where heads were not forced one by one."""
    if found.by_head is None:
        assert found.by_layer is not None
        bars: list[Json] = [
            {"label": f"layer {layer}", "value": float(value), "text": nats(float(value))}
            for layer, value in enumerate(found.by_layer)
        ]
        return {"type": "bars", "bars": bars, "label": "what the looking of one layer moves alone"}
    values = [[None if np.isnan(value) else float(value) for value in layer] for layer in found.by_head]
    limits = diverging_limits(np.nan_to_num(found.by_head).astype(np.float32), unit="nats")
    return {
        "type": "matrix",
        "values": [list(row) for row in values],
        "texts": [[nats(value) if value is not None else "not forced" for value in row] for row in values],
        "limits": limits_json(limits),
        "label": "carries the change",
    }


def carrying(found: Attribution) -> Carrying:
    """The fewest heads that together carry `CARRIED` of what all heads move; all that help, where they do not."""
    assert found.by_head is not None
    whole = float(found.outcomes[0, 1, 0] - found.outcomes[0, 0, 0])
    towards = np.nan_to_num(found.by_head, nan=0.0) * (1 if whole >= 0 else -1)
    order = np.argsort(-towards, axis=None, kind="stable")
    heads, carried = list[tuple[int, int]](), 0.0
    for flat in order:
        layer, head = divmod(int(flat), towards.shape[1])
        if towards[layer, head] <= 0 or carried >= CARRIED * abs(whole):
            break
        heads.append((layer, head))
        carried += float(towards[layer, head])
    return Carrying(heads, carried if whole >= 0 else -carried, whole, towards.size)


def _heads_sentence(found: Attribution) -> str:
    first, second = map(named, found.variants)
    if found.by_head is None:
        assert found.by_layer is not None
        layer = int(np.abs(found.by_layer).argmax())
        return (
            f"Layer {layer}'s looking, taken alone from {second} into {first}, moves {_measured(found)} most: "
            f"{nats(float(found.by_layer[layer]))} of {nats(found.total)}."
        )
    carriers = carrying(found)
    if not carriers.heads or abs(carriers.whole) < NO_CHANGE:
        return (
            f"No head carries it: with the looking of all heads taken from {second}, {_measured(found)} of {first} "
            f"moves by {nats(carriers.whole)} of {nats(found.total)}."
        )
    layers = sorted({layer for layer, _ in carriers.heads})
    where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"
    which = ", ".join(f"{layer}·{head}" for layer, head in carriers.heads[:5])
    more = f" and {len(carriers.heads) - 5} more" if len(carriers.heads) > 5 else ""
    verb = "carries" if len(carriers.heads) == 1 else "carry"
    return (
        f"{counted(len(carriers.heads), 'head')} of {carriers.counted} in {where} ({which}{more}) {verb} "
        f"{percent(carriers.carried, carriers.whole)} of what all heads' looking moves ({nats(carriers.whole)} of "
        f"{nats(found.total)}), each forced alone from {second} into {first}."
    )


def _measured(found: Attribution) -> str:
    if found.outcome == "logprob":
        return outcome(found)
    return f"the margin of “{found.says[1].strip()}” over “{found.says[0].strip()}” at {quoted(found.tokens[-1])}"
