"""Decide the words for "which part of the adapter?": each part alone, and the whole at other strengths."""

import numpy as np

from inference.explanations import Parts
from visualize.findings.finding import Finding
from visualize.findings.pictures import bars, curve, table
from visualize.findings.words import NOTHING, from_to, likelier, names, nats, percent, probability, token
from visualize.json_values import Json
from visualize.numbers.scale import number

THIRDS = 3  # of a record's parts, the last: layers; those before are groups of modules


def parts(explanation: Parts) -> Finding:
    """Which part of an adapter does most of what the whole does."""
    first, whole = float(explanation.logprobs[0]), float(explanation.logprobs[1])
    total = whole - first
    alone = (explanation.part_logprobs - first).tolist()
    groups = len(explanation.names) - THIRDS
    numbers = {"total": total, "groups_sum": float(sum(alone[:groups])), "thirds_sum": float(sum(alone[groups:]))}
    numbers |= dict(zip(explanation.names, alone, strict=True))
    rows = [(name, value, _text(value, total)) for name, value in zip(explanation.names, alone, strict=True)]
    pictures = (
        bars(
            rows,
            title=f"change of log p of {token(explanation)} with one part alone, nats",
            alt="; ".join(f"{name} {text}" for name, _, text in rows),
            mark=(total, f"the whole: {nats(total)}"),
        ),
        _strengths(explanation, first),
        _table(explanation, alone, total),
    )
    return Finding(
        "parts", _sentence(explanation, alone, total, groups), numbers, _details(explanation, numbers), pictures
    )


def _sentence(explanation: Parts, alone: list[float], total: float, groups: int) -> str:
    first, whole = explanation.logprobs.tolist()
    if abs(total) < NOTHING:
        largest = int(np.abs(alone).argmax())
        return (
            f"The whole adapter leaves the probability of {token(explanation)} as it was ({nats(total)}, "
            f"{from_to(first, whole)}); alone, “{explanation.names[largest]}” does most, {nats(alone[largest])}."
        )
    strongest, second = (_most(alone[part], total) for part in (slice(0, groups), slice(groups, None)))
    does = [
        f"“{explanation.names[part]}” alone does {nats(alone[part])} ({percent(alone[part] / total)})"
        for part in (strongest, groups + second)
    ]
    change = f"{nats(total)}: {likelier(total)}, {from_to(first, whole)}"
    return (
        f"Of what the adapter does to log p of {token(explanation)} ({change}), {does[0]}; "
        f"of the thirds of the layers, {does[1]}."
    )


def _most(values: list[float], total: float) -> int:
    return int((np.array(values) * np.sign(total)).argmax())


def _details(explanation: Parts, numbers: dict[str, float]) -> tuple[str, ...]:
    total = numbers["total"]
    sums = [
        f"the {what} alone add up to {nats(numbers[name])}, {nats(abs(numbers[name] - total), sign=False)} "
        f"{'more' if numbers[name] > total else 'less'} than the whole"
        for what, name in (("groups of modules", "groups_sum"), ("thirds of the layers", "thirds_sum"))
    ]
    best = int(explanation.strength_logprobs.argmax())
    most = f"strength {explanation.strengths[best]:g} ({probability(float(explanation.strength_logprobs[best]))})"
    return (
        f"Parts need not add up: {'; '.join(sums)}.",
        f"{token(explanation)} is most likely at {most}; 1 is as trained.",
    )


def _text(value: float, total: float) -> str:
    return nats(value) if abs(total) < NOTHING else f"{nats(value)} · {percent(value / total)}"


def _strengths(explanation: Parts, first: float) -> Json:
    points = [
        (
            strength,
            value,
            f"strength {strength:g}: log p {number(value, 'nats')} ({probability(value)}), image share {_share(share)}",
        )
        for strength, value, share in zip(
            explanation.strengths,
            explanation.strength_logprobs.tolist(),
            explanation.strength_shares.tolist(),
            strict=True,
        )
    ]
    return curve(
        points,
        title=f"log p of {token(explanation)} by strength, nats",
        across="strength",
        lines=[(first, names(explanation)[0])],
        alt="; ".join(text for _, _, text in points),
    )


def _table(explanation: Parts, alone: list[float], total: float) -> Json:
    base = float(explanation.shares[0])
    rows = [
        [name, nats(value), number(float(share) - base, "share difference", sign=True)]
        for name, value, share in zip(explanation.names, alone, explanation.part_shares, strict=True)
    ]
    rows.append(["the whole", nats(total), number(float(explanation.shares[1]) - base, "share difference", sign=True)])
    return table(["on only there", "Δ log p", "Δ image share (pp)"], rows, title="every part")


def _share(value: float) -> str:
    return f"{number(value, 'share')} %"
