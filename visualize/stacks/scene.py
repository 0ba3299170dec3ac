"""Decide what a browser gets of a result before any map: its tokens, answers and changes, and where it opens.

One scene belongs to one result. Its stacks are asked for by choice, see `stack_body`.
"""

import base64
import zlib
from collections.abc import Mapping
from itertools import groupby, zip_longest
from typing import get_args

import numpy as np

from inference.focus import digit_tokens
from inference.recording import Recording, Role
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.answers import legend, own_words, replayed_by, warnings
from visualize.numbers.caption import variant_name
from visualize.numbers.change import LargestChange
from visualize.numbers.opening import opens_on, questioned
from visualize.numbers.reduce import view_recorded
from visualize.numbers.tokens import chips, label_of
from visualize.numbers.views import VIEWS
from visualize.pictures.palette import DIVERGING, SEQUENTIAL, colour_table
from visualize.stacks.changes import FindChanges, KeptChanges, changes_json, most_changed, of_answer
from visualize.stacks.head_changes import head_changes_json
from visualize.stacks.said_json import said_json
from visualize.stacks.stack_body import PERCENTILES

#: Half widths of windows of layers that are offered.
WINDOWS = (0, 1, 2, 4)


def scene_json(
    comparison: Comparison,
    *,
    written: Comparison | None = None,
    families: Mapping[str, tuple[str, int]] | None = None,
    against: str = "",
    opens: Mapping[str, Json] | None = None,
    heads: bool = True,
    find_changes: FindChanges | None = None,
) -> dict[str, Json]:
    """A result in words and numbers, without its maps.

    Args:
        comparison: what is shown.
        written: the result in which the variants wrote their answers, where that is another: the one before a replay.
        families: per adapter that is a checkpoint, the name of its training run and its step.
        against: what `changed` compares with, see `changes_json`; it opens on what changed most against the first.
        opens: parts of a viewer's choice to open on instead.
        heads: whether what is said of all heads is in it; whoever waits for a first picture asks for it afterwards.
        find_changes: what finds how rows changed, where it is kept: a `KeptChanges` of this comparison.

    Returns:
        Plain values; per variant, token and layer `shares` (percent, as text) and `bars` (0–1); `changed`, what
        `changes_json` says. In `own_tokens` each variant's tokens, where each replayed its own
        answer. `recorded` are the tokens whose single heads there are, `head_changes` what `head_changes_json` says of
        them or None. `said` are the points and boxes in each variant's
        words, see `places_json`; `digits` the tokens that the choice `digits` means, of the first variant;
        `questioned` the one that a question is of where none of the answer's is chosen; `photo` tells whether two
        results are of the same pixels: boxes drawn on one photo mean nothing on another.
    """
    written = written or comparison
    first = comparison.recordings[0]
    names = [variant_name(each) for each in comparison.recordings]
    find = find_changes or KeptChanges()
    changes = find(comparison)
    most = most_changed(comparison, changes)
    means = {name: rows.mean(axis=1) for name, rows in of_answer(comparison, changes).items()}
    focus = {each.focus for each in comparison.recordings}
    recorded: list[Json] = list(first.focus) if len(focus) == 1 else []
    return {
        "grid": list(comparison.grid),
        "image_size": list(comparison.image_size),
        "photo": f"{zlib.crc32(np.ascontiguousarray(comparison.image).data):08x}",
        "images": len(comparison.images),
        "shown": comparison.shown,
        "layers": comparison.model.num_layers,
        "heads": comparison.model.num_heads,
        "model": comparison.model.id,
        "variants": list(names),
        "own": not comparison.tokens,
        "families": _families(names, families or {}),
        "tokens": _tokens(first),
        "own_tokens": {variant_name(each): _tokens(each) for each in comparison.recordings if not comparison.tokens},
        **_shares(comparison),
        "changed": changes_json(comparison, against, find),
        "head_changes": head_changes_json(comparison, against) if heads else None,
        "answers": _answers(comparison, written),
        "said": said_json(comparison),
        "prompt": str(comparison.prompt),
        "before": _before(comparison),
        "warnings": list(warnings(comparison, written, means)),
        "notes": [note for note in comparison.notes if note not in written.notes],
        "legend": legend(comparison),
        "views": [view for view, kind in VIEWS.items() if not (comparison.elsewhere and kind.recorded)],
        "view_kinds": {
            view: {"heads": kind.heads, "recorded": kind.recorded or "", "verb": kind.verb}
            for view, kind in VIEWS.items()
        },
        "recorded_views": [view for view in VIEWS if all(view_recorded(each, view) for each in comparison.recordings)],
        "colormaps": list(SEQUENTIAL),
        "diverging": list(DIVERGING),
        "percentiles": list(PERCENTILES),
        "tables": {name: base64.b64encode(colour_table(name).tobytes()).decode() for name in SEQUENTIAL + DIVERGING},
        "windows": [window for window in WINDOWS if window < comparison.model.num_layers],
        "recorded": recorded,
        "digits": list(digit_tokens(first.tokens)),
        "questioned": questioned(comparison),
        "opening": {**_opening(comparison, names, most), **(opens or {})},
    }


def _families(names: list[str], families: Mapping[str, tuple[str, int]]) -> dict[str, Json]:
    """The checkpoints that were recorded, those of one training run together and in the order of their steps."""
    recorded = sorted((families[name], name) for name in names if name in families)
    return {name: [family, step] for (family, step), name in recorded}


def _tokens(recording: Recording) -> list[Json]:
    row = chips(recording, roles=get_args(Role))
    return [{"index": chip.index, "text": chip.text, "label": chip.label, "role": chip.role} for chip in row]


def _before(comparison: Comparison) -> list[Json]:
    """What the model read before the last image, in runs of one role; where positions are left out, an image stands."""
    pieces, images = list[tuple[str, str]](), 0
    for token, following in zip_longest(comparison.before, comparison.before[1:]):
        pieces.append((token.role, label_of(token.text, token.role)))
        if following is not None and following.position > token.position + 1:
            images += 1
            pieces.append(("image", f"image {images}"))
    runs = groupby(pieces, key=lambda piece: piece[0])
    return [{"role": role, "pieces": [text for _, text in run]} for role, run in runs]


def _shares(comparison: Comparison) -> dict[str, Json]:
    """Each token's share of attention on the image, mean over heads, per layer: as percent to read and as a bar."""
    shares = {
        variant_name(each): each.image_share.mean(axis=2, dtype=np.float64).tolist() for each in comparison.recordings
    }
    return {
        "shares": {name: [[f"{share * 100:.1f}" for share in row] for row in rows] for name, rows in shares.items()},
        "bars": {
            name: [[round(min(max(share, 0.0), 1.0), 4) for share in row] for row in rows]
            for name, rows in shares.items()
        },
    }


def _answers(comparison: Comparison, written: Comparison) -> list[Json]:
    replayed = replayed_by(comparison, written)
    made: list[Json] = []
    for own in map(written.recording, [each.adapter for each in comparison.recordings]):
        is_replayed = not comparison.tokens or own.adapter == replayed
        labels, parts = ((), None) if is_replayed else own_words(own, comparison)
        made.append(
            {
                "variant": variant_name(own),
                "text": own.answer,
                "replayed": is_replayed,
                "words": list(labels),
                "parts": parts,
            }
        )
    return made


def _opening(comparison: Comparison, names: list[str], most: LargestChange | None) -> dict[str, Json]:
    first, *others = comparison.recordings
    opens = opens_on(comparison, first, dict(zip(names[1:], others, strict=True)), most)
    return {
        "token": list(opens.token) if isinstance(opens.token, tuple) else opens.token,
        "layer": opens.layer,
        "window": 0,
        "head": "mean",
        "view": "raw",
        "against": names[0],
        "adapter": names[min(1, len(names) - 1)] if opens.variant is None else opens.variant,
        "opacity": 0.6,
        "colormap": SEQUENTIAL[0],
        "diverging": DIVERGING[0],
        "percentile": 100,
        "log": False,
        "smooth": True,
        "fade": True,  # of differences only: where nothing changed, the photo shows
        "marks": True,
        "boxes": [],
        "said": True,
    }
