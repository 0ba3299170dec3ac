"""Read the tensors of an adapter's file; what they are for is not its affair."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from inference.errors import AdapterRefusedError


def read_weights(name: str, path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a file, on the CPU, by the keys that it holds.

    Args:
        name: what to call the adapter.
        path: its safetensors file.

    Raises:
        AdapterRefusedError: damaged, of a precision that is not read, or not finite.
    """
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise AdapterRefusedError(f"Adapter {name!r}: {path.name} is damaged.", "Copy it again.") from error
    for key, tensor in weights.items():
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise AdapterRefusedError(
                f"Adapter {name!r}: {key[:120]} holds {tensor.dtype}; float32, bfloat16 and float16 are read."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterRefusedError(
                f"Adapter {name!r}: {key[:120]} holds NaN or infinite weights.",
                "Its training diverged: use an earlier checkpoint.",
            )
    return weights
