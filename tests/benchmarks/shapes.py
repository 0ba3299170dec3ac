"""Checkpoints and adapters with random weights in the shapes that are measured."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from inference.demo.tokenizer import build_tokenizer
from tests.checkpoints import PREPROCESSOR


@dataclass(frozen=True)
class Shape:
    """Text: layers × width, heads, KV heads, head width, MLP; vision tower: layers × width, MLP, DeepStack layers."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vision: tuple[int, int, int]
    deepstack: tuple[int, ...]
    vocabulary: int = 151_936
    tied: bool = True


SHAPES = {
    "small": Shape(12, 512, 8, 2, 64, 1_536, (4, 128, 384), (0,), vocabulary=8_192),
    "2B": Shape(28, 2_048, 16, 8, 128, 6_144, (24, 1_024, 4_096), (5, 11, 17)),
    "4B": Shape(36, 2_560, 32, 8, 128, 9_728, (24, 1_024, 4_096), (5, 11, 17)),
    "8B": Shape(36, 4_096, 32, 8, 128, 12_288, (27, 1_152, 4_304), (8, 16, 24), tied=False),
}


def write_model(folder: Path, shape: Shape, device: str = "cpu") -> None:
    """Write a random-weight checkpoint; on a GPU in bfloat16."""
    tokenizer = build_tokenizer()
    ids = {f"{key}_token_id": tokenizer.convert_tokens_to_ids(f"<|{key}_pad|>") for key in ("image", "video")}
    ids |= {f"vision_{k}_token_id": tokenizer.convert_tokens_to_ids(f"<|vision_{k}|>") for k in ("start", "end")}
    rotary = [shape.head_dim // 16 * 3, *[shape.head_dim // 32 * 5] * 2]
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": 16_384,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": rotary,
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": shape.vision[0],
        "hidden_size": shape.vision[1],
        "intermediate_size": shape.vision[2],
        "num_heads": max(1, shape.vision[1] // 64) if shape.vision[1] < 1_024 else 16,
        "out_hidden_size": shape.width,
        "patch_size": 16,
        "num_position_embeddings": 2_304,
        "deepstack_visual_indexes": list(shape.deepstack),
    }
    torch.manual_seed(0)
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **ids)
    config.dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.device(device):
        model = Qwen3VLForConditionalGeneration._from_config(config, dtype=config.dtype)
    model.generation_config.eos_token_id = shape.vocabulary - 1  # outside the tokenizer: all tokens are written
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))


def write_adapters(folder: Path, checkpoint: Path, count: int, rank: int = 16, modules: str = "qkvo") -> list[str]:
    """Write language-only adapters `a0 …`, saved by PEFT from a model without storage; return their names."""
    from safetensors.torch import save_file
    from transformers import AutoConfig

    targets = {"qkvo": r"(self_attn\.(q|k|v|o)_proj)", "all": r"(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"}
    path = rf".*language_model\.layers\.\d+\.{targets[modules]}"
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(AutoConfig.from_pretrained(checkpoint))
    wrapped = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=path))
    names = [f"a{index}" for index in range(count)]
    for index, name in enumerate(names):
        generator = torch.Generator().manual_seed(index)
        tensors = {
            key.replace(".default", ""): torch.randn(each.shape, generator=generator) * 0.02
            for key, each in wrapped.state_dict().items()
            if ".lora_" in key
        }
        (folder / name).mkdir(parents=True)
        wrapped.peft_config["default"].save_pretrained(folder / name)
        save_file(tensors, folder / name / "adapter_model.safetensors")
    return names
