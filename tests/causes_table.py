"""Why the embedded adapters answer otherwise, and what it costs to know: `python -m tests.causes_table`.

For each adapter, scenes that nothing else has seen; outcome: the logit of what the adapter would say first minus the
logit of what base would. Scenes where both say the same are counted and left out. A share is the sum of a factor over
the scenes by the sum of the total; its interval, 95 %, is a bootstrap over the scenes. `--scenes 200` by default.

The price is of the same request after its comparison, as the page asks it, over that comparison: base and one adapter
of random weights in the benchmarks' small shape (12 layers, 8 heads), 32 new tokens, rows; medians of `--pictures`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from inference import Attribution, Backend, Request, open_backend
from inference.demo.world import scene
from inference.errors import SelectionError
from inference.model.engine import Engine
from inference.questions import AttributionOptions, AttributionParts
from inference.settings import MIB
from tests.benchmarks.modes import open_engine
from tests.benchmarks.shapes import SHAPES, write_adapters, write_model
from tests.conftest import picture
from tests.where_it_looks import SIZES

FIRST_SEED = 6_000_000_000  # beyond the ranges of training, choice and score, and of where_it_looks
WORDS = {"find-red": ("red",), "find-circle": ("circle",), "vision-lora": ("star",), "noise": ()}
FACTORS = ("seeing", "looking", "saying")
PROMPT = "Describe the image."
#: Cells (height, width) of the pictures whose price is taken, by their number.
PRICED = {768: (24, 32), 1_024: (32, 32), 2_040: (34, 60)}
PARTS: dict[AttributionParts | None, str] = {
    None: "seeing, looking, saying",
    "layer": "and by layer",
    "head": "and by head",
}


class Measured(NamedTuple):
    """One adapter's scenes: `shares` `(scenes, 3)` and `totals` `(scenes,)` in logits; how many were left out."""

    adapter: str
    shares: np.ndarray
    totals: np.ndarray
    interactions: np.ndarray
    alike: int


def requests(adapter: str) -> Iterator[Request]:
    """Scenes with 2, 3 and 4 objects in turn, in several sizes, one of them what the adapter looks for."""
    for index in range(1_000_000):
        drawn = scene(FIRST_SEED + index, 2 + index % 3, SIZES[index % len(SIZES)], WORDS[adapter])
        yield Request(drawn.image, PROMPT, adapters=(None, adapter), max_new_tokens=1)


def measure(backend: Backend, adapter: str, count: int) -> Measured:
    rows, alike = [], 0
    for request in requests(adapter):
        try:
            found = backend.explain(request, AttributionOptions(outcome="margin"))
        except SelectionError:
            alike += 1
            assert alike < 20 * count, f"{adapter} hardly changes an answer"
            continue
        rows.append((found.seeing, found.looking, found.saying, found.total, found.interaction))
        if len(rows) == count:
            break
    values = np.array(rows)
    return Measured(adapter, values[:, :3], values[:, 3], values[:, 4], alike)


def interval(parts: np.ndarray, totals: np.ndarray) -> tuple[float, float]:
    """95 % of a ratio of sums over scenes drawn again and again."""
    drawn = np.random.default_rng(0).integers(len(totals), size=(4_000, len(totals)))
    low, high = np.percentile(parts[drawn].sum(axis=1) / totals[drawn].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


def shares_table(measured: Sequence[Measured]) -> str:
    lines = [
        "| adapter | scenes (alike, left out) | total, logits | seeing | looking | saying | interaction |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in measured:
        cells = [
            f"{part.sum() / each.totals.sum():.1%} ({low:.1%} … {high:.1%})"
            for part in (*each.shares.T, each.interactions)
            for low, high in [interval(part, each.totals)]
        ]
        counts = f"{len(each.totals)} ({each.alike})"
        lines.append(f"| `{each.adapter}` | {counts} | {each.totals.mean():+.2f} | {' | '.join(cells)} |")
    error = max(float(np.abs(each.shares.sum(axis=1) - each.totals).max()) for each in measured)
    return "\n".join([*lines, "", f"The shares add up to the total within {error:.1e}."])


def price_table(pictures: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder, "model"), SHAPES["small"])
        write_adapters(Path(folder), Path(folder, "model"), 1)
        engine = open_engine(Path(folder, "model"), [Path(folder, "a0")], "cpu")
    options = [AttributionOptions(by=by) for by in PARTS]
    heads = [
        f"{name}: {each.replays(engine.model_info)} replays" for name, each in zip(PARTS.values(), options, strict=True)
    ]
    lines = [
        f"| image tokens | comparison | {' | '.join(heads)} | weights held |",
        "|---|---|---|" + "---|" * len(PARTS),
    ]
    for tokens, (height, width) in PRICED.items():
        prices = [priced(engine, picture(32 * height, 32 * width, seed), options) for seed in range(pictures)]
        seconds, *others, held = np.median(prices, axis=0)
        cells = " | ".join(f"{more / seconds:.2f} ×" for more in others)
        lines.append(f"| {tokens:,} | {seconds:.2f} s | {cells} | {held / MIB:.1f} MiB |")
    return "\n".join(lines)


def priced(engine: Engine, image: Image.Image, options: Sequence[AttributionOptions]) -> list[float]:
    """Seconds of a comparison, and of its attributions after it; bytes of both variants' weights that are held."""
    request = Request(image, PROMPT, adapters=(None, "a0"))
    engine.cache.clear()
    found = []
    for work in (engine.compare, *(partial(engine.explain, question=each) for each in options)):
        begin = time.perf_counter()
        answer = work(request)
        found.append(time.perf_counter() - begin)
    assert isinstance(answer, Attribution)
    rows, keys = answer.token, answer.tokens[-1].position
    return [*found, 2 * answer.model.num_layers * answer.model.num_heads * rows * keys * 4]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=5, help="pictures per size whose price is taken")
    given = parser.parse_args()
    if given.scenes:
        opened = open_backend("local", model="demo")
        print(shares_table([measure(opened, adapter, given.scenes) for adapter in WORDS]), end="\n\n", flush=True)
        opened.close()
    if given.pictures:
        print(price_table(given.pictures))
