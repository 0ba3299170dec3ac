"""Adapters with random weights, saved by PEFT, and the same adapters added to a model by hand."""

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import EvaConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

LANGUAGE = r".*language_model\.layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|o_proj)"
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

#: Every kind that is accepted: the checkpoint that it is for, by its fixture's name, and what PEFT is told.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("dense", {}),
    "rslora": ("dense", {"use_rslora": True}),
    "dora": ("dense", {"use_dora": True}),
    "dora-rslora": ("dense", {"use_dora": True, "use_rslora": True}),
    "gaussian": ("dense", {"init_lora_weights": "gaussian"}),
    "orthogonal": ("dense", {"init_lora_weights": "orthogonal"}),
    "eva": ("dense", {"init_lora_weights": "eva", "eva_config": EvaConfig()}),
    "mica": ("dense", {"init_lora_weights": "mica"}),
    "all-linear": ("dense", {"target_modules": "all-linear"}),
    "patterns": (
        "dense",
        {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 6}, "alpha_pattern": {"o_proj": 3}},
    ),
    "fan-in": ("dense", {"target_modules": ["q_proj", "down_proj"], "fan_in_fan_out": True}),
    "modules-to-save": ("untied", {"modules_to_save": ["lm_head"]}),
    "norms-saved": ("dense", {"modules_to_save": ["q_norm"]}),
    "tower-saved": ("dense", {"modules_to_save": ["visual"]}),
    "attention-saved": ("dense", {"target_modules": ["down_proj"], "modules_to_save": ["attn"]}),  # of both towers
    "layers-1-only": ("dense", {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]}),
    "vision": ("dense", {"target_modules": rf"({LANGUAGE})|(.*visual\.blocks\.\d+\.attn\.(qkv|proj))"}),
    "vision-dora": ("dense", {"target_modules": r".*visual\.blocks\.\d+\.attn\.(qkv|proj)", "use_dora": True}),
    "patch-embedding": ("dense", {"target_modules": r".*(patch_embed\.proj|q_proj)"}),
    "moe": ("moe", {}),
    "moe-all-linear": ("moe", {"target_modules": "all-linear"}),
    "one-expert-parameter": ("moe", {"target_modules": ["q_proj"], "target_parameters": EXPERTS[:1]}),
    "experts": ("moe", {"target_modules": ["q_proj"], "target_parameters": EXPERTS}),
}


#: Of each mechanism one (scaling, magnitudes, patterns, saved modules, the tower, experts); the others are slow.
OF_EACH = {"lora", "dora-rslora", "patterns", "modules-to-save", "attention-saved", "vision", "experts"}
assert KINDS.keys() >= OF_EACH
EVERY_KIND = [pytest.param(kind, marks=[] if kind in OF_EACH else pytest.mark.slow) for kind in KINDS]


def write_adapter(folder: Path, checkpoint: Path, *, seed: int = 1, strength: float = 0.3, **config: Any) -> Path:
    """Let PEFT wrap a fresh model, fill every trainable weight with random numbers and save."""
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
    options = {"r": 4, "lora_alpha": 8, "target_modules": LANGUAGE} | config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT corrects `fan_in_fan_out` and says so
        wrapped = get_peft_model(model, LoraConfig(**options))
    generator = torch.Generator().manual_seed(seed)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator) * strength
            # magnitudes and whole modules stay near what they were; A and B start from noise alone
            parameter.data = parameter.data * (1 + 0.3 * noise) + noise * 0.5
    wrapped.save_pretrained(folder)
    if options.get("fan_in_fan_out"):  # PEFT corrects it where it trains; files of other tools say it all the same
        edit_config(folder, fan_in_fan_out=True)
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Change entries of a saved adapter_config.json."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change: Any) -> None:
    """Replace the saved tensors by `change(tensors)`."""
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def add_by_hand(model: torch.nn.Module, folder: Path) -> None:
    """Add scaling · B · A to the weights of a plain upstream model; the second route to what PEFT does.

    LoRA: arXiv 2106.09685 (α / r); rsLoRA: 2312.03732 (α / √r); DoRA: 2402.09353, eq. 5 (m · W′ / ‖W′‖ per output).
    Experts: PEFT stacks r rows of A per expert, and interleaves the experts in B's columns.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = {
        key.removeprefix("base_model.model."): each
        for key, each in load_file(folder / "adapter_model.safetensors").items()
    }
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for key, a in tensors.items():
            if not key.endswith(".lora_A.weight"):
                if ".lora_" not in key:  # modules_to_save
                    parameters[key].copy_(tensors[key])
                continue
            module = key.removesuffix(".lora_A.weight")
            b = tensors[f"{module}.lora_B.weight"]
            plain = module.replace(".base_layer", "")
            if plain.endswith("experts"):
                targets = config["target_parameters"]
                depth = module.count(".base_layer")  # wrappers are nested: the innermost was wrapped first
                _add_to_experts(
                    parameters, plain, a, b, config, sorted(each.rpartition(".")[2] for each in targets), depth
                )
                continue
            rank = _pattern(config.get("rank_pattern"), plain, config["r"])
            alpha = _pattern(config.get("alpha_pattern"), plain, config["lora_alpha"])
            scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
            assert a.shape[0] == rank
            weight = parameters[f"{plain}.weight"]
            delta = (b.flatten(1) @ a.flatten(1)).view_as(weight)  # a convolution's B is 1 × 1 × 1
            changed = weight + scaling * delta
            if config.get("use_dora"):
                magnitude = tensors[f"{module}.lora_magnitude_vector"]
                changed = magnitude[:, None] * changed / changed.norm(dim=1, keepdim=True)
            weight.copy_(changed)


def _pattern(pattern: dict[str, float] | None, module: str, default: float) -> float:
    for key, value in (pattern or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default


def _add_to_experts(parameters, module, a, b, config, names, depth) -> None:
    shapes = {name: parameters[f"{module}.{name}"].shape for name in names}
    name = next(name for name, (_, out, inside) in shapes.items() if a.shape[1] == inside and b.shape[0] == out)
    weight = parameters[f"{module}.{name}"]
    experts, rank = weight.shape[0], config["r"]
    for expert in range(experts):
        own_a = a[expert * rank : (expert + 1) * rank]
        own_b = b[:, expert::experts]
        weight[expert] += config["lora_alpha"] / rank * own_b @ own_a
