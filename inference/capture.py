"""Read attention where the model computes it, and reduce it there; it knows nothing of prompts or adapters.

Two attention functions are registered with transformers, each together with its mask function (without one the mask
would be None and every row would see the future). Both see query and key after norm and rotary position, as the layer
has them:

- `EAGER`: upstream's own `eager_attention_forward` computes the layer's matrix; its rows are read, then it is dropped.
- `ROWS`: SDPA computes the layer's output; the asked rows are computed beside it in float32, in chunks.

A `Recorder` travels as a keyword argument of `model.forward`, which transformers hands down to the attention function:
there is no hook to remove and no global to reset, whatever is thrown.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from inference.errors import CaptureError

EAGER = "visualizer_eager"
ROWS = "visualizer_rows"


class Recorder(Protocol):
    """Takes the attention of each layer as it is computed."""

    def rows(self, module: torch.nn.Module, queries: int, keys: int) -> slice:
        """Which of this call's queries are wanted; an empty slice for none."""

    def record(self, module: torch.nn.Module, rows: slice, weights: torch.Tensor) -> None:
        """Take `weights` `(heads, queries in rows, keys)`, float32 on the device; it must not be kept."""


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
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Upstream's eager attention; query `(1, heads, queries, head_dim)`, key and value `(1, kv_heads, keys, …)`."""
    upstream: Callable[..., tuple[torch.Tensor, torch.Tensor]] = sys.modules[
        type(module).__module__
    ].eager_attention_forward
    output, weights = upstream(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs)
    if recorder is not None:
        wanted = recorder.rows(module, query.shape[2], key.shape[2])
        if wanted.stop > wanted.start:
            recorder.record(module, wanted, weights[0, :, wanted].float())
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
    chunk_bytes: int = 32 * 2**20,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA for the output; beside it the wanted rows, at most `chunk_bytes` of scores at a time."""
    output, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    if recorder is not None:
        wanted = recorder.rows(module, query.shape[2], key.shape[2])
        causal = kwargs.get("is_causal", getattr(module, "is_causal", True)) is not False
        for rows, weights in attention_rows(query, key, attention_mask, scaling, wanted, causal, chunk_bytes):
            recorder.record(module, rows, weights)
    return output, None


def attention_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    wanted: slice,
    causal: bool,
    chunk_bytes: int,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Compute the attention weights of some queries in chunks: softmax(q kᵀ · scaling + mask) in float32.

    Args:
        query: `(1, heads, queries, head_dim)`, after norm and rotary position.
        key: `(1, kv_heads, keys, head_dim)`; query head h uses key head h // (heads / kv_heads), never expanded.
        attention_mask: what SDPA got: None, bool (True = visible) or additive; `(1, 1, queries, keys)`.
        scaling: factor on the scores.
        wanted: queries to compute.
        causal: without a mask, whether query i sees only keys up to its own position (the queries are the last keys).
        chunk_bytes: most bytes of float32 scores at once (at least one row).

    Yields:
        (rows, weights): a slice of queries and their `(heads, rows, keys)` float32 weights.
    """
    _, heads, queries, _ = query.shape
    _, kv_heads, keys, _ = key.shape
    step = max(1, chunk_bytes // (4 * heads * keys))
    key_rows = key[0].float().transpose(1, 2)
    for start in range(wanted.start, wanted.stop, step):
        rows = slice(start, min(start + step, wanted.stop))
        count = rows.stop - rows.start
        chunk = query[0, :, rows].float().reshape(kv_heads, heads // kv_heads * count, -1)
        scores = torch.matmul(chunk, key_rows).view(heads, count, keys).mul_(scaling)
        if attention_mask is not None:
            visible = attention_mask[0, :, rows, :keys]
            if visible.dtype == torch.bool:
                scores.masked_fill_(~visible, float("-inf"))
            else:
                scores.add_(visible)
        elif causal and queries > 1:
            position = torch.arange(rows.start, rows.stop, device=key.device) + (keys - queries)
            scores.masked_fill_(torch.arange(keys, device=key.device) > position[:, None], float("-inf"))
        yield rows, torch.softmax(scores, dim=-1)


class TextRecorder:
    """Reduces the language model's rows, on the device, to what a `Recording` holds.

    Rows are the queries at `first_row … last_row` of the sequence, however many passes they arrive in.

    Args:
        layers, heads: of the language model.
        image: slice of the image tokens in the sequence.
        first_row, last_row: positions recorded, inclusive.
        groups: `(last_row + 1,)` int64 on the device, group of each key (0 image … 3 answer).
        focus_rows: positions whose per-head maps are averaged.
        on_layer: called before each layer's rows are read; may raise to stop the pass.

    The buffers are float32: `by_row` `(rows, layers, cells)`, `group_share` `(rows, layers, heads, 4)` and `by_head`
    `(layers, heads, cells)`.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        image: slice,
        first_row: int,
        last_row: int,
        groups: torch.Tensor,
        focus_rows: list[int],
        on_layer: Callable[[], None] = lambda: None,
    ) -> None:
        rows, device = last_row - first_row + 1, groups.device
        cells = image.stop - image.start
        self.image, self.first_row, self.last_row, self.focus_rows = image, first_row, last_row, focus_rows
        self.by_row = torch.zeros(rows, layers, cells, device=device)
        self.group_share = torch.zeros(rows, layers, heads, 4, device=device)
        self.by_head = torch.zeros(layers, heads, cells, device=device)
        self._group_of = torch.nn.functional.one_hot(groups, 4).float()
        self._seen = torch.zeros(layers, rows, dtype=torch.int64)  # counted on the host: no synchronisation
        self._on_layer = on_layer
        self._offset = 0

    def rows(self, module: torch.nn.Module, queries: int, keys: int) -> slice:
        """Queries of this pass that are recorded; remembers where the pass stands in the sequence."""
        self._on_layer()
        self._offset = keys - queries
        start = max(self.first_row - self._offset, 0)
        return slice(start, max(start, min(self.last_row + 1 - self._offset, queries)))

    def record(self, module: torch.nn.Module, rows: slice, weights: torch.Tensor) -> None:
        """Reduce `(heads, rows, keys)` of one layer."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        keys = weights.shape[-1]
        first = rows.start + self._offset - self.first_row
        own = slice(first, first + weights.shape[1])
        on_image = weights[:, :, self.image]
        self.by_row[own, layer] = on_image.mean(dim=0)
        self.group_share[own, layer] = torch.matmul(weights, self._group_of[:keys]).transpose(0, 1)
        for position in self.focus_rows:
            index = position - self.first_row - first
            if 0 <= index < weights.shape[1]:
                self.by_head[layer] += on_image[:, index] / len(self.focus_rows)
        self._seen[layer, own] += 1

    def check(self, last_row: int) -> None:
        """Raise CaptureError unless all rows up to `last_row`, and no others, came exactly once in each layer."""
        expected = (torch.arange(self._seen.shape[1]) <= last_row - self.first_row).long().expand_as(self._seen)
        if not torch.equal(self._seen, expected):
            layer, row = (int(each) for each in (self._seen != expected).nonzero()[0])
            times = int(self._seen[layer, row])
            raise CaptureError(f"layer {layer} gave row {row + self.first_row} {times} times instead of once.")


class VisionRecorder:
    """Averages, per layer of the vision tower, the attention each patch receives over heads and queries.

    Args:
        blocks: the tower's attention modules in layer order.
        patches: patches of the image.
        device: where the sums live.

    `received` is `(layers, patches)` float32 in merge-block order.
    """

    def __init__(self, blocks: list[torch.nn.Module], patches: int, device: torch.device) -> None:
        self._layer = {id(module): layer for layer, module in enumerate(blocks)}
        self._patches = patches
        self.received = torch.zeros(len(blocks), patches, device=device)
        self._seen = [0] * len(blocks)

    def rows(self, module: torch.nn.Module, queries: int, keys: int) -> slice:
        """All queries of the image."""
        if queries != self._patches or keys != self._patches:
            raise CaptureError(f"the vision tower attends {queries} × {keys} patches; expected {self._patches}.")
        return slice(0, queries)

    def record(self, module: torch.nn.Module, rows: slice, weights: torch.Tensor) -> None:
        """Add `(heads, rows, patches)` of one layer."""
        layer = self._layer[id(module)]
        self.received[layer] += weights.sum(dim=(0, 1)) / (weights.shape[0] * self._patches)
        self._seen[layer] += weights.shape[1]

    def check(self) -> None:
        """Raise CaptureError unless every layer gave every query once."""
        if any(count != self._patches for count in self._seen):
            raise CaptureError(f"the vision tower gave {self._seen} queries per layer; expected {self._patches} each.")
