"""Read and force attention where the model computes it; it knows nothing of prompts or adapters.

Two attention functions are registered with transformers, each together with its mask function (without one the mask
would be None and every row would see the future). Both see query and key after norm and rotary position, as the layer
has them:

- `EAGER`: upstream's own `eager_attention_forward` computes the layer's matrix; its rows are read, then it is dropped.
- `ROWS`: a pass that is recorded or forced computes its weights in float32, tile by tile, and the layer's output from
  the same tiles: nothing is computed twice and no full matrix exists. Any other pass is plain SDPA.

A forbidding closes keys to rows before the softmax; a forcing overwrites weights before they meet the values; a
recorder is shown what meets them. All take every row of their pass, so what is not asked (the image's own rows) is read
in a pass without them. They travel as keyword arguments
of `model.forward`, which transformers hands down to the attention function: there is no hook to remove and no global to
reset, whatever is thrown.
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

EAGER = "visualizer_eager"
ROWS = "visualizer_rows"


class Recorder(Protocol):
    """Takes the attention of each layer as it is computed."""

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Take a tile of a layer: `weights` `(heads, rows, keys)`, float32 on the device; it must not be kept.

        Args:
            module: the attention module.
            heads: the tile's query heads.
            first: position of the tile's first row in the sequence; the pass's queries are the last of the keys.
            weights: after softmax.
        """


class Forbidding(Protocol):
    """Closes keys to rows of a layer, before the softmax: what they would have got goes to the others."""

    def closed(self, module: torch.nn.Module, first: int, rows: int, keys: int) -> torch.Tensor | None:
        """Which keys the layer's rows may not see: `(rows, keys)` bool on the device; None closes nothing.

        Args:
            module: the attention module.
            first: position of the pass's first row in the sequence.
            rows, keys: of the pass.
        """


class Watching(Protocol):
    """Sees the weights of each layer as a part of the graph of a pass with gradients; on the eager path only."""

    def watch(self, module: torch.nn.Module, weights: torch.Tensor) -> torch.Tensor:
        """Return the weights `(1, heads, queries, keys)` that meet the values, which may be what was given."""


class Forcing(Protocol):
    """Gives the attention of each layer other weights, before they meet the values."""

    def force(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Overwrite what is to be forced of a tile of a layer: `weights` as `Recorder.record` is shown them.

        On the eager path they have the model's dtype, on the other float32; both meet the values in the model's.
        """


def register_attention() -> None:
    """Register both attention functions with their mask functions; doing it again changes nothing."""
    AttentionInterface.register(EAGER, _eager_attention)
    AttentionMaskInterface.register(EAGER, eager_mask)
    AttentionInterface.register(ROWS, _rows_attention)
    AttentionMaskInterface.register(ROWS, sdpa_mask)


def _eager_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    recorder: Recorder | None = None,
    forcing: Forcing | None = None,
    forbidding: Forbidding | None = None,
    watching: Watching | None = None,
    on_layer: Callable[[], None] = lambda: None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Upstream's eager attention; query `(1, heads, queries, head_dim)`, key and value `(1, kv_heads, keys, …)`."""
    on_layer()
    attention_mask = _with_closed(forbidding, module, query, key, attention_mask)
    upstream: Any = sys.modules[type(module).__module__]
    output, weights = upstream.eager_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
    )
    heads, first = slice(0, query.shape[1]), key.shape[2] - query.shape[2]
    if forcing is not None:
        forcing.force(module, heads, first, weights[0])
    if watching is not None:
        weights = watching.watch(module, weights)
    if forcing is not None or watching is not None:
        # the last line of upstream's function, once more: (1, heads, queries, …) → (1, queries, heads, …)
        values = upstream.repeat_kv(value, query.shape[1] // value.shape[1])
        output = torch.matmul(weights, values).transpose(1, 2).contiguous()
    if recorder is not None:
        recorder.record(module, heads, first, weights[0].float())
    return output, None


def _rows_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    recorder: Recorder | None = None,
    forcing: Forcing | None = None,
    forbidding: Forbidding | None = None,
    on_layer: Callable[[], None] = lambda: None,
    tile_bytes: int = 0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Plain SDPA for a pass that nobody looks at or changes; else weights and output tile by tile."""
    on_layer()
    if recorder is None and forcing is None and forbidding is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    causal = kwargs.get("is_causal", getattr(module, "is_causal", True)) is not False
    if forbidding is not None and attention_mask is None and causal:
        attention_mask = _causal_mask(query, key)
    attention_mask = _with_closed(forbidding, module, query, key, attention_mask)

    def show(heads: slice, first: int, weights: torch.Tensor) -> None:
        if forcing is not None:
            forcing.force(module, heads, first, weights)
        if recorder is not None:
            recorder.record(module, heads, first, weights)

    return tiled_attention(query, key, value, attention_mask, scaling, causal, tile_bytes, show), None


def _with_closed(
    forbidding: Forbidding | None,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    attention_mask: torch.Tensor | None,
) -> torch.Tensor | None:
    """The mask of a layer, `(1, 1, queries, keys)`, bool or additive as it came, with what is forbidden in it."""
    if forbidding is None:
        return attention_mask
    queries, keys = query.shape[2], key.shape[2]
    closed = forbidding.closed(module, keys - queries, queries, keys)
    if closed is None:
        return attention_mask
    if attention_mask is None:
        return query.new_zeros(1, 1, queries, keys).masked_fill_(closed, float("-inf"))
    mask = attention_mask[..., :keys]
    return mask & ~closed if mask.dtype == torch.bool else mask.masked_fill(closed, float("-inf"))


def _causal_mask(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """What a query sees where there is no mask: keys up to its own position; `(1, 1, queries, keys)` bool."""
    queries, keys = query.shape[2], key.shape[2]
    return torch.ones(queries, keys, dtype=torch.bool, device=key.device).tril(keys - queries)[None, None]


def tiled_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    causal: bool,
    tile_bytes: int,
    show: Callable[[slice, int, torch.Tensor], None],
) -> torch.Tensor:
    """Attention whose weights are shown tile by tile: softmax(q kᵀ · scaling + mask) in float32, then times value.

    Args:
        query: `(1, heads, queries, head_dim)`, after norm and rotary position; the queries are the last of the keys.
        key, value: `(1, kv_heads, keys, …)`; query head h uses key head h // (heads / kv_heads), never expanded.
        attention_mask: what SDPA got: None, bool (True = visible) or additive; `(1, 1, queries, keys)`.
        scaling: factor on the scores.
        causal: without a mask, whether a query sees only keys up to its own position.
        tile_bytes: most bytes of float32 scores at once (at least one row of the heads that share a key head).
        show: told each tile before it meets the values: its query heads, the position of its first row, its weights
            `(heads, rows, keys)`, which may be overwritten.

    Returns:
        `(1, queries, heads, head_dim)` in the dtype of `value`, as SDPA gives it.
    """
    _, heads, queries, dim = query.shape
    _, kv_heads, keys, _ = key.shape
    group = heads // kv_heads
    rows_at_once = min(queries, max(1, tile_bytes // (4 * keys * group)))
    kv_at_once = max(1, tile_bytes // (4 * keys * group * rows_at_once))
    output = value.new_empty(1, queries, heads, value.shape[-1])
    # both made once: on a CPU, fresh pages for every tile would cost more than its numbers
    tile = query.new_empty(2, min(kv_at_once, kv_heads) * group * rows_at_once * keys, dtype=torch.float32)
    for kv in range(0, kv_heads, kv_at_once):
        # (kv heads, dim, keys) and (kv heads, keys, value_dim)
        key_rows, values = key[0, kv : kv + kv_at_once].float().transpose(1, 2), value[0, kv : kv + kv_at_once]
        own = slice(kv * group, kv * group + len(values) * group)
        for start in range(0, queries, rows_at_once):
            rows = slice(start, min(start + rows_at_once, queries))
            # (heads, rows, dim) → (kv heads, group · rows, dim): the heads that share a key head as rows of one product
            asked = (query[0, own, rows].float() * scaling).reshape(len(values), -1, dim)
            # two buffers of (kv heads, group · rows, keys)
            scores, weights = tile[:, : asked.shape[0] * asked.shape[1] * keys].unflatten(1, (*asked.shape[:2], keys))
            # (kv heads, group · rows, keys) → (heads, rows, keys)
            scores = torch.matmul(asked, key_rows, out=scores).view(len(values) * group, -1, keys)
            if attention_mask is not None:
                visible = attention_mask[0, :, rows, :keys]
                if visible.dtype == torch.bool:
                    scores.masked_fill_(~visible, float("-inf"))
                else:
                    scores.add_(visible)
            elif causal and queries > 1:
                position = torch.arange(rows.start, rows.stop, device=key.device) + (keys - queries)
                scores.masked_fill_(torch.arange(keys, device=key.device) > position[:, None], float("-inf"))
            weights = torch.softmax(scores, dim=-1, out=weights.view(scores.shape))
            show(own, keys - queries + start, weights)
            # (heads, rows, keys) → (kv heads, group · rows, keys), times (kv heads, keys, value_dim)
            mixed = torch.matmul(weights.view(len(values), -1, keys).to(values.dtype), values)
            # (kv heads, group · rows, value_dim) → (heads, rows, value_dim) → (rows, heads, value_dim)
            output[0, rows, own] = mixed.view(len(values) * group, -1, value.shape[-1]).transpose(0, 1)
    return output
