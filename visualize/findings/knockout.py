"""Decide the words for "does it need to look there?": each variant's fall, and its place among those of other sets."""

from inference.explanations import Knockout
from visualize.findings.finding import Finding
from visualize.findings.pictures import cells, marks
from visualize.findings.words import NOTHING, counted, from_to, names, nats, runs, token


def knockout(explanation: Knockout) -> Finding:
    """Whether an answer needs a set of cells."""
    count, of = int(explanation.cells.sum()), explanation.cells.size
    controls = explanation.control_changes.shape[0]
    numbers: dict[str, float] = {"cells": count, "of": of, "controls": controls}
    said, rows = [], []
    for index, name in enumerate(names(explanation)):
        change = float(explanation.changes[index])
        numbers |= {f"change_{index}": change, f"rank_{index}": float(explanation.rank(index))}
        said.append(_of_variant(explanation, index, name))
        others = explanation.control_changes[:, index].tolist()
        rows.append((name, change, others, f"{nats(change)}, place {explanation.rank(index)} of {controls + 1}"))
    whose = "the words" if explanation.rows == "text" else "the answer"
    where = "" if explanation.layers is None else f" in {runs(explanation.layers)}"
    these = "this" if count == 1 else "these"
    sentence = f"When {whose} may not look at {these} {count:,} of {of:,} cells{where}, {'; '.join(said)}."
    kind = "shifted sets of the same shape" if explanation.shape == "shifted" else "random sets of as many cells"
    details = (
        (f"Beside it {controls:,} {kind}; the heavy mark is this set, the light ones are those. Place 1 lowers most.",)
        if controls
        else ()
    )
    pictures = [
        marks(
            rows,
            title=f"change of log p of {token(explanation)}, nats",
            alt="; ".join(f"{row[0]}: {row[3]}" for row in rows),
        ),
        cells(explanation.cells, title="the cells", alt=f"{count:,} of {of:,} cells of the image"),
    ]
    return Finding("knockout", sentence, numbers, details, tuple(pictures))


def _of_variant(explanation: Knockout, index: int, name: str) -> str:
    change, before = float(explanation.changes[index]), float(explanation.logprobs[index])
    controls, rank = explanation.control_changes.shape[0], explanation.rank(index)
    what = f"{name}'s log p of {token(explanation)}"
    amount = f"by {nats(abs(change), sign=False)} ({from_to(before, before + change)})"
    if abs(change) < NOTHING:
        moved = f"{what} stays ({nats(change)})"
    else:
        moved = f"{what} {'falls' if change < 0 else 'rises'} {amount}"
    if not controls:
        return f"{moved}, with 0 other sets beside it to tell it from chance"
    if change < 0 and rank == 1:
        return (
            f"{moved}, more than with any of {counted(controls, 'other set')}: it needs them, at level 1/{controls + 1}"
        )
    return f"{moved}, place {rank} of {controls + 1} among sets of that size: cannot be told apart from chance"
