"""Read attention where the model computes it, and reduce it there; it knows nothing of prompts or adapters.

Two attention functions are registered with transformers, each together with its mask function (without one the mask
would be None and every row would see the future). Both see query and key after norm and rotary position, as the layer
has them:

- `EAGER`: upstream's own `eager_attention_forward` computes the layer's matrix; its rows are read, then it is dropped.
- `ROWS`: a pass that is recorded computes its weights in float32, tile by tile, and the layer's output from the same
  tiles: nothing is computed twice and no full matrix exists. A pass that is not recorded is plain SDPA.

A recorder takes every row of its pass, so what is not asked (the image's own rows) is read in a pass without one. It
travels as a keyword argument of `model.forward`, which transformers hands down to the attention function: there is no
hook to remove and no global to reset, whatever is thrown.
"""

import sys
from collections.abc import Callable
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

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Take a tile of a layer: `weights` `(heads, rows, keys)`, float32 on the device; it must not be kept.

        Args:
            module: the attention module.
            heads: the tile's query heads.
            first: position of the tile's first row in the sequence; the pass's queries are the last of the keys.
            weights: after softmax.
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
    on_layer: Callable[[], None] = lambda: None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Upstream's eager attention; query `(1, heads, queries, head_dim)`, key and value `(1, kv_heads, keys, …)`."""
    on_layer()
    upstream: Callable[..., tuple[torch.Tensor, torch.Tensor]] = sys.modules[
        type(module).__module__
    ].eager_attention_forward
    output, weights = upstream(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs)
    if recorder is not None:
        recorder.record(module, slice(0, query.shape[1]), key.shape[2] - query.shape[2], weights[0].float())
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
    on_layer: Callable[[], None] = lambda: None,
    tile_bytes: int = 0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Plain SDPA for a pass without a recorder; else weights and output tile by tile."""
    on_layer()
    if recorder is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    causal = kwargs.get("is_causal", getattr(module, "is_causal", True)) is not False

    def record(heads: slice, first: int, weights: torch.Tensor) -> None:
        recorder.record(module, heads, first, weights)

    return tiled_attention(query, key, value, attention_mask, scaling, causal, tile_bytes, record), None


def tiled_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    causal: bool,
    tile_bytes: int,
    record: Callable[[slice, int, torch.Tensor], None],
) -> torch.Tensor:
    """Attention whose weights are shown tile by tile: softmax(q kᵀ · scaling + mask) in float32, then times value.

    Args:
        query: `(1, heads, queries, head_dim)`, after norm and rotary position; the queries are the last of the keys.
        key, value: `(1, kv_heads, keys, …)`; query head h uses key head h // (heads / kv_heads), never expanded.
        attention_mask: what SDPA got: None, bool (True = visible) or additive; `(1, 1, queries, keys)`.
        scaling: factor on the scores.
        causal: without a mask, whether a query sees only keys up to its own position.
        tile_bytes: most bytes of float32 scores at once (at least one row of the heads that share a key head).
        record: told each tile: its query heads, the position of its first row, its weights `(heads, rows, keys)`.

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
        key_rows, values = key[0, kv : kv + kv_at_once].float().transpose(1, 2), value[0, kv : kv + kv_at_once]
        own = slice(kv * group, kv * group + len(values) * group)
        for start in range(0, queries, rows_at_once):
            rows = slice(start, min(start + rows_at_once, queries))
            asked = (query[0, own, rows].float() * scaling).reshape(len(values), -1, dim)
            scores, weights = tile[:, : asked.shape[0] * asked.shape[1] * keys].unflatten(1, (*asked.shape[:2], keys))
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
            record(own, keys - queries + start, weights)
            mixed = torch.matmul(weights.view(len(values), -1, keys).to(values.dtype), values)
            output[0, rows, own] = mixed.view(len(values) * group, -1, value.shape[-1]).transpose(0, 1)
    return output


class TextRecorder:
    """Reduces the language model's rows, on the device, to what a `Recording` holds.

    Rows are the queries at `first_row … last_row` of the sequence, however many passes they arrive in.

    Args:
        layers, heads: of the language model.
        image: slice of the image tokens in the sequence.
        first_row, last_row: positions recorded, inclusive.
        groups: `(last_row + 1,)` int64 on the device, group of each key (0 image … 3 answer).
        focus_rows: positions whose per-head maps are averaged.

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
    ) -> None:
        rows, device = last_row - first_row + 1, groups.device
        cells = image.stop - image.start
        self.image, self.first_row, self.last_row, self.focus_rows = image, first_row, last_row, focus_rows
        self.by_row = torch.zeros(rows, layers, cells, device=device)
        self.group_share = torch.zeros(rows, layers, heads, 4, device=device)
        self.by_head = torch.zeros(layers, heads, cells, device=device)
        self._heads = heads
        self._group_of = torch.nn.functional.one_hot(groups, 4).float()
        self._seen = torch.zeros(layers, rows, dtype=torch.int64)  # heads, counted on the host: no synchronisation

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Reduce a tile of one layer."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        own = slice(first - self.first_row, first - self.first_row + weights.shape[1])
        if own.start < 0 or own.stop > len(self.by_row):
            raise CaptureError(f"rows {first} and on were shown; asked are {self.first_row}–{self.last_row}.")
        on_image = weights[:, :, self.image]
        self.by_row[own, layer] += on_image.sum(dim=0) / self._heads
        self.group_share[own, layer, heads] = torch.matmul(weights, self._group_of[: weights.shape[-1]]).transpose(0, 1)
        for position in self.focus_rows:
            if 0 <= position - first < weights.shape[1]:
                self.by_head[layer, heads] += on_image[:, position - first] / len(self.focus_rows)
        self._seen[layer, own] += weights.shape[0]

    def check(self, last_row: int) -> None:
        """Raise CaptureError unless all rows up to `last_row`, and no others, came exactly once in each layer."""
        expected = (torch.arange(self._seen.shape[1]) <= last_row - self.first_row).long() * self._heads
        if not torch.equal(self._seen, expected.expand_as(self._seen)):
            layer, row = (int(each) for each in (self._seen != expected).nonzero()[0])
            times = int(self._seen[layer, row])
            raise CaptureError(
                f"layer {layer} gave {times} heads of row {row + self.first_row}, not each of {self._heads} once."
            )


class VisionRecorder:
    """Averages, per layer of the vision tower, the attention each patch receives over heads and queries.

    Args:
        blocks: the tower's attention modules in layer order.
        heads, patches: of the tower, of the image.
        device: where the sums live.

    `received` is `(layers, patches)` float32 in merge-block order.
    """

    def __init__(self, blocks: list[torch.nn.Module], heads: int, patches: int, device: torch.device) -> None:
        # with what is inside them: an adapter may have put a replacement there
        self._layer = {id(each): layer for layer, module in enumerate(blocks) for each in module.modules()}
        self._rows, self._patches = heads * patches, patches
        self.received = torch.zeros(len(blocks), patches, device=device)
        self._seen = [0] * len(blocks)

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Add a tile of one layer."""
        if weights.shape[-1] != self._patches:
            raise CaptureError(f"the vision tower attends {weights.shape[-1]} patches; expected {self._patches}.")
        layer = self._layer[id(module)]
        self.received[layer] += weights.sum(dim=(0, 1)) / self._rows
        self._seen[layer] += weights.shape[0] * weights.shape[1]

    def check(self) -> None:
        """Raise CaptureError unless every layer gave every query of every head once."""
        if any(count != self._rows for count in self._seen):
            raise CaptureError(f"the vision tower gave {self._seen} rows per layer; expected {self._rows} each.")
