"""How long a browser waits for the numbers of one choice: all layers as bytes, beside drawing each layer's pictures.

    python -m tests.benchmarks.stack_body                 # 36 layers × 32 heads × 34 × 60 cells, 64 tokens, 2 variants
    python -m tests.benchmarks.stack_body --variants 5 --runs 3

The recording is random numbers of Qwen3-VL-8B's shape for a photo of 1,920 × 1,080. Per choice: CPU milliseconds of
`stack_body`, median and worst of the runs; the bytes, as they are and deflated; and how many times as long it takes to
draw the same panes of every layer with `panes` at the page's size, which is what a step of the layer slider costs
without a stack (measured on `--layers-drawn` layers, times their number). Last the scene and the heads of one layer.
"""

import argparse
import statistics
import time
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from inference.descriptions import ModelInfo
from inference.recording import Recording, Token, background_of
from inference.records import Comparison
from visualize import Selection, StackChoice, heads_body, panes, scene_json, stack_body

FOCUS = 40
CHOICES = {
    "head mean of a token": StackChoice(41),
    "head mean, heads recorded": StackChoice(FOCUS),
    "one head": StackChoice(FOCUS, 3),
    "maximum over heads": StackChoice(FOCUS, "max"),
    "sinks left out": StackChoice(41, view="sink-masked"),
    "contrast": StackChoice(41, view="contrast"),
    "window of 9 layers": StackChoice(41, window=4),
    "mean of 21 tokens": StackChoice((30, 50)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=2)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--grid", type=int, nargs=2, default=(34, 60), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--layers-drawn", type=int, default=3)
    options = parser.parse_args()
    shown = synthetic(options.variants, options.layers, options.heads, tuple(options.grid), options.tokens)
    photo = Image.fromarray(shown.image).resize((760, 428))
    print("| choice | ms: median | worst | kB | kB deflated | drawing every layer ÷ this |")
    print("|---|---|---|---|---|---|")
    for name, choice in CHOICES.items():
        body = stack_body(shown, choice)
        times = [_milliseconds(lambda: stack_body(shown, choice)) for _ in range(options.runs)]  # noqa: B023
        median = statistics.median(times)
        layers = choice.layers(shown)
        drawn = statistics.median(
            _milliseconds(lambda: _draw(shown, choice, layer, photo))  # noqa: B023
            for layer in layers[: options.layers_drawn]
        )
        sizes = f"{len(body) / 1000:.0f} | {len(zlib.compress(body, 6)) / 1000:.0f}"
        print(f"| {name} | {median:.0f} | {max(times):.0f} | {sizes} | {drawn * len(layers) / median:.0f} × |")
    others: dict[str, Callable[[], object]] = {
        "scene": lambda: scene_json(shown),
        "heads of one layer": lambda: heads_body(shown, CHOICES["head mean, heads recorded"], 12),
    }
    for name, made in others.items():
        times = [_milliseconds(made) for _ in range(options.runs)]
        print(f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} | | | |")


def synthetic(variants: int, layers: int, heads: int, grid: tuple[int, int], count: int) -> Comparison:
    """A comparison of random rows, of the shapes asked for, that keeps the records' promises."""
    template = [("<|vision_end|>", "template"), *[(f" word {index}", "prompt") for index in range(20)]]
    template += [("<|im_end|>", "template"), ("\n", "template")]
    answer = [(f" answer {index}", "answer") for index in range(count - len(template) - 1)]
    words = [*template, *answer, ("", "end")]
    tokens = tuple(
        Token(index, text, role, 20 + index, 20 + index - (role in ("answer", "end")))
        for index, (text, role) in enumerate(words)
    )
    names = [None, *(f"adapter-{index}" for index in range(1, variants))]
    recordings = tuple(_recording(name, seed, tokens, layers, heads, grid) for seed, name in enumerate(names))
    model = ModelInfo("synthetic", "", "qwen3-vl", layers, heads, 27, 16, 16, 2, "bfloat16", "cpu", "")
    image = np.random.default_rng(0).integers(0, 256, (1_080, 1_920, 3), dtype=np.uint8)
    return Comparison(model, "What is it?", None, image, grid, tokens, recordings)


def _recording(
    name: str | None, seed: int, tokens: tuple[Token, ...], layers: int, heads: int, grid: tuple[int, int]
) -> Recording:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.8, size=(len(tokens), layers)).astype(np.float32)
    by_token = rng.gamma(0.5, size=(len(tokens), layers, *grid)).astype(np.float32)
    by_token *= (share / by_token.sum(axis=(2, 3)))[..., None, None]
    by_head = rng.gamma(0.5, size=(layers, heads, *grid)).astype(np.float32)
    by_head *= share[FOCUS][:, None, None, None] / by_head.sum(axis=(2, 3), keepdims=True)
    groups = np.zeros((len(tokens), layers, heads, 4), np.float32)
    groups[..., 0] = share[..., None]
    groups[..., 1] = 1 - groups[..., 0]
    replayed = sum(token.role in ("answer", "end") for token in tokens)
    logprobs = -rng.exponential(size=replayed).astype(np.float32)
    background = background_of(by_token, tokens)
    return Recording(name, name, (), tokens, (FOCUS,), "rows", logprobs, by_token, by_head, groups, *background)


def _draw(shown: Comparison, choice: StackChoice, layer: int | tuple[int, int], photo: Image.Image) -> None:
    """The pictures of one layer as a page without a stack draws them."""
    first, second, *_ = [*choice.variants(shown), None]
    selection = Selection(layer, choice.token, choice.head, choice.view)
    for pane in panes(shown, selection, base=first, adapter=second, original_image=photo):
        assert pane.image.size == photo.size


def _milliseconds(made: Callable[[], object]) -> float:
    start = time.process_time()
    made()
    return 1_000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
