"""Small recordings with random rows that keep every promise of the records: sums, shapes, types."""

import numpy as np

from inference.descriptions import ModelInfo
from inference.recording import Recording, Token
from inference.records import Comparison

LAYERS, HEADS = 4, 3
GRID = (3, 5)
MODEL = ModelInfo("demo", "", "qwen3-vl", LAYERS, HEADS, 2, 2, 16, 2, "float32", "cpu", "0.1.0")


def tokens(prompt=("What", " is", " red", "?"), answer=(" red", " circle"), end=True):
    """Template, prompt, template and answer, as they follow an image that ends at position 19."""
    words = [("<|vision_end|>", "template")]
    words += [(text, "prompt") for text in prompt]
    words += [("<|im_end|>", "template"), ("\n", "template")]
    words += [(text, "answer") for text in answer]
    words += [("", "end")] if end else []
    return tuple(
        Token(index, text, role, 20 + index, 20 + index - (role in ("answer", "end")))
        for index, (text, role) in enumerate(words)
    )


def first_answer(row):
    return next(index for index, token in enumerate(row) if token.role in ("answer", "end"))


def recording(
    adapter=None, *, seed=0, row=None, focus=None, grid=GRID, layers=LAYERS, heads=HEADS, maps=None, rows=None
):
    """One variant; `maps`, (tokens, layers, heads, grid_h, grid_w), replaces the random attention on the image.

    The background is that of the rows before the one that predicts the first answer token; `rows` says another number.
    """
    row = tokens() if row is None else row
    focus = (first_answer(row),) if focus is None else focus
    generator = np.random.default_rng(seed)
    if maps is None:
        cells = generator.gamma(0.5, size=(len(row), layers, heads, *grid))
        share = generator.uniform(0.1, 0.8, size=(len(row), layers, heads, 1, 1))
        maps = cells / cells.sum(axis=(-2, -1), keepdims=True) * share
    on_image = maps.sum(axis=(-2, -1))
    rest = generator.dirichlet(np.ones(3), size=on_image.shape) * (1 - on_image[..., None])
    text = [index for index, token in enumerate(row) if token.role in ("prompt", "template")][:-1]
    head_mean = maps.mean(axis=2)
    answers = sum(token.role in ("answer", "end") for token in row)
    return Recording(
        adapter=adapter,
        answer="red circle",
        answer_ids=(1, 2, 3),
        tokens=row,
        focus=tuple(focus),
        attention="eager",
        logprobs=-generator.exponential(size=answers).astype(np.float32),
        by_token=head_mean.astype(np.float32),
        by_head=maps[list(focus)].mean(axis=0).astype(np.float32),
        group_share=np.concatenate([on_image[..., None], rest], axis=-1).astype(np.float32),
        background=head_mean[text].mean(axis=0).astype(np.float32),
        background_low=np.percentile(head_mean[text], 10, axis=0).astype(np.float32),
        background_rows=len(text) if rows is None else rows,
    )


def with_sinks(adapter=None, cells=((0, 0), (0, 0), (0, 0), (0, 0)), *, seed=0, **more):
    """One variant in which each layer's rows hold most of their attention in one cell; None for a layer without."""
    maps = np.random.default_rng(seed).gamma(0.5, size=(len(tokens()), LAYERS, HEADS, *GRID))
    for layer, cell in enumerate(cells):
        if cell is not None:
            maps[:, layer, :, cell[0], cell[1]] += 40
    maps *= 0.6 / maps.sum(axis=(-2, -1), keepdims=True)
    return recording(adapter, row=tokens(), maps=maps, **more)


def photo(size=(60, 100), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def comparison(*recordings, image=None, model=MODEL, prompt="What is red?", own=False, notes=()):
    recordings = recordings or (recording(), recording("find-red", seed=1))
    return Comparison(
        model=model,
        prompt=prompt,
        system=None,
        image=photo() if image is None else image,
        grid=recordings[0].grid,
        tokens=() if own else recordings[0].tokens,
        recordings=recordings,
        notes=notes,
    )
