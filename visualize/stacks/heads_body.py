"""Decide what a browser gets of the heads of one layer: small maps in the order of rank, on one scale."""

from inference.errors import SelectionError
from inference.recording import FloatArray
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.caption import variant_name
from visualize.numbers.layer_limits import pane_limits
from visualize.numbers.rank_heads import Ranking, rank_heads
from visualize.numbers.reduce import Selection
from visualize.numbers.scale import Unit
from visualize.numbers.side_by_side import recordings_of, side_by_side
from visualize.numbers.views import VIEWS
from visualize.pictures.bar import limits_json
from visualize.stacks.map_bytes import ROUNDING, body, scales_of, unit_json
from visualize.stacks.stack_choice import StackChoice


def heads_body(comparison: Comparison, choice: StackChoice, layer: int, rank: Ranking = rank_heads) -> bytes:
    """All heads of one layer (or of the window around it), those first that `rank_heads` puts first.

    Args:
        comparison: what was recorded.
        choice: tokens, view, window and variants; its head is not looked at.
        layer: 0-based.
        rank: what ranks its heads.

    Returns:
        A header and one block of maps per pane, as `stack_body` has it; frame i is the i-th head in ranked order.

    Raises:
        SelectionError: what this comparison does not have: above all, single heads of tokens that were not recorded;
            or the contrast view, which has none.
    """
    layers = choice.layers(comparison)
    if not 0 <= layer < len(layers):
        raise SelectionError(
            f"layer {layer} does not exist: this result has layers 0–{len(layers) - 1}.", "Choose one of them."
        )
    recordings = recordings_of(comparison, choice.variants(comparison))
    compared = recordings if comparison.tokens else recordings[:1]  # rows of different words are not compared
    ranked = rank(compared, layers[layer])
    selections = [Selection(layers[layer], choice.token, head.head, choice.view) for head in ranked]
    shown = side_by_side(comparison, recordings, selections)
    sinks = shown.sinks[0]
    masked = choice.view == "sink-masked"
    shared, difference = pane_limits(
        shown.variants, shown.differences, view=choice.view, hidden=shown.sinks if masked else None
    )
    names = [variant_name(recording) for recording in recordings]
    kind = VIEWS[choice.view]
    panes = [
        _pane(name, name, maps, kind.unit, is_change=False) for name, maps in zip(names, shown.variants, strict=True)
    ]
    for name, maps in zip(names[1:] if shown.differences else (), shown.differences, strict=True):
        panes.append(_pane(f"{name} − {names[0]}", name, maps, kind.change, is_change=True))
    header: dict[str, Json] = {
        "grid": list(comparison.grid),
        "frames": len(ranked),
        "layer": layer,
        "choice": choice.json(comparison),
        "rounding": ROUNDING,
        "heads": [each.head for each in ranked],
        "words": [each.words for each in ranked],
        "panes": list(panes),
        "hidden": masked and bool(sinks.any()),
        "sinks": sinks.ravel().nonzero()[0].tolist(),
        "shared": limits_json(shared),
        "difference": None if difference is None else limits_json(difference),
    }
    return body(header, [*shown.variants, *shown.differences])


def _pane(name: str, of: str, maps: FloatArray, unit: Unit, *, is_change: bool) -> dict[str, Json]:
    return {
        "variant": name,
        "difference": is_change,
        "of": of,
        "scales": list(scales_of(maps)),
        **unit_json(unit),
    }
