"""The embedded model's shape and its files: a small Qwen3-VL in the layout of a real checkpoint.

It decides sizes, file names and number formats. It must not know how the weights are trained.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save
from torch import nn
from transformers import (
    AutoImageProcessor,
    BaseImageProcessor,
    PreTrainedTokenizerBase,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from inference.demo.tokenizer import VOCABULARY_SIZE, one_token, save_tokenizer

PATCH_SIZE: Final = 16
MERGE_SIZE: Final = 2
#: Side of one image token's cell, in pixels of the resized image.
CELL: Final = PATCH_SIZE * MERGE_SIZE
MIN_PIXELS: Final = 25_600
#: Bounds of the resized image's area, 25 to 108 image tokens: the sizes that training covers.
MAX_PIXELS: Final = 110_592

#: What the adapters name as their base model: a stable label, not a path.
BASE_LABEL: Final = "lora-attention-visualizer/demo"

#: PEFT `target_modules` (a full match over module names): query, key, value and output of the language model only.
LANGUAGE_ATTENTION: Final = r".*language_model\.layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|o_proj)"
#: The same, and the vision tower's attention.
BOTH_ATTENTIONS: Final = rf"({LANGUAGE_ATTENTION})|(.*visual\.blocks\.\d+\.attn\.(qkv|proj))"

_IMAGE_PROCESSOR: Final[Mapping[str, object]] = MappingProxyType(
    {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "image_std": [0.5, 0.5, 0.5],
        "merge_size": MERGE_SIZE,
        "patch_size": PATCH_SIZE,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": MAX_PIXELS, "shortest_edge": MIN_PIXELS},
        "temporal_patch_size": 2,
    }
)

#: Fields of every configuration class of transformers that a real checkpoint's config.json leaves out.
_NOT_OF_THE_MODEL: Final = (
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "chunk_size_feed_forward",
    "id2label",
    "is_encoder_decoder",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "return_dict",
)


def build_model(tokenizer: PreTrainedTokenizerBase) -> Qwen3VLForConditionalGeneration:
    """An untrained model in float32: six language layers of width 128, three vision layers of width 96.

    Args:
        tokenizer: gives the ids of the special tokens.
    """

    config = Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "initializer_range": 0.04,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [8, 4, 4],
                "mrope_interleaved": True,
            },
            "bos_token_id": one_token(tokenizer, "<|endoftext|>"),
            "eos_token_id": one_token(tokenizer, "<|im_end|>"),
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 3,
            "hidden_size": 96,
            "intermediate_size": 384,
            "num_heads": 4,
            "out_hidden_size": 128,
            "patch_size": PATCH_SIZE,
            "spatial_merge_size": MERGE_SIZE,
            "temporal_patch_size": 2,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.04,
        },
        image_token_id=one_token(tokenizer, "<|image_pad|>"),
        video_token_id=one_token(tokenizer, "<|video_pad|>"),
        vision_start_token_id=one_token(tokenizer, "<|vision_start|>"),
        vision_end_token_id=one_token(tokenizer, "<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return Qwen3VLForConditionalGeneration(config)


def save_checkpoint(model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the whole checkpoint with weights in float16; the model itself stays in float32.

    Raises:
        ValueError: a weight is not finite in float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}  # tied
    _write_weights(folder / "model.safetensors", state)
    config = model.config.to_dict()
    for part in (config, config["text_config"], config["vision_config"]):
        for field in _NOT_OF_THE_MODEL:
            part.pop(field, None)
        part["dtype"] = "float16"
    config["architectures"] = ["Qwen3VLForConditionalGeneration"]
    _write_json(folder / "config.json", config)
    stops = [one_token(tokenizer, token) for token in ("<|im_end|>", "<|endoftext|>")]
    _write_json(
        folder / "generation_config.json",
        {"do_sample": False, "eos_token_id": stops, "pad_token_id": stops[1], "max_new_tokens": 16},
    )
    _write_json(folder / "preprocessor_config.json", dict(_IMAGE_PROCESSOR))
    save_tokenizer(tokenizer, folder)


def load_checkpoint(folder: Path) -> Qwen3VLForConditionalGeneration:
    """Load a saved checkpoint in float32, ready for evaluation."""
    model: Qwen3VLForConditionalGeneration = Qwen3VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    model.train(False)
    return model


def move(model: Qwen3VLForConditionalGeneration, device: torch.device) -> Qwen3VLForConditionalGeneration:
    """The same model, its weights on another device."""
    nn.Module.to(model, device)
    return model


def load_image_processor(folder: Path) -> BaseImageProcessor:
    """Load a checkpoint's image processor, the PIL one where torchvision is not installed."""
    load: Callable[[Path], BaseImageProcessor] = AutoImageProcessor.from_pretrained
    return load(folder)


def adapter_config(target_modules: str) -> LoraConfig:
    """LoRA of rank 8 and alpha 16 on the modules that a regular expression fully matches."""
    return LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules=target_modules,
        base_model_name_or_path=BASE_LABEL,
        task_type="CAUSAL_LM",
    )


def save_adapter(model: PeftModel, name: str, folder: Path) -> None:
    """Write one adapter as PEFT does, in float16, without the model card that PEFT adds.

    Args:
        model: the model that holds the adapter.
        name: the adapter's name on that model.
        folder: where `adapter_config.json` and `adapter_model.safetensors` go; its last part must be the name.
    """
    model.peft_config[name].base_model_name_or_path = BASE_LABEL
    # PEFT makes the named sub-folder itself; it would look the base model up to see whether its vocabulary has grown.
    model.save_pretrained(str(folder.parent), selected_adapters=[name], save_embedding_layers=False)
    (folder.parent / "README.md").unlink(missing_ok=True)
    (folder / "README.md").unlink(missing_ok=True)
    weights = folder / "adapter_model.safetensors"
    _write_weights(weights, load_file(weights))


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_weights(file: Path, state: Mapping[str, torch.Tensor]) -> None:
    halved = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in state.items()}
    for name, value in halved.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"weight {name!r} is not finite in float16; did training diverge?")
    file.write_bytes(save(halved, metadata={"format": "pt"}))


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
