"""A saved model asked one question at a time, on the road that a user takes.

That is the checkpoint's own image processor, the chat layout, one image and one question per pass, the model's own
`output_attentions`. It must not know what counts as right.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration

from inference.demo.tokenizer import one_token
from inference.demo.training.checkpoint import MERGE_SIZE

_AFTER_IMAGE: Final = "<|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"


class Reader:
    """A loaded model with its tokenizer and image processor, asked one question at a time."""

    def __init__(
        self,
        model: PeftModel | Qwen3VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        processor: BaseImageProcessor,
    ) -> None:
        """Args: model: With eager attention, or no attention is returned; tokenizer and processor: its own."""
        self._model = model
        self._tokenizer = tokenizer
        self._processor = processor
        self._image = one_token(tokenizer, "<|image_pad|>")

    def answers_right(self, image: Image.Image, prompt: str, answer: str) -> bool:
        """Whether a greedy answer would be exactly this one."""
        wanted = self._encode(f"{answer}<|im_end|>")
        logits = self._forward(image, prompt, wanted).logits[0]
        return bool((logits[-len(wanted) - 1 : -1].argmax(-1).cpu() == torch.tensor(wanted)).all())

    @torch.no_grad()
    def answer(self, image: Image.Image, prompt: str, tokens: int = 40) -> str:
        """The greedy answer, without its end token; cut after `tokens`."""
        inputs, _ = self._inputs(image, prompt, ())
        model: Any = self._model  # upstream's annotation of `generate` refuses its own models
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
        said = self._tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert isinstance(said, str)  # one sequence is one text
        return said

    def rows(self, image: Image.Image, prompt: str, answer: str = "") -> NDArray[np.float32]:
        """Attention of every token after the image to the image tokens.

        Returns:
            `(rows, layers, heads, grid_h, grid_w)`: the end of the image, the prompt, the opening of the answer, the
            answer; the row of a token predicts the next one.
        """
        with torch.no_grad():
            inputs, grid = self._inputs(image, prompt, self._encode(answer))
            attention = self._model(**inputs, output_attentions=True, use_cache=False).attentions
        columns = inputs["input_ids"][0] == self._image
        after = int(columns.nonzero()[-1]) + 1
        kept: Tensor = torch.stack(
            [layer[0, :, after:][:, :, columns] for layer in attention]
        )  # layers, heads, rows, columns
        weights: NDArray[np.float32] = kept.permute(2, 0, 1, 3).reshape(-1, *kept.shape[:2], *grid).cpu().numpy()
        return weights

    def tokens_after_image(self, prompt: str) -> list[str]:
        """The tokens whose rows `rows` begins with: the end of the image, the prompt, the opening of the answer."""
        return [str(self._tokenizer.decode([token])) for token in self._encode(_AFTER_IMAGE.format(prompt))]

    @torch.no_grad()
    def _forward(self, image: Image.Image, prompt: str, answer: Sequence[int]) -> Any:
        inputs, _ = self._inputs(image, prompt, answer)
        return self._model(**inputs, use_cache=False)

    def _inputs(self, image: Image.Image, prompt: str, answer: Sequence[int]) -> tuple[dict[str, Any], tuple[int, int]]:
        """What the model takes, and the grid of image tokens."""
        device = self._model.device
        seen = self._processor(images=[image], return_tensors="pt").to(device)
        _, patches_h, patches_w = seen["image_grid_thw"][0].tolist()
        grid = (patches_h // MERGE_SIZE, patches_w // MERGE_SIZE)
        ids = [
            *self._encode("<|im_start|>user\n<|vision_start|>"),
            *[self._image] * (grid[0] * grid[1]),
            *self._encode(_AFTER_IMAGE.format(prompt)),
            *answer,
        ]
        sequence = torch.tensor([ids], device=device)
        inputs = {
            "input_ids": sequence,
            "attention_mask": torch.ones_like(sequence),
            "mm_token_type_ids": (sequence == self._image).int(),
            "pixel_values": seen["pixel_values"],
            "image_grid_thw": seen["image_grid_thw"],
        }
        return inputs, grid

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids
