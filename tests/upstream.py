"""The untouched upstream model, run the way its documentation says: the reference for every row."""

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer, DynamicCache

from inference.conversation import Conversation
from inference.model.image_input import read_image
from inference.model.prompt import Prompt, PromptBuilder
from inference.photo import upright_rgb


def load(checkpoint: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, attn_implementation="eager").eval()


def load_with_adapter(checkpoint: Path, adapter: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The model with an adapter, as PEFT's documentation says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `fan_in_fan_out`, tied weights and the like: what it does is what counts
        return PeftModel.from_pretrained(load(checkpoint, dtype), adapter).base_model.model.eval()


def build_prompt(checkpoint: Path, image: Image.Image, words: str) -> Prompt:
    """The ids and the image that both sides are given."""
    config = AutoConfig.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    builder = PromptBuilder(tokenizer, config.image_token_id, config.text_config.vocab_size)
    seen = read_image(upright_rgb(image), image_processor(checkpoint), 4_096)
    return builder.build([seen], Conversation.of(words, None))


def inputs(prompt: Prompt, answer: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    """Model input for images, prompt and the first ids of an answer, all positions left to upstream."""
    ids = torch.tensor([[*prompt.input_ids.tolist(), *answer]])
    image = torch.zeros_like(ids, dtype=torch.int32)
    for span in prompt.spans:
        image[:, span] = 1
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": image,
        "pixel_values": torch.cat([torch.from_numpy(image.patches()) for image in prompt.images]),
        "image_grid_thw": torch.tensor([image.grid_thw for image in prompt.images]),
    }


@torch.no_grad()
def attentions(model: torch.nn.Module, prompt: Prompt, answer: tuple[int, ...] = ()) -> np.ndarray:
    """`output_attentions` of one full pass: `(layers, heads, sequence, sequence)` float32."""
    output = model(**inputs(prompt, answer), output_attentions=True, use_cache=False)
    return torch.stack([layer[0] for layer in output.attentions]).float().numpy()


@torch.no_grad()
def attentions_in_steps(model: torch.nn.Module, prompt: Prompt, answer: tuple[int, ...] = ()) -> np.ndarray:
    """The same from upstream's own cache, in three passes: up to the image's end, the words, the answer.

    A matrix product of another number of rows may round otherwise, so what is computed in these steps equals another
    computation in these steps bit for bit, and one full pass only up to rounding. Keys that a row's pass does not hold
    yet are zeros, as in a full pass.
    """
    whole = inputs(prompt, answer)
    ids, grid = whole["input_ids"], whole["image_grid_thw"]
    positions, _ = model.model.get_rope_index(ids, whole["mm_token_type_ids"], grid)
    config, length = model.config.text_config, ids.shape[1]
    cache = DynamicCache(config=config)
    weights = np.zeros((config.num_hidden_layers, config.num_attention_heads, length, length), np.float32)
    photo = {"pixel_values": whole["pixel_values"], "image_grid_thw": grid}
    for first, stop in pairwise(sorted({0, prompt.image_end, len(prompt.input_ids), length})):
        output = model(
            input_ids=ids[:, first:stop],
            position_ids=positions[:, :, first:stop],
            past_key_values=cache,
            use_cache=True,
            output_attentions=True,
            **(photo if first == 0 else {}),
        )
        for layer, rows in enumerate(output.attentions):
            weights[layer, :, first:stop, :stop] = rows[0].float()
    return weights


def in_double_precision(checkpoint: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The model with weights rounded to `dtype`, and everything after that in float64: what rounding is measured by."""
    model = load(checkpoint, dtype).double()
    if hasattr(model.config.text_config, "num_experts"):
        model.set_experts_implementation("eager")  # the grouped product knows no float64
    return model


def image_processor(checkpoint: Path):
    return AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
