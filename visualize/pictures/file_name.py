"""Decide what a saved file is called: which adapter, token and layer are in it, in letters that every system takes."""

import re
from collections.abc import Sequence
from hashlib import sha256

from inference.records import Comparison
from visualize.numbers.caption import variant_name
from visualize.numbers.head_choice import head_text
from visualize.numbers.reduce import Selection
from visualize.numbers.token_choice import token_indices
from visualize.numbers.top_heads import TOP

_LONGEST = 64  # letters of one part, as many as an adapter's name may have


def file_name(comparison: Comparison, selection: Selection, ending: str, *, variants: Sequence[str | None]) -> str:
    """The name for what a selection shows of some variants: `attention-base-find-red-token-14-red-layer-3.png`.

    Head and view are named where they are not the usual ones (the mean, raw).

    Args:
        comparison: what was recorded.
        selection: layer or window, token, head and view.
        ending: without the dot, e.g. `png`.
        variants: the adapters shown, None is the base model.

    Returns:
        Letters, digits, `.`, `_` and `-` only.

    Raises:
        SelectionError: a variant or token that this comparison does not have.
    """
    recordings = [comparison.recording(name) for name in variants]
    indices = token_indices(recordings[0], selection.token)
    parts = ["attention", *map(variant_name, recordings)]
    if len(indices) > 1:
        parts.append(f"tokens-{indices[0]}-{indices[-1]}")
    else:
        token = recordings[0].tokens[indices[0]]
        parts += [f"token-{indices[0]}", "end" if token.role == "end" else token.text]
    layer = selection.layer
    if isinstance(selection.head, tuple):
        parts.append(_heads(str(head_text(selection.head)), len(selection.head)))
    else:
        parts.append(f"layers-{layer[0]}-{layer[1]}" if isinstance(layer, tuple) else f"layer-{layer}")
        parts += [] if selection.head == "mean" else [f"head-{selection.head}"]
    parts += [] if selection.view == "raw" else [selection.view]
    return "-".join(filter(None, map(_safe, parts))) + f".{ending}"


def _heads(text: str, count: int) -> str:
    """A set of heads by name; a larger one, whose names would be cut, by their number and a sign of which."""
    return f"heads-{text}" if count <= TOP else f"{count}-heads-{sha256(text.encode()).hexdigest()[:8]}"


def _safe(part: str) -> str:
    """A part with everything else than plain letters and digits left out, and runs of that as one `-`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-._")[:_LONGEST]
