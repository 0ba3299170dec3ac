"""The optimizer of the training: orthogonalised momentum for matrices, AdamW for everything else.

Muon (Keller Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) makes the update of each weight matrix
nearly orthogonal, so that rare directions are learned as fast as common ones. Here that halves the steps: naming shapes
stands still for hundreds of AdamW steps. PyTorch's own `torch.optim.Muon` computes in bfloat16, which a CPU without
such instructions does very slowly; this one computes in float32.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

#: Learning rate of the matrices as a multiple of AdamW's.
MATRIX_RATE: Final = 20.0

_MOMENTUM: Final = 0.95
_WEIGHT_DECAY: Final = 0.01
_POLYNOMIAL: Final = (3.4445, -4.7750, 2.0315)  # Newton-Schulz coefficients of the Muon article
_ITERATIONS: Final = 5


class Optimizer:
    """Steps all parameters at one learning rate."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Sort parameters into matrices and others.

        Args:
            parameters: names and parameters; those that need no gradient are left alone. Embeddings (by name) are
                tables of vectors, convolutions have more than two dimensions, and the thin factors of LoRA are learned
                in a few steps anyway: all of these go to AdamW.
        """
        learned = [(name, value) for name, value in parameters if value.requires_grad]
        self.parameters = [value for _, value in learned]
        matrices = [
            value for name, value in learned if value.ndim == 2 and "embed" not in name and ".lora_" not in name
        ]
        chosen = {id(value) for value in matrices}
        others = [value for value in self.parameters if id(value) not in chosen]
        self._momenta = [(value, torch.zeros_like(value)) for value in matrices]
        self._adamw = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=_WEIGHT_DECAY) if others else None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Clip the gradient's norm to 1, update every parameter that has a gradient, and forget the gradients."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if self._adamw is not None:
            for group in self._adamw.param_groups:
                group["lr"] = learning_rate
            self._adamw.step()
        rate = MATRIX_RATE * learning_rate
        for value, momentum in self._momenta:
            if value.grad is None:
                continue
            momentum.lerp_(value.grad, 1 - _MOMENTUM)
            update = orthogonalised(value.grad.lerp(momentum, _MOMENTUM))
            value.mul_(1 - rate * _WEIGHT_DECAY)
            value.add_(update, alpha=-rate * math.sqrt(max(1.0, value.shape[0] / value.shape[1])))
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on beside weights and gradients, for `load_state`."""
        adamw = None if self._adamw is None else self._adamw.state_dict()
        return {"momenta": [momentum for _, momentum in self._momenta], "adamw": adamw}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of an optimizer of the same parameters."""
        for (_, momentum), kept in zip(self._momenta, state["momenta"], strict=True):
            momentum.copy_(kept)
        if self._adamw is not None:
            self._adamw.load_state_dict(state["adamw"])


def orthogonalised(matrix: Tensor) -> Tensor:
    """Move every singular value of a matrix to about 1 (0.7 to 1.2) and keep its singular vectors.

    Args:
        matrix: `(rows, columns)`.

    Returns:
        The same shape.
    """
    a, b, c = _POLYNOMIAL
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (torch.linalg.vector_norm(wide) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
