"""Reduce the rows that capture shows, on the device, to what a record holds; nothing here knows how they are computed.

Each recorder counts what it was shown, and refuses a pass that showed a row twice, or not at all.
"""

from collections.abc import Sequence

import torch

from inference.errors import CaptureError


class TextRecorder:
    """Reduces the language model's rows, on the device, to what a `Recording` holds.

    Rows are the queries at `first_row … last_row` of the sequence, however many passes they arrive in.

    Args:
        layers, heads: of the language model.
        images: slices of each image's tokens in the sequence; the cells of all, in order, are recorded.
        first_row, last_row: positions recorded, inclusive.
        groups: `(last_row + 1,)` int64 on the device, group of each key: 0 the last image … 3 answer, then one
            per other image.
        focus_rows: positions whose per-head maps are averaged.

    The buffers are float32: `by_row` `(rows, layers, cells)`, `group_share` `(rows, layers, heads, groups)` and
    `by_head` `(layers, heads, cells)`.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        images: Sequence[slice],
        first_row: int,
        last_row: int,
        groups: torch.Tensor,
        focus_rows: list[int],
    ) -> None:
        rows, device = last_row - first_row + 1, groups.device
        cells, groups_of = sum(image.stop - image.start for image in images), 3 + len(images)
        self.images, self.first_row, self.last_row, self.focus_rows = images, first_row, last_row, focus_rows
        self.by_row = torch.zeros(rows, layers, cells, device=device)
        self.group_share = torch.zeros(rows, layers, heads, groups_of, device=device)
        self.by_head = torch.zeros(layers, heads, cells, device=device)
        self._heads = heads
        self._group_of = torch.nn.functional.one_hot(groups, groups_of).float()
        self._seen = torch.zeros(layers, rows, dtype=torch.int64)  # heads, counted on the host: no synchronisation

    @staticmethod
    def bytes_of(layers: int, heads: int, images: Sequence[slice], rows: int) -> int:
        """Bytes of the buffers of a recorder of so many rows."""
        cells, groups = sum(int(image.stop - image.start) for image in images), 3 + len(images)
        return 4 * layers * (rows * cells + rows * heads * groups + heads * cells)

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Reduce a tile of one layer."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        own = slice(first - self.first_row, first - self.first_row + weights.shape[1])
        if own.start < 0 or own.stop > len(self.by_row):
            raise CaptureError(f"rows {first} and on were shown; asked are {self.first_row}–{self.last_row}.")
        # (heads, rows, cells)
        on_image = (
            torch.cat([weights[:, :, image] for image in self.images], dim=-1)
            if len(self.images) > 1
            else weights[:, :, self.images[0]]
        )
        self.by_row[own, layer] += on_image.sum(dim=0) / self._heads
        # (heads, rows, keys) · (keys, groups) → (rows, heads, groups)
        self.group_share[own, layer, heads] = torch.matmul(weights, self._group_of[: weights.shape[-1]]).transpose(0, 1)
        for position in self.focus_rows:
            if 0 <= position - first < weights.shape[1]:
                self.by_head[layer, heads] += on_image[:, position - first] / len(self.focus_rows)
        self._seen[layer, own] += weights.shape[0]

    def refocus(self, rows: list[int]) -> None:
        """Average the heads' maps of other rows, once it is known which.

        Args:
            rows: positions; of those that were shown already, only the one that was averaged alone may be among them.
        """
        if rows == self.focus_rows:
            return
        shown = int(self._seen.any(dim=0).sum()) + self.first_row
        kept = [row for row in rows if row < shown]
        if kept and kept != self.focus_rows:
            raise CaptureError(f"rows {kept} were shown; only the heads of {self.focus_rows} were kept of them.")
        if kept:
            self.by_head /= len(rows)  # as `record` divides each
        else:
            self.by_head.zero_()
        self.focus_rows = rows

    def check(self, last_row: int) -> None:
        """Raise CaptureError unless all rows up to `last_row`, and no others, came exactly once in each layer."""
        expected = (torch.arange(self._seen.shape[1]) <= last_row - self.first_row).long() * self._heads
        if not torch.equal(self._seen, expected.expand_as(self._seen)):
            layer, row = (int(index) for index in (self._seen != expected).nonzero()[0])
            times = int(self._seen[layer, row])
            raise CaptureError(
                f"layer {layer} gave {times} heads of row {row + self.first_row}, not each of {self._heads} once."
            )


class WatchedRow:
    """Watches the weights of a pass of one row with gradients.

    Args:
        image: slice of the image tokens in the sequence.
    """

    def __init__(self, image: slice) -> None:
        self._image = image
        self._weights: list[torch.Tensor] = []

    def watch(self, module: torch.nn.Module, weights: torch.Tensor) -> torch.Tensor:
        """Make the weights a part of the graph."""
        watched = weights if weights.requires_grad else weights.detach().requires_grad_()
        self._weights.append(watched)
        return watched

    def products(self, logit: torch.Tensor) -> torch.Tensor:
        """Weight × ∂ logit / ∂ weight of the row, `(layers, heads, image tokens)` float32; no parameter gets one."""
        gradients = torch.autograd.grad(logit, self._weights)
        # each (1, heads, 1, keys)
        pairs = zip(self._weights, gradients, strict=True)
        return torch.stack([(each.detach().float() * by.float())[0, :, -1, self._image] for each, by in pairs])


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
        self._layer = {id(part): layer for layer, module in enumerate(blocks) for part in module.modules()}
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
