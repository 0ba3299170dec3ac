"""Beside attention: a general prompt's row, gradients of the shown rows, and what the image's cells themselves say."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.model.cache import PrefixCache
from inference.model.context import RequestContext
from inference.model.measured_row import MeasuredRow
from inference.model.passes import Passes
from inference.model.prompt import Prompt
from inference.recording import FloatArray, Token

_Values = NDArray[np.float64]


class ExtraViews:
    """Records them of one variant, on what it read of the image; nothing of it is changed.

    Args:
        context: the request with its input.
        prefix: what the variant read of the image, and nothing after it.
        positions: of the whole sequence.
        passes: run the model, with the variant's adapter on.
    """

    def __init__(self, context: RequestContext, prefix: PrefixCache, positions: torch.Tensor, passes: Passes) -> None:
        self._context, self._prompt = context, context.prompt
        self._prefix, self._positions, self._passes = prefix, positions, passes

    def general(self, prompt: Prompt) -> FloatArray:
        """Where the last row of a general prompt about the same image looks: `(layers, heads, grid_h, grid_w)`."""
        info = self._passes.checkpoint.info
        image = slice(prompt.image_start, prompt.image_end)
        row = MeasuredRow(info.num_layers, info.num_heads, image, prompt.length - 1, self._positions.device)
        positions = self._passes.positions(prompt, prompt.length)
        self._passes.text(prompt, self._prefix, positions, (), self._context.stages.check, recorder=row)
        return row.maps(prompt.grid)

    def gradient(self, tokens: tuple[Token, ...], answer: tuple[int, ...]) -> FloatArray:
        """The positive part of weight × gradient, mean over the focus tokens: `(layers, heads, grid_h, grid_w)`."""
        prompt = self._prompt
        text = (*prompt.input_ids[prompt.image_end :].tolist(), *answer)
        found = []
        for index in self._context.focus(tokens):
            if tokens[index].role not in ("answer", "end"):
                raise SelectionError(
                    "The gradient view is of the answer's tokens; a word of the prompt was asked for.",
                    "Choose a token of the answer, or another view.",
                )
            ids = text[: tokens[index].query - prompt.image_end + 1]
            products = self._passes.row_gradient(
                prompt, self._prefix, self._positions, ids, tokens[index].id, self._context.stages.check
            )
            found.append(products.clamp(min=0))
        mean: FloatArray = torch.stack(found).mean(dim=0).unflatten(-1, prompt.grid).cpu().numpy()
        return mean

    def named(self, tokens: tuple[Token, ...], answer: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """What the cells say of the focus tokens, without and with what earlier words say there taken off.

        Of a token with id c, a cell says max(0, logit of c at its last hidden state). Earlier words interfere: their
        own maps, each weighted by max(0, logit of c at its row), summed and scaled to fit the token's map best (least
        squares), are taken off, and the positive part stays. Words of the same text do not count.

        Returns:
            Two `(grid_h, grid_w)`, mean over the focus tokens.
        """
        context, prompt = self._context, self._prompt
        logits = self._passes.text_logits(prompt, self._prefix, self._positions, answer[:-1], context.stages.check)
        maps = self._passes.named(self._prefix, [token.id for token in tokens]).clamp(min=0).double().cpu().numpy()
        rows = [token.query - prompt.image_end for token in tokens]
        plain, alone = [], []
        for index in context.focus(tokens):
            relevance = logits[rows[:index], tokens[index].id].clamp(min=0).double().cpu().numpy()
            earlier = [at for at in range(index) if tokens[at].text != tokens[index].text]
            plain.append(maps[index])
            alone.append(without_context(maps[index], maps[earlier], relevance[earlier]))
        shape = prompt.grid
        return (
            np.mean(plain, axis=0).reshape(shape).astype(np.float32),
            np.mean(alone, axis=0).reshape(shape).astype(np.float32),
        )


def without_context(
    own: NDArray[np.float64], earlier: NDArray[np.float64], relevance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A token's map less what earlier words say there: TAM's estimated causal inference.

    Args:
        own: `(cells,)`, of the token, ≥ 0.
        earlier: `(words, cells)`, of the words before it.
        relevance: `(words,)`, how much each speaks for the token, ≥ 0.
    """
    total = relevance.sum()
    if total <= 0:
        return own
    interference = relevance @ earlier / total
    size = float(interference @ interference)
    scale = float(own @ interference) / size if size > 0 else 0.0
    alone: _Values = np.maximum(own - scale * interference, 0)
    return alone
