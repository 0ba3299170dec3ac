"""Put the places of an adapter on a model with PEFT, and its weights into them; it decides nothing about either."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict


def add(wrapped: PeftModel | None, model: torch.nn.Module, peft_id: str, config: LoraConfig) -> PeftModel:
    """Put the places of an adapter on the model under `peft_id`, its weights without storage."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT warns of (tied weights and the like) is checked and said by us
        if wrapped is None:
            return PeftModel(model, config, peft_id, low_cpu_mem_usage=True)
        wrapped.add_adapter(peft_id, config, low_cpu_mem_usage=True)
        return wrapped


def materialise(wrapped: PeftModel, device: torch.device) -> None:
    """Give the weights of an adapter that was just added storage: float32, as upstream has them in every dtype.

    With `low_cpu_mem_usage=True` PEFT would bring the file's weights to the base's dtype: in bfloat16 they are rounded.
    """
    for module in wrapped.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta:
                empty = torch.empty(parameter.shape, dtype=torch.float32, device=device)
                module.register_parameter(name, torch.nn.Parameter(empty, requires_grad=False))


def fill(
    wrapped: PeftModel, peft_id: str, weights: Mapping[str, torch.Tensor], *, assign: bool
) -> tuple[list[str], list[str]]:
    """Bring the file's weights to their places; return missing keys of this adapter and unexpected keys.

    Args:
        wrapped, peft_id, weights: the model, the adapter and its file's tensors.
        assign: put the tensors themselves there (on a model without storage), not their values.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that are missing or not known: the caller asks for them
        result: Any = set_peft_model_state_dict(wrapped, dict(weights), adapter_name=peft_id, low_cpu_mem_usage=assign)
    return [key for key in result.missing_keys if peft_id in key.split(".")], list(result.unexpected_keys)
