"""Decide what a browser gets of one choice: all layers' maps, and every word and number that stands beside them.

The browser computes no measure: it picks a layer, resizes its numbers, colours them and says what is written here.
`map_bytes` says how the body is laid out.
"""

from functools import cache

from inference.records import Comparison
from visualize.json_values import Json, finite
from visualize.numbers.layer_limits import Way, pane_limits
from visualize.numbers.looked_said import looked_said
from visualize.numbers.rank_heads import Ranking, rank_heads
from visualize.numbers.scale import ColourLimits, Unit, number
from visualize.numbers.stack import PaneStack, Stack, stack
from visualize.numbers.table import numbers_json
from visualize.numbers.views import VIEWS
from visualize.pictures.bar import limits_json
from visualize.stacks.groups_json import groups_json
from visualize.stacks.map_bytes import ROUNDING, body, scales_of, unit_json
from visualize.stacks.stack_choice import StackChoice

#: Where the colour scales may be clipped.
PERCENTILES = (100, 99, 95)


def stack_body(comparison: Comparison, choice: StackChoice, rank: Ranking = rank_heads) -> bytes:
    """What one choice shows, for all layers.

    Args:
        comparison: what was recorded.
        choice: tokens, head, view, window and variants.
        rank: what ranks the heads of a layer.

    Returns:
        A header and one block of maps per pane: the variants in the choice's order, then each later one − the first.

    Raises:
        SelectionError: what this comparison does not have.
    """
    shown = stack(
        comparison,
        choice.token,
        head=choice.head,
        view=choice.view,
        layers=choice.layers(comparison),
        variants=choice.variants(comparison),
        rank=rank,
    )
    frames = range(len(shown.selections))
    said = looked_said(comparison, shown)
    header: dict[str, Json] = {
        "grid": list(comparison.grid),
        "frames": len(frames),
        "choice": choice.json(comparison),
        "rounding": ROUNDING,
        "panes": _panes(shown),
        "hidden": [shown.hidden(index) is not None for index in frames],
        "sinks": [cells.ravel().nonzero()[0].tolist() for cells in shown.sinks],
        "headings": list(shown.headings),
        "numbers": [numbers_json(shown, index, said) for index in frames],
        "heads": [[[head.head, head.words] for head in ranked] for ranked in shown.heads],
        "scale": _scales(shown),
        "strip": _strip(shown),
        "groups": groups_json(comparison, shown.selections, choice.variants(comparison)),
    }
    return body(header, [pane.maps for pane in (*shown.variants, *shown.differences)])


def _panes(shown: Stack) -> list[Json]:
    kind = VIEWS[shown.view]
    panes = [_pane(pane, pane.variant, kind.unit, is_change=False) for pane in shown.variants]
    for index, pane in enumerate(shown.differences, 1):
        panes.append(_pane(pane, shown.variants[index].variant, kind.change, is_change=True))
    return list(panes)


def _pane(pane: PaneStack, of: str, unit: Unit, *, is_change: bool) -> dict[str, Json]:
    return {
        "variant": pane.variant,
        "difference": is_change,
        "of": of,
        "scales": list(scales_of(pane.maps)),
        "peaks": [None if peak is None else list(peak) for peak in pane.peaks],
        "lines": list(pane.lines),
        "alts": list(pane.sentences),
        **unit_json(unit),
    }


def _scales(shown: Stack) -> dict[str, Json]:
    """Per way to place values on colours, each layer's limits and the notes that belong to them."""
    made: dict[str, Json] = {}
    said = cache(limits_json)  # a signed scale is the same whether a logarithm was asked for or not
    ways = [Way(log, percentile) for log in (False, True) for percentile in PERCENTILES]
    for way, scaled in zip(ways, shown.scaled(ways), strict=True):
        differences = scaled.differences[0].limits if scaled.differences else None
        made[f"{way.log:d}-{way.percentile}"] = {
            "shared": [said(each) for each in scaled.variants[0].limits],
            "difference": None if differences is None else [said(each) for each in differences],
            "notes": [list(notes) for notes in scaled.notes],
        }
    return made


def _strip(shown: Stack) -> dict[str, Json]:
    """All layers at a glance: how much each changed, and the one scale of their small maps."""
    changes = [[change.js_divergence for change in pane.changes] for pane in shown.differences]
    shared, difference = pane_limits(
        [pane.maps for pane in shown.variants],
        [pane.maps for pane in shown.differences],
        view=shown.view,
        hidden=shown.left_out,
    )
    return {
        "measure": "JS divergence over the image",
        "unit": "bits",
        "changes": [[finite(value) for value in row] for row in changes],
        "words": [[number(value, "bits") for value in row] for row in changes],
        "shared": limits_json(shared),
        "difference": _optional(difference),
    }


def _optional(limits: ColourLimits | None) -> Json:
    return None if limits is None else limits_json(limits)
