"""Which part of the adapter does it: the sentence, the numbers and the picture of `Parts`."""

from inference.adapters.portion import GROUPS
from inference.explanations import Parts
from visualize.findings.words import NO_CHANGE, named, nats, outcome, percent, points
from visualize.json_values import Json


def parts_sentence(found: Parts) -> str:
    """The group and the third that move the outcome most alone, and how far the groups are from adding up."""
    name, total = named(found.variants[1]), float(found.logprobs[1] - found.logprobs[0])
    if abs(total) < NO_CHANGE:
        return (
            f"With all of {name} on, {outcome(found)} did not change ({nats(total)}): there is nothing to take apart."
        )
    changes = part_changes(found)
    groups = {group: changes[group] for group in GROUPS}
    thirds = {part: change for part, change in changes.items() if part not in groups}
    group = max(groups, key=lambda part: groups[part] * total)
    third = max(thirds, key=lambda part: thirds[part] * total)
    left = total - sum(groups.values())
    return (
        f"Alone, {group} of {name} moves {outcome(found)} by {nats(groups[group])}, {percent(groups[group], total)} of "
        f"what the whole adapter does ({nats(total)}), and {third} by {nats(thirds[third])}; the four groups are "
        f"{nats(left)} from adding up."
    )


def parts_rows(found: Parts) -> list[tuple[str, str]]:
    """Every part and every strength: change of the outcome and of the image share against base."""
    share = float(found.shares[0])
    rows = [
        (part, f"{nats(change)}, image share {points(float(found.part_shares[index]) - share)}")
        for index, (part, change) in enumerate(part_changes(found).items())
    ]
    whole = float(found.logprobs[1] - found.logprobs[0])
    rows.append(("all of it", f"{nats(whole)}, image share {points(float(found.shares[1]) - share)}"))
    for index, strength in enumerate(found.strengths):
        change = float(found.strength_logprobs[index] - found.logprobs[0])
        moved = float(found.strength_shares[index]) - share
        rows.append((f"strength {strength:g}", f"{nats(change)}, image share {points(moved)}"))
    return rows


def parts_picture(found: Parts) -> dict[str, Json]:
    """A bar per part, and the curve over strengths."""
    bars: list[Json] = [
        {"label": part, "value": change, "text": nats(change)} for part, change in part_changes(found).items()
    ]
    curve = [float(value - found.logprobs[0]) for value in found.strength_logprobs]
    return {
        "type": "parts",
        "bars": bars,
        "curve": {"x": list(found.strengths), "y": list(curve), "texts": [nats(value) for value in curve]},
        "label": f"change of {outcome(found)} against base, in nats",
    }


def part_changes(found: Parts) -> dict[str, float]:
    """What each part moves alone, in nats."""
    return {
        part: float(logprob - found.logprobs[0]) for part, logprob in zip(found.names, found.part_logprobs, strict=True)
    }
