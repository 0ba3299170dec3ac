"""The untouched upstream model, run the way its documentation says: the reference for every row."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModelForImageTextToText

from inference.model.prompt import Prompt


def load(checkpoint: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, attn_implementation="eager").eval()


def inputs(prompt: Prompt, answer: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    """Model input for image, prompt and the first ids of an answer, all positions left to upstream."""
    ids = torch.tensor([[*prompt.input_ids.tolist(), *answer]])
    image = torch.zeros_like(ids, dtype=torch.int32)
    image[:, prompt.image_start : prompt.image_end] = 1
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": image,
        "pixel_values": torch.from_numpy(prompt.pixel_values),
        "image_grid_thw": torch.tensor([prompt.grid_thw]),
    }


@torch.no_grad()
def attentions(model: torch.nn.Module, prompt: Prompt, answer: tuple[int, ...] = ()) -> np.ndarray:
    """`output_attentions` of one full pass: `(layers, heads, sequence, sequence)` float32."""
    output = model(**inputs(prompt, answer), output_attentions=True, use_cache=False)
    return torch.stack([layer[0] for layer in output.attentions]).float().numpy()


def image_processor(checkpoint: Path):
    return AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
