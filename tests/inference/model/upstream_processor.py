"""Run by an interpreter that has torchvision, apart from the tests' own: what upstream's default processor gives.

    python upstream_processor.py CHECKPOINT IMAGES.npz OUT.npz PROMPT

Reads pictures `(height, width, 3)` uint8 by name, and writes for each its `pixel_values`, `image_grid_thw` and
`input_ids`, as `Qwen3VLProcessor` makes them from the checkpoint's own files.
"""

import sys

import numpy as np
import torchvision  # the point of this program: without it there is no default processor
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, Qwen3VLProcessor, Qwen3VLVideoProcessor


def main(checkpoint: str, images: str, out: str, words: str) -> None:
    assert torchvision.__version__
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    image_processor = AutoImageProcessor.from_pretrained(checkpoint)
    assert type(image_processor).__module__.endswith("image_processing_qwen2_vl"), type(image_processor)
    processor = Qwen3VLProcessor(image_processor, tokenizer, Qwen3VLVideoProcessor(), tokenizer.chat_template)
    results = {}
    with np.load(images) as pictures:
        for name in pictures.files:
            content = [{"type": "image", "image": Image.fromarray(pictures[name])}, {"type": "text", "text": words}]
            given = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            results |= {f"{name}.{key}": given[key].numpy() for key in ("pixel_values", "image_grid_thw", "input_ids")}
    np.savez(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
