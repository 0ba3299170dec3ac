"""Attention weights of the text rows, kept of one replay and forced into another; it knows no variants or outcomes."""

import torch

from inference.errors import CaptureError, InputError
from inference.settings import MIB, environment_variable


class KeptAttention:
    """A recorder that keeps every row of one pass over the text, as it meets the values.

    Args:
        layers, heads: of the language model.
        first_row, keys: position of the pass's first row; how many keys its last row sees.
        dtype, device: the model's; on either path weights meet the values in this dtype, so nothing is lost.

    `weights` is `(layers, heads, rows, keys)`.
    """

    def __init__(
        self, layers: int, heads: int, first_row: int, keys: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.weights = torch.zeros(layers, heads, keys - first_row, keys, dtype=dtype, device=device)
        self.first_row = first_row
        self._seen = [0] * layers

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Keep a tile of one layer."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        start = first - self.first_row
        # (heads, rows, keys): a tile of other rows or keys than announced does not fit, and says so
        self.weights[layer, heads, start : start + weights.shape[1]] = weights
        self._seen[layer] += weights.shape[0] * weights.shape[1]

    def check(self) -> None:
        """Raise CaptureError unless every layer gave every row of every head once."""
        expected = self.weights.shape[1] * self.weights.shape[2]
        if any(count != expected for count in self._seen):
            raise CaptureError(f"the text gave {self._seen} rows per layer; expected {expected} each.")


class ForcedAttention:
    """Forces what was kept of one replay into another of the same rows: of every head, or of chosen ones.

    Args:
        kept: the weights.
        chosen: `(layers, heads)` bool, on the host: whose weights are forced; None is all.

    Every other weight stays what the pass itself computes.
    """

    def __init__(self, kept: KeptAttention, chosen: torch.Tensor | None = None) -> None:
        self._kept = kept
        self._chosen = torch.ones(kept.weights.shape[:2], dtype=torch.bool) if chosen is None else chosen
        if self._chosen.shape != kept.weights.shape[:2]:
            raise CaptureError(
                f"heads to force must be chosen of {tuple(kept.weights.shape[:2])}; got {tuple(self._chosen.shape)}."
            )

    def force(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Overwrite the chosen heads of a tile of one layer."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        own, start = self._chosen[layer, heads], first - self._kept.first_row
        if not own.any():
            return
        other = self._kept.weights[layer, heads, start : start + weights.shape[1]]
        if other.shape != weights.shape:
            raise CaptureError(f"weights of {tuple(other.shape)} were kept; the pass has {tuple(weights.shape)}.")
        if own.all():
            weights.copy_(other)
        else:
            weights[own] = other[own].to(weights.dtype)


def check_room(layers: int, heads: int, rows: int, keys: int, itemsize: int, budget: int) -> None:
    """Refuse before anything runs what would keep more bytes than allowed, of two variants together.

    Args:
        layers, heads: of the language model.
        rows, keys: of the text; of the whole sequence.
        itemsize: bytes per weight.
        budget: bytes.

    Raises:
        InputError: it would.
    """
    needed = 2 * layers * heads * rows * keys * itemsize
    if needed > budget:
        raise InputError(
            f"To force attention, the weights of {rows:,} text rows over {keys:,} tokens are kept of two variants: "
            f"{needed / MIB:,.0f} MiB; {budget / MIB:,.0f} MiB are allowed.",
            "Choose an earlier answer token, a shorter prompt or a smaller image (max_image_tokens); or let the "
            f"operator raise {environment_variable('forced_bytes')}.",
        )
