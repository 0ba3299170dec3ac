"""Random-weight checkpoint folders in the layouts of the real Qwen3-VL kinds, small enough for a CPU."""

import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from tokenizers import AddedToken
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from inference.demo.tokenizer import build_tokenizer
from tests.chat_templates import WITH_TOOLS

#: Added tokens of Qwen3 that are not special: a model writes each as one token.
ADDED = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")

Kind = Literal["dense", "dense-untied", "moe", "moe-tied"]

#: The real checkpoints' preprocessor_config.json, with bounds that let small test images through.
PREPROCESSOR = {
    "size": {"longest_edge": 16_777_216, "shortest_edge": 1_024},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}


def write_checkpoint(
    folder: Path,
    kind: Kind = "dense",
    *,
    layers: int = 3,
    heads: int = 4,
    vision_layers: int = 3,
    vision_heads: int = 4,
    seed: int = 0,
    dtype=torch.float32,
) -> Path:
    """Write a checkpoint whose random weights are large enough that every row is far from uniform."""
    tokenizer = build_tokenizer()
    vision = {
        "depth": vision_layers,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_heads": vision_heads,
        "out_hidden_size": 64,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": sorted({0, vision_layers - 1}),
        "initializer_range": 0.2,
    }
    text = {
        "vocab_size": 576,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(2, heads // 4),
        "head_dim": 16,
        "max_position_embeddings": 8_192,
        "initializer_range": 0.15,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    tied = kind in ("dense", "moe-tied")
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    torch.manual_seed(seed)
    if kind.startswith("moe"):
        text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
        config = Qwen3VLMoeConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **ids)
        model = Qwen3VLMoeForConditionalGeneration(config)
    else:
        config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **ids)
        model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():  # norms away from 1, so that an implementation that forgets them is seen
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = [
        tokenizer.convert_tokens_to_ids("<|im_end|>"),
        tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    ]
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def knowing_tools(checkpoint: Path, folder: Path) -> Path:
    """A copy of a checkpoint whose chat template knows tools, and whose tokenizer has Qwen3's added tokens."""
    shutil.copytree(checkpoint, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in ADDED])
    tokenizer.chat_template = WITH_TOOLS
    save_with_room(folder, tokenizer)
    return folder


def save_with_room(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save a tokenizer with tokens added into a dense checkpoint, which gets embeddings for them."""
    tokenizer.save_pretrained(folder)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
