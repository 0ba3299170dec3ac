"""A recorder of one row: where each head of each layer looks on the image at the measured row."""

import numpy as np
import torch
from numpy.typing import NDArray

from inference.errors import CaptureError


class MeasuredRow:
    """Keeps the last row's weights on the image's cells, per layer and head.

    Args:
        layers, heads: of the language model.
        image: positions of the image's tokens.
        row: position of the row.
        device: of the model.

    `weights` is `(layers, heads, cells)` float32: shares of the row's attention.
    """

    def __init__(self, layers: int, heads: int, image: slice, row: int, device: torch.device) -> None:
        self.weights = torch.full((layers, heads, image.stop - image.start), float("nan"), device=device)
        self._image, self._row = image, row

    def record(self, module: torch.nn.Module, heads: slice, first: int, weights: torch.Tensor) -> None:
        """Keep the row where the tile has it."""
        if first <= self._row < first + weights.shape[1]:
            self.weights[int(module.layer_idx), heads] = weights[:, self._row - first, self._image].float()  # type: ignore[arg-type]

    def maps(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """The row as `(layers, heads, grid_h, grid_w)`.

        Raises:
            CaptureError: a head that was not recorded, or a weight that is not finite.
        """
        found: NDArray[np.float32] = self.weights.unflatten(-1, grid).cpu().numpy()
        if not np.isfinite(found).all():
            raise CaptureError("the measured row has weights that are not finite, or heads that gave none.")
        return found
