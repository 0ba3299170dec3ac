"""Explanations that play a script: real records with made-up numbers that differ by variant, token, layer and head."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inference.descriptions import ModelInfo
from inference.errors import SelectionError
from inference.explanations import Attribution, Chance, Explanation, Knockout, Parts
from inference.questions import (
    AttributionOptions,
    ChanceOptions,
    KnockoutOptions,
    PartsOptions,
    Question,
)
from inference.recording import Token
from inference.request import Request

NAMES = ("vision tower", "q and k", "v and o", "MLP", "layers 0–1", "layers 2–3", "layers 4–5")
#: Seconds of an explanation's replays, each: what a price may be held against.
PACE = 0.05


def explanation(
    request: Request,
    question: Question[Explanation],
    model: ModelInfo,
    tokens: tuple[Token, ...],
    grid: tuple[int, int],
) -> Explanation:
    """The script's answer: `silent` changes nothing, any other adapter does.

    Raises:
        SelectionError: what an engine would refuse, too.
    """
    question.check(model)
    answer = [index for index, token in enumerate(tokens) if token.role in ("answer", "end")]
    token = answer[0] if question.token is None else question.token
    if token not in answer:
        raise SelectionError(
            f"Token {token} cannot be measured: the answer's tokens are {answer[0]}–{answer[-1]}.",
            "Leave it out for the first one.",
        )
    if request.answer_from == "own" and request.answer is None:
        raise SelectionError(
            "An attribution replays one answer through both variants; each its own was asked for.",
            "Choose whose in answer_from, or give an answer.",
        )
    if not isinstance(question, KnockoutOptions) and len(request.adapters) != 2:
        raise SelectionError(f"This is asked of two variants; {len(request.adapters)} were asked for.")
    replays = question.replays(model, len(request.adapters))
    about = {
        "model": model,
        "variants": request.adapters,
        "tokens": tokens[: token + 1],
        "replays": replays,
        "timings": {"replays": PACE * replays, "total": PACE * replays + 0.1},
    }
    moves = 0.0 if request.adapters[-1] == "silent" else 1.0
    seed = 100 * token + sum(map(ord, "".join(name or "base" for name in request.adapters)))
    rng = np.random.default_rng(seed)
    if isinstance(question, AttributionOptions):
        return _attribution(question, rng, moves, about)
    if isinstance(question, KnockoutOptions):
        return _knockout(question, rng, grid, about)
    if isinstance(question, ChanceOptions):
        return _chance(question, rng, moves, about, request.adapters[-1])
    assert isinstance(question, PartsOptions)
    return _parts(question, rng, moves, about)


def _attribution(question: AttributionOptions, rng: np.random.Generator, moves: float, about: Any) -> Attribution:
    says = ("red", "red") if not moves else ("red", "blue")
    if question.outcome == "margin" and says[0] == says[1]:
        raise SelectionError(
            "Both variants would say 'red' at this token: there is no margin between what they would say.",
            "Measure another token, or the log probability of this one.",
        )
    model: ModelInfo = about["model"]
    seeing, looking, saying = moves * np.array([0.2, 1.7, 0.4]) * rng.uniform(0.8, 1.2)
    outcomes = np.empty((2, 2, 2))
    for place in np.ndindex(2, 2, 2):
        outcomes[place] = -3.0 + np.dot(place, (seeing, looking, saying)) + 0.1 * moves * place[0] * place[1]
    by_head = np.abs(rng.normal(0, 0.02, (model.num_layers, model.num_heads))) * moves
    by_head[0, 1], by_head[model.num_layers - 1, 0] = 0.5 * looking, 0.35 * looking
    by_layer = by_head.sum(axis=1)
    heads = np.full_like(by_head, np.nan)
    asked = list(range(model.num_layers) if question.layers is None else question.layers)
    heads[asked] = by_head[asked]
    return Attribution(
        **about,
        outcome=question.outcome,
        says=says,
        outcomes=outcomes,
        by_layer=None if question.by is None else by_layer,
        by_layer_reverse=None if question.by is None else -by_layer,
        by_head=heads if question.by == "head" else None,
        by_head_reverse=-heads if question.by == "head" else None,
    )


def _knockout(question: KnockoutOptions, rng: np.random.Generator, grid: tuple[int, int], about: Any) -> Knockout:
    variants, size = len(about["variants"]), grid[0] * grid[1]
    if question.cells and question.cells[-1] >= size:
        raise SelectionError(f"Cell {question.cells[-1]} does not exist: the image has cells 0–{size - 1}.")
    cells: NDArray[np.bool_] = np.zeros(size, dtype=bool)
    cells[list(question.cells)] = True
    others = np.zeros((question.controls, size), dtype=bool)
    for other in others:
        other[rng.choice(size, len(question.cells), replace=False)] = True
    changes = np.array([0.003, -4.2][:variants]) if variants > 1 else np.array([-1.5])
    return Knockout(
        **about,
        grid=grid,
        rows=question.rows,
        layers=question.layers,
        cells=cells.reshape(grid),
        logprobs=-rng.uniform(0.5, 2.0, variants),
        changes=changes,
        control_cells=others.reshape(-1, *grid),
        control_changes=rng.normal(0, 0.2, (question.controls, variants)),
        shape=question.shape,
    )


def _chance(question: ChanceOptions, rng: np.random.Generator, moves: float, about: Any, adapter: str | None) -> Chance:
    if adapter is None:
        raise SelectionError("Base has no random controls: it is no adapter.", "Ask of an adapter.")
    model: ModelInfo = about["model"]
    shape = model.num_layers, model.num_heads
    controls = rng.uniform(0, 0.03, (question.controls, *shape))
    divergence = rng.uniform(0, 0.02, shape)
    divergence[0, 1], divergence[-1, 2] = np.array([0.7, 0.4]) * moves
    return Chance(
        **about,
        divergence=divergence,
        controls=controls,
        share=rng.normal(0, 0.1, shape),
        control_shares=rng.normal(0, 0.01, (question.controls, *shape)),
        floor=rng.uniform(0, 1e-7, shape),
        seed=question.seed,
    )


def _parts(question: PartsOptions, rng: np.random.Generator, moves: float, about: Any) -> Parts:
    logprobs = np.array([-3.0, -3.0 + 2.3 * moves])
    parts = -3.0 + moves * np.array([0.0, 1.9, 0.3, 0.2, 1.1, 0.5, 0.4]) * rng.uniform(0.9, 1.1)
    strengths = np.array(question.strengths)
    return Parts(
        **about,
        names=NAMES,
        strengths=question.strengths,
        logprobs=logprobs,
        shares=np.array([0.2, 0.2 + 0.1 * moves]),
        part_logprobs=parts,
        part_shares=0.2 + 0.02 * moves * np.arange(len(NAMES)),
        strength_logprobs=-3.0 + moves * 2.3 * np.sin(np.minimum(strengths, 1.5) * 1.4) / np.sin(1.4),
        strength_shares=cast("NDArray[np.float64]", 0.2 + 0.1 * moves * strengths),
    )
