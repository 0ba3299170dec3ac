"""Random adapters of equal size: an adapter's own places and singular values, in directions of chance.

Each weight change ΔW = s·B·A is written with thin QR as s·(Q_b R_b)(Q_a R_a)ᵀ, and Q_b and Q_a are replaced by
orthonormal bases of random matrices. R_b R_aᵀ and with it every singular value stays; where it reads and writes is
chance.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora import LoraLayer


@contextlib.contextmanager
def randomised(model: torch.nn.Module, peft_id: str, seed: int) -> Iterator[None]:
    """Put a control in the place of an adapter's weights; afterwards they are as before, bit for bit.

    Args:
        model: holds PEFT's layers.
        peft_id: the adapter's.
        seed: equal seeds give equal controls.
    """
    generator = torch.Generator().manual_seed(seed)
    with contextlib.ExitStack() as undo, torch.no_grad():
        for down, up in _pairs(model, peft_id):
            for parameter, values in zip((down, up), _random_directions(down, up, generator), strict=True):
                undo.callback(_put, parameter, parameter.detach().clone())
                _put(parameter, values)
        yield


def _pairs(model: torch.nn.Module, peft_id: str) -> Iterator[tuple[Any, Any]]:
    """A and B of every place, in the model's order; as PEFT has them for linear, convolution and embedding layers."""
    for layer in model.modules():
        if not isinstance(layer, LoraLayer):
            continue
        if peft_id in layer.lora_A:
            yield layer.lora_A[peft_id].weight, layer.lora_B[peft_id].weight
        elif peft_id in layer.lora_embedding_A:
            yield layer.lora_embedding_A[peft_id], layer.lora_embedding_B[peft_id]


def _random_directions(
    down: torch.Tensor, up: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B of the control, in the shapes of `down` `(rank, …)` and `up` `(out, rank, …)`."""
    # a convolution's B is (out, rank, 1, …), its A (rank, in, kernel…): as matrices they multiply like any other
    a, b = down.detach().flatten(1).cpu().double(), up.detach().flatten(1).cpu().double()
    inner_a, inner_b = torch.linalg.qr(a.T).R, torch.linalg.qr(b).R
    outer_a, outer_b = (_orthonormal(matrix, generator) for matrix in (a.T, b))
    return (outer_a @ inner_a).T.reshape(down.shape), (outer_b @ inner_b).reshape(up.shape)


def _orthonormal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Orthonormal columns of a random `(n, rank)` matrix; with more columns than rows, of a square one."""
    rows, columns = like.shape
    random = torch.randn(rows, min(rows, columns), generator=generator, dtype=like.dtype)
    orthonormal: torch.Tensor = torch.linalg.qr(random).Q
    return orthonormal


def _put(parameter: torch.Tensor, values: torch.Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(values)
