"""What browsers and reports get of made-up results, but for the maps: `what_is_sent.json` holds what was read.

python -m tests.visualize.stacks.what_is_sent
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, photo, recording, tokens, with_sinks
from tests.visualize.kept import Kept, keep, plain
from visualize import StackChoice, heads_body, scene_json, stack_body
from visualize.numbers.caption import where
from visualize.numbers.reduce import Selection
from visualize.report.contents import report_contents
from visualize.stacks.box_body import box_body, box_json, box_matrix
from visualize.stacks.changes import changes_json
from visualize.stacks.head_changes import head_changes_json

KNOWN = Path(__file__).with_suffix(".json")
BOX = ((5.0, 10.0, 35.0, 50.0),)
BOXES = (*BOX, (30.0, 40.0, 999.0, 70.0))


def with_views(seed: int, adapter: str | None = None) -> Any:
    """A recording with sinks that holds every view."""
    rng = np.random.default_rng(seed)
    heads = rng.gamma(0.5, size=(LAYERS, HEADS, *GRID)).astype(np.float32)
    named = rng.gamma(0.5, size=GRID).astype(np.float32)
    made = with_sinks(adapter, seed=seed)
    general = heads / heads.sum(axis=(-2, -1), keepdims=True) / 2
    general[1, 2] = 0
    return replace(made, general=general, gradient=heads[::-1].copy(), named=named, named_alone=named / 3)


CHOICES = {
    "raw": StackChoice(7),
    "a range": StackChoice((7, 8)),
    "a word": StackChoice(2, window=1),
    "the end": StackChoice(9, against="find-red"),
    "one head": StackChoice(7, head=2, view="sink-masked"),
    "the maximum": StackChoice(7, head="max"),
    "a set": StackChoice(7, head=((3, 1), (0, 2)), against="counts"),
    "one of a set": StackChoice(7, head=((3, 1),), view="sink-masked"),
    "contrast": StackChoice(8, view="contrast"),
    "relative": StackChoice(7, view="relative", head=2),
    "gradient": StackChoice(7, view="gradient"),
    "named": StackChoice(7, view="named"),
    "named alone": StackChoice(7, view="named alone"),
}


def what_is_sent() -> Kept:
    """All of it, as plain values; the tables of colours are left out."""
    shown = comparison(*(with_views(seed, name) for seed, name in ((3, None), (4, "find-red"), (5, "counts"))))
    shown = replace(shown, image=photo((60, 100)), notes=("A note.",))
    alone = comparison(recording("find-red"), image=photo((60, 100)))
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    room = [report_contents(alone, StackChoice(7), size, boxes).words for size, boxes in ((10**7, ()), (3_000, BOX))]
    return plain(
        {
            "scenes": {name: _scene(each) for name, each in {"three": shown, "alone": alone, "own": own}.items()},
            "changes": {name: changes_json(shown, name) for name in ("base", "find-red", "counts")},
            "head changes": {name: head_changes_json(shown, name) for name in ("base", "find-red", "counts")},
            "stacks": {name: _one_scale(_header(stack_body(shown, choice))) for name, choice in CHOICES.items()},
            "scales": {"raw": _header(stack_body(shown, CHOICES["raw"]))["scale"]},
            "stacks of one": {"alone": _header(stack_body(alone, StackChoice(7)))},
            "heads": {name: _header(heads_body(shown, CHOICES[name], 2)) for name in ("raw", "relative")},
            "boxes": {
                "one": box_body(shown, BOX, StackChoice(7)),
                "two": box_body(shown, BOXES, CHOICES["a range"]),
                "a set": box_body(shown, BOXES, CHOICES["a set"]),
                "matrix": box_matrix(shown, BOXES),
                "alone": box_matrix(alone, BOX),
                "for programs": box_json(alone, BOXES, 7),
            },
            "reports": {
                "all": report_contents(shown, StackChoice(7), 10**7, BOXES).words,
                "a window": report_contents(shown, StackChoice(8, window=1), 40_000).words,
                "little room": report_contents(shown, StackChoice(7), 1, BOX).words,
                "alone": room,
            },
            "where": {name: where(Selection(1, 7, each.head, each.view)) for name, each in CHOICES.items()},
        }
    )


def _scene(shown: Any) -> Any:
    made = scene_json(shown, families={"find-red": ("run", 20), "counts": ("run", 3)})
    return {name: value for name, value in made.items() if name != "tables"}


def _header(body: bytes) -> Any:
    return json.loads(body[8 : 8 + int.from_bytes(body[4:8], "little")])


def _one_scale(header: Any) -> Any:
    """Without the other ways to place values on colours: what they are follows from the first."""
    return header | {"scale": {"0-100": header["scale"]["0-100"]}}


if __name__ == "__main__":
    keep(KNOWN, what_is_sent())
