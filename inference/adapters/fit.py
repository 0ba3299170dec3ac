"""Check on a model without storage that an adapter fits: each key finds its place, and only its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper

from inference.adapters.attach import add, fill
from inference.adapters.files import AdapterFiles
from inference.adapters.layout import current_config, module_of
from inference.adapters.patterns import check_patterns
from inference.errors import AdapterRefusedError

#: What PEFT and torch throw at files that do not fit, or at a config that makes no sense.
_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    re.error,
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where an adapter sits: paths of modules that it adapts, that it replaces as a whole, and expert parameters."""

    adapted: frozenset[str]
    replaced: frozenset[str]
    experts: frozenset[str]

    def beside(self, other: Places) -> bool:
        """Whether PEFT can hold both on one model.

        It copies a module that is replaced, with whatever is wrapped inside, and does not find what would have to be
        wrapped inside it later; and it wants all adapters of expert parameters to target the same ones.
        """
        if self.experts and other.experts and self.experts != other.experts:
            return False
        return not any(
            _holds(whole, part) and (whole != part or part in theirs.adapted)
            for ours, theirs in ((self, other), (other, self))
            for whole in ours.replaced
            for part in theirs.adapted | theirs.replaced
        )


def check_fit(
    skeleton: torch.nn.Module, name: str, files: AdapterFiles, weights: Mapping[str, torch.Tensor]
) -> tuple[LoraConfig, Places]:
    """Load an adapter into a model without storage and see that every key found its place, and only its own.

    Args:
        skeleton: the base model on the meta device, never wrapped; it is wrapped here and must not be used again.
        name: what to call the adapter.
        files: what its files say.
        weights: its tensors by today's keys.

    Returns:
        The config to load it with, and where it sits.

    Raises:
        AdapterRefusedError: it does not fit, or carries weights of the base model itself.
    """
    check_patterns(name, files.config, [*_module_names(skeleton), *map(module_of, files.keys)])
    before = list(skeleton.parameters())  # held: a tensor's id is given away again with its last reference
    try:
        config = _lora_config(current_config(files.config, files.keys))
        missing, unexpected = fill(add(None, skeleton, "checked", config), "checked", weights, assign=True)
    except _MISFITS as error:
        raise _does_not_fit(name, _misfit(skeleton, weights) or _first_line(error)) from error
    if missing or unexpected:
        raise _does_not_fit(name, _misfit(skeleton, weights) or _keys(missing, unexpected))
    after = {id(tensor) for tensor in skeleton.parameters()}
    if any(id(tensor) not in after for tensor in before):  # loading puts new tensors in their place
        raise AdapterRefusedError(
            f"Adapter {name!r} carries weights of the base model itself, which would stay when it is off.",
            "Save it with save_embedding_layers=False.",
        )
    wrapped = dict(skeleton.named_modules())
    adapted = frozenset(path for path, module in wrapped.items() if isinstance(module, LoraLayer))
    replaced = frozenset(path for path, module in wrapped.items() if isinstance(module, ModulesToSaveWrapper))
    return config, Places(adapted, replaced, frozenset(config.target_parameters or ()))


def _module_names(skeleton: torch.nn.Module) -> list[str]:
    return [path for path, _ in skeleton.named_modules()]


def _does_not_fit(name: str, what: str) -> AdapterRefusedError:
    return AdapterRefusedError(
        f"Adapter {name!r} does not fit this model: {what}",
        "Was it trained on another Qwen3-VL size? If a tool other than PEFT wrote it, load it there and save it with "
        "PEFT's save_pretrained.",
    )


def _holds(whole: str, part: str) -> bool:
    """Whether the module at `part` is the one at `whole` or lies inside it."""
    return f"{part}.".startswith(f"{whole}.")


def _lora_config(config: Mapping[str, Any]) -> LoraConfig:
    unused = {"peft_type", "auto_mapping", "task_type", "megatron_config", "megatron_core", "runtime_config"}
    unused |= {"corda_config", "eva_config", "loftq_config", "lora_ga_config"}  # of the initialisation, see below
    known = {field.name for field in fields(LoraConfig)} - unused
    values = {key: value for key, value in config.items() if key in known}
    # the initialisation is overwritten by the loaded weights; "orthogonal" could not even run without storage
    return LoraConfig(**(values | {"inference_mode": True, "init_lora_weights": True, "lora_dropout": 0.0}))


def _misfit(skeleton: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """The first module of the files that the model does not have, or whose shape differs, in words; or ""."""
    modules = {_plain_path(name): module for name, module in skeleton.named_modules()}
    for key, tensor in weights.items():
        path, matrix, _ = _plain_path(key).partition(".lora_")
        if not matrix:
            continue
        if path not in modules:
            return f"it adapts '{path[:120]}'; {_blocks(skeleton)}."
        weight = getattr(getattr(modules[path], "base_layer", modules[path]), "weight", None)
        side = {"lora_A.weight": 1, "lora_B.weight": 0}.get(".".join(key.split(".")[-2:]))
        if weight is None or side is None or weight.ndim != 2 or tensor.ndim != 2:
            continue
        ours, theirs = weight.shape[side], tensor.shape[side]
        if ours != theirs:
            return f"'{path[:120]}' is {theirs} wide in the adapter and {ours} in the model."
    return ""


def _plain_path(name: str) -> str:
    """A module's name without what PEFT puts into it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _blocks(skeleton: torch.nn.Module) -> str:
    names = [name for name, _ in skeleton.named_modules()]
    layers = sum(name.endswith("self_attn") for name in names)
    blocks = sum(name.rpartition(".")[0].endswith("visual.blocks") for name in names)
    return f"this model has language layers 0–{layers - 1} and vision blocks 0–{blocks - 1}"


def _keys(missing: list[str], unexpected: list[str]) -> str:
    kinds = (("missing", missing), ("not known to it", unexpected))
    return "; ".join(f"{len(keys)} keys are {what} (first: {keys[0][:120]})" for what, keys in kinds if keys) + "."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
