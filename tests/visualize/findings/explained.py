"""Explanations with numbers that a test chooses."""

from typing import Any

import numpy as np

from inference.explanations import Attribution, Chance, Knockout, Parts
from tests.visualize.factory import HEADS, LAYERS, MODEL, first_answer, tokens

TOKENS = tokens()[: first_answer(tokens()) + 1]  # measured: “red”, the answer's first
ABOUT: dict[str, Any] = {"model": MODEL, "variants": (None, "find-red"), "tokens": TOKENS, "replays": 8}


def attribution(
    first: float = -3.0,
    seeing: float = 0.2,
    looking: float = 1.6,
    saying: float = 0.2,
    *,
    by_layer: Any = None,
    by_head: Any = None,
    **more: Any,
) -> Attribution:
    """Factors that add up: each one's share is its number; heads have the same effect both ways."""
    outcomes = np.empty((2, 2, 2))
    for place in np.ndindex(2, 2, 2):
        outcomes[place] = first + np.dot(place, (seeing, looking, saying))
    head = None if by_head is None else np.array(by_head, dtype=float)
    layer = None if head is None else np.nansum(head, axis=1)
    layer = layer if by_layer is None else np.array(by_layer, dtype=float)
    values = {"outcome": "logprob", "says": ("red", "blue"), "outcomes": outcomes, **ABOUT, **more}
    return Attribution(
        **values,
        by_layer=layer,
        by_layer_reverse=None if layer is None else -layer,
        by_head=head,
        by_head_reverse=None if head is None else -head,
    )


def knockout(changes: Any = (0.0, -4.0), controls: Any = None, **more: Any) -> Knockout:
    """Three of 2 × 4 cells, and four other sets unless `controls`, `(sets, variants)`, says otherwise."""
    others = np.array(
        [[0.1, -0.1], [-0.2, 0.2], [0.0, -0.3], [0.3, 0.1]] if controls is None else controls, dtype=float
    )
    cells = np.zeros((2, 4), dtype=bool)
    cells[0, 1:] = True
    values = {"logprobs": np.array([-1.0, -0.5]), "rows": "text", "layers": None, **ABOUT, **more}
    return Knockout(
        **values,
        grid=(2, 4),
        cells=cells,
        changes=np.array(changes, dtype=float),
        control_cells=np.zeros((len(others), 2, 4), dtype=bool),
        control_changes=others.reshape(len(others), len(changes)),
    )


def chance(beyond: int = 2, controls: int = 16) -> Chance:
    """So many heads at 0.5 bits, all others and all controls at 0.01, the largest control at 0.03."""
    divergence = np.full((LAYERS, HEADS), 0.01)
    divergence.ravel()[:beyond] = 0.5
    of_chance = np.full((controls, LAYERS, HEADS), 0.01)
    of_chance[0, 0, 0] = 0.03
    return Chance(
        **ABOUT,
        divergence=divergence,
        controls=of_chance,
        share=np.zeros((LAYERS, HEADS)),
        control_shares=np.zeros((controls, LAYERS, HEADS)),
        floor=np.full((LAYERS, HEADS), 1e-7),
    )


def parts(total: float = 2.0, alone: Any = (0.0, 1.5, 0.2, 0.1, 1.0, 0.4, 0.2)) -> Parts:
    """Seven parts with these changes alone, from log p −3."""
    names = ("vision tower", "q and k", "v and o", "MLP", "layers 0–1", "layers 2–2", "layers 3–3")
    return Parts(
        **ABOUT,
        names=names,
        strengths=(0.0, 1.0, 1.5),
        logprobs=np.array([-3.0, -3.0 + total]),
        shares=np.array([0.2, 0.3]),
        part_logprobs=-3.0 + np.array(alone, dtype=float),
        part_shares=np.full(len(names), 0.25),
        strength_logprobs=-3.0 + np.array([0.0, total, 0.9 * total]),
        strength_shares=np.array([0.2, 0.3, 0.32]),
    )
