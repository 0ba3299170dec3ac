"""Upstream's eager attention with weights replaced in a copied function: the second route to every forced replay.

Each variant is a model of its own, as PEFT's documentation loads it; nothing here knows the engine's passes or capture.
"""

import copy
import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from inference.model.prompt import Prompt
from tests import upstream


class Mediated:
    """Variants of a checkpoint on one prompt, their views of the image and their own attention of the text."""

    def __init__(
        self, checkpoint: Path, adapters: Sequence[Path | None], prompt: Prompt, answer: tuple[int, ...], index: int
    ) -> None:
        self.models = [_model(checkpoint, folder) for folder in adapters]
        self._whole = upstream.inputs(prompt, answer[:index])
        self._end, self._target = prompt.image_end, answer[index]
        self._prefixes = [self._prefix(model) for model in self.models]
        self.own: list[dict[int, torch.Tensor]] = [{}, {}]
        self.natural = [self.logits(v, v, None, keep=self.own[v]) for v in (0, 1)]

    def logprob(self, logits: torch.Tensor) -> float:
        return float(torch.log_softmax(logits.double(), dim=-1)[self._target])

    def margin(self, logits: torch.Tensor) -> float:
        first, second = (int(each.argmax()) for each in self.natural)
        return float(logits[second] - logits[first])

    def eight(self, outcome) -> np.ndarray:
        """Every combination, also the natural ones, by force: `(2, 2, 2)`."""
        values = np.zeros((2, 2, 2))
        for seeing, looking, saying in product((0, 1), repeat=3):
            values[seeing, looking, saying] = outcome(self.logits(seeing, saying, self.own[looking]))
        return values

    def part(self, into: int, layer: int, heads: Sequence[int], outcome) -> float:
        """Change of a variant's outcome with the other's attention in some heads of one layer."""
        weights = {layer: (list(heads), self.own[1 - into][layer])}
        return outcome(self.logits(into, into, weights)) - outcome(self.natural[into])

    @torch.no_grad()
    def _prefix(self, model: torch.nn.Module) -> DynamicCache:
        cache = DynamicCache(config=model.config.text_config)
        photo = {name: self._whole[name] for name in ("pixel_values", "image_grid_thw")}
        model(
            input_ids=self._whole["input_ids"][:, : self._end],
            position_ids=self._positions(model)[:, :, : self._end],
            past_key_values=cache,
            use_cache=True,
            **photo,
        )
        return cache

    def _positions(self, model: torch.nn.Module) -> torch.Tensor:
        whole = self._whole
        positions, _ = model.model.get_rope_index(
            whole["input_ids"], whole["mm_token_type_ids"], whole["image_grid_thw"]
        )
        return positions

    @torch.no_grad()
    def logits(self, seeing: int, saying: int, weights, keep: dict[int, torch.Tensor] | None = None) -> torch.Tensor:
        """Logits of the last row; `weights` by layer, of all heads or (heads, weights), replace the model's own."""
        model = self.models[saying]

        def eager_attention_forward(
            module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs
        ):  # as upstream's, but for the marked line
            key_states = key.repeat_interleave(module.num_key_value_groups, dim=1)
            value_states = value.repeat_interleave(module.num_key_value_groups, dim=1)
            scores = torch.matmul(query, key_states.transpose(2, 3)) * scaling
            if attention_mask is not None:
                scores = scores + attention_mask
            attention = torch.nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
            attention = self._replaced(attention, weights, keep, module.layer_idx)  # this one
            return torch.matmul(attention, value_states).transpose(1, 2).contiguous(), attention

        modeling = sys.modules[type(model).__module__]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(modeling, "eager_attention_forward", eager_attention_forward)
            output = model(
                input_ids=self._whole["input_ids"][:, self._end :],
                position_ids=self._positions(model)[:, :, self._end :],
                past_key_values=copy.deepcopy(self._prefixes[seeing]),
                use_cache=True,
            )
        return output.logits[0, -1].float()

    @staticmethod
    def _replaced(attention, weights, keep, layer):
        if keep is not None:
            keep[layer] = attention.clone()
        if weights is None or layer not in weights:
            return attention
        given = weights[layer]
        if not isinstance(given, tuple):
            return given
        heads, other = given
        mixed = attention.clone()
        mixed[:, heads] = other[:, heads]
        return mixed


@lru_cache(maxsize=8)
def _model(checkpoint: Path, adapter: Path | None) -> torch.nn.Module:
    """A variant; what runs it changes nothing of it, so that several may have it."""
    if adapter is None:
        return upstream.load(checkpoint)
    return upstream.load_with_adapter(checkpoint, adapter, torch.float32)


def shapley(outcomes: np.ndarray) -> list[float]:
    """Shapley's own definition: a factor's effect, averaged over every order in which the three may be swapped."""
    values = [0.0, 0.0, 0.0]
    for order in permutations(range(3)):
        at = [0, 0, 0]
        for factor in order:
            before = outcomes[tuple(at)]
            at[factor] = 1
            values[factor] += (outcomes[tuple(at)] - before) / 6
    return values
