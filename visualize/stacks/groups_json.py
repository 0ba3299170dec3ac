"""Decide what a browser gets of where a row's attention goes: shares of all layers, as numbers and as texts."""

from collections.abc import Sequence
from dataclasses import replace

from inference.measures import Measure
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.caption import variant_name, where
from visualize.numbers.group_shares import group_shares
from visualize.numbers.head_choice import head_words
from visualize.numbers.reduce import Selection
from visualize.numbers.scale import number


def groups_json(
    comparison: Comparison, selections: Sequence[Selection], variants: Sequence[str | None]
) -> dict[str, Json]:
    """The shares of some variants, one entry per selection.

    Args:
        comparison: what was recorded.
        selections: one per layer.
        variants: adapters, the one compared against first; None is the base model.

    Returns:
        `names` of the groups; `labels`, of which layer (or heads) each entry is; per variant and layer `values` (0–1,
        four digits) and `texts`, one per group; per later variant `changes`, variant − the first in percentage points,
        none where each replayed its own answer; `about`, of which heads they are.

    Raises:
        SelectionError: what `group_shares` refuses.
    """
    recordings = [comparison.recording(name) for name in variants]
    shares = {variant_name(each): [group_shares(each, selection) for selection in selections] for each in recordings}
    first, *others = shares
    head = selections[0].head
    heads = head_words("mean" if head == "max" else head)
    which = f"the {heads}" if heads.startswith("mean") else heads
    more = "; a maximum over heads has no shares" if head == "max" else ""
    return {
        "names": list(comparison.groups),
        # of the attention, whatever view is shown
        "labels": [where(replace(selection, view="raw"))[0] for selection in selections],
        "values": {name: [[round(each, 4) for each in row.tolist()] for row in rows] for name, rows in shares.items()},
        "texts": {name: [_texts(row) for row in rows] for name, rows in shares.items()},
        "changes": {
            name: [_changes(row - base) for row, base in zip(shares[name], shares[first], strict=True)]
            for name in (others if comparison.tokens else ())
        },
        "about": f"Shares of all attention of the chosen tokens' rows, {which}{more}.",
    }


def _texts(row: Measure) -> list[Json]:
    return [f"{100 * each:.1f} %" for each in row.tolist()]


def _changes(row: Measure) -> list[Json]:
    return [f"{number(round(each, 6), 'share difference', sign=True)} pp" for each in row.tolist()]
