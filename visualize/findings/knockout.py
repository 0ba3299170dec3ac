"""Does it need to look there: the sentence, the numbers and the picture of a `Knockout`."""

from inference.explanations import Knockout
from visualize.findings.words import NO_CHANGE, counted, named, nats, outcome
from visualize.json_values import Json


def knockout_sentence(found: Knockout) -> str:
    """A clause per variant: what the set costs, and its place among the others."""
    clauses = [_clause(found, variant) for variant in reversed(range(len(found.variants)))]
    return f"{_where(found)}, {'; '.join(clauses)}."


def knockout_rows(found: Knockout) -> list[tuple[str, str]]:
    """Every number, per variant."""
    rows = [("cells", f"{int(found.cells.sum())} of {found.cells.size}")]
    for variant, name in enumerate(map(named, found.variants)):
        others = found.control_changes[:, variant]
        rows.append((f"{name}: as it is", nats(float(found.logprobs[variant]))))
        rows.append((f"{name}: without these cells", nats(float(found.changes[variant]))))
        if len(others):
            rows.append((f"{name}: without other cells, mean", nats(float(others.mean()))))
            rows.append((f"{name}: without other cells, lowest", nats(float(others.min()))))
            rows.append((f"{name}: place among all", f"{found.rank(variant)} of {len(others) + 1}"))
    return rows


def knockout_picture(found: Knockout) -> dict[str, Json]:
    """Per variant a line of dots: the set among the others."""
    lines: list[Json] = [
        {
            "label": named(name),
            "value": float(found.changes[variant]),
            "text": nats(float(found.changes[variant])),
            "others": [float(value) for value in found.control_changes[:, variant]],
        }
        for variant, name in enumerate(found.variants)
    ]
    return {"type": "dots", "lines": lines, "label": f"change of {outcome(found)} without the cells, in nats"}


def _where(found: Knockout) -> str:
    cells = counted(int(found.cells.sum()), "cell")
    rows = "the words and the answer" if found.rows == "text" else "the rows of the answer"
    layers = "" if found.layers is None else f" in {counted(len(found.layers), 'layer')}"
    return f"With {cells} closed to {rows}{layers}"


def _clause(found: Knockout, variant: int) -> str:
    name, change = named(found.variants[variant]), float(found.changes[variant])
    others = found.control_changes[:, variant]
    direction = "falls" if change < 0 else "rises"
    if abs(change) < NO_CHANGE:
        moved = f"{outcome(found)} of {name} stays ({nats(change)})"
    else:
        moved = f"{outcome(found)} of {name} {direction} by {nats(abs(change), sign=False)}"
    if not len(others):
        return moved
    kind = "other places of the same shape" if found.shape == "shifted" else "other sets of as many cells"
    rank, count = found.rank(variant), len(others)
    if rank == 1 and change < 0:
        least = float(others.min())
        cost = f"at most {nats(-least, sign=False)}" if least < 0 else "nothing"
        return f"{moved}, more than for any of {count} {kind} ({cost} there)"
    at_least = rank - 1
    return f"{moved}, and {at_least} of {count} {kind} cost as much or more: this cannot be told apart from chance"
