"""Why the embedded adapters answer otherwise, and what it costs to know: `python -m tests.causes_table`.

For each adapter, scenes that nothing else has seen. `--scenes 200` by default; intervals are 95 %.

1. Shares. Outcome: the logit of what the adapter would say first minus the logit of what base would. Scenes where both
   say the same are counted and left out. A share is the sum of a factor over the scenes by the sum of the total; its
   interval is a bootstrap over the scenes.
2. Heads. On scenes of its own, heads are ranked by what forcing one of them from adapter into base changes (mean), and
   by how much its row changed (mean divergence). The first five of each ranking, and five at random in every scene, are
   forced together on the scenes of the table; intervals of counts are Wilson's.
3. Knockout of the cells that the adapter's target touches: its own answer's first token beside 16 shifted boxes, and
   base's own answer's. Scenes whose target is the largest object, which base names too, are left out.
4. The price, in time and memory, is of the same request after its comparison, as the page asks it, over that
   comparison: base and one adapter of random weights in the benchmarks' small shape (12 layers, 8 heads), 32 new
   tokens, rows; medians of `--pictures`. Memory is what the process holds at most beyond what it held before the
   comparison; after it, what was read of the image stays.
"""

import argparse
import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from inference import Backend, Explanation, Request, open_backend
from inference.demo.world import Scene, scene
from inference.errors import SelectionError
from inference.model.engine import Engine
from inference.questions import AttributionOptions, BlurOptions, ChanceOptions, KnockoutOptions, PartsOptions, Question
from inference.settings import MIB
from tests.benchmarks.modes import Memory, open_engine
from tests.benchmarks.shapes import SHAPES, write_adapters, write_model
from tests.conftest import picture
from tests.where_it_looks import SIZES
from visualize import measures

FIRST_SEED = 6_000_000_000  # beyond the ranges of training, choice and score, and of where_it_looks
WORDS = {"find-red": ("red",), "find-circle": ("circle",), "vision-lora": ("star",), "noise": ()}
FACTORS = ("seeing", "looking", "saying")
PROMPT = "Describe the image."
CAUSED = ("find-red", "find-circle")  # whose heads and boxes are measured
FORCED = 5  # heads together
#: Cells (height, width) of the pictures whose price is taken, by their number.
PRICED = {768: (24, 32), 2_040: (34, 60)}
#: What is priced, by its name in the table: what is asked about base and one adapter, by how many cells the image has.
QUESTIONS: dict[str, Callable[[int], Question[Explanation]]] = {
    "seeing, looking, saying": lambda cells: AttributionOptions(),
    "and five heads together": lambda cells: AttributionOptions(heads=[(layer, 0) for layer in range(FORCED)]),
    "and by layer": lambda cells: AttributionOptions(by="layer"),
    "and by head": lambda cells: AttributionOptions(by="head"),
    "knockout and 16 shifted boxes": lambda cells: KnockoutOptions(range(4)),
    "deletion and insertion, 2 steps": lambda cells: BlurOptions(range(cells), steps=2),
    "4 random adapters": lambda cells: ChanceOptions(controls=4),
    "the adapter's parts": lambda cells: PartsOptions(),
}


class Measured(NamedTuple):
    """One adapter's scenes: `shares` `(scenes, 3)` and `totals` `(scenes,)` in logits; how many were left out."""

    adapter: str
    shares: np.ndarray
    totals: np.ndarray
    interactions: np.ndarray
    alike: int


def scenes(adapter: str, first: int = FIRST_SEED) -> Iterator[Scene]:
    """Scenes with 2, 3 and 4 objects in turn, in several sizes, one of them what the adapter looks for."""
    for index in range(1_000_000):
        yield scene(first + index, 2 + index % 3, SIZES[index % len(SIZES)], WORDS[adapter])


def requests(adapter: str) -> Iterator[Request]:
    for drawn in scenes(adapter):
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


# heads, forced together


def targets(adapter: str, first: int = FIRST_SEED) -> Iterator[Scene]:
    """The scenes whose target is not the largest object: base, which names that one, and adapter should differ."""
    for drawn in scenes(adapter, first):
        if drawn.find(WORDS[adapter][0]) is not drawn.largest:
            yield drawn


def rank(backend: Backend, adapter: str, count: int) -> dict[str, list[tuple[int, int]]]:
    """The heads in the order of a mean over scenes of their own, largest first, by the ranking's name."""
    effects, divergences, rows = [], [], []
    for drawn in targets(adapter, FIRST_SEED + 100_000_000):
        request = Request(drawn.image, PROMPT, adapters=(None, adapter), max_new_tokens=1)
        try:
            found = backend.explain(request, AttributionOptions(by="head", outcome="margin"))
        except SelectionError:  # both say the same
            continue
        base, other = (each.by_head for each in backend.compare(request).recordings)
        effects.append(found.by_head)
        divergences.append(measures.js_divergence(base, other))
        rows.append(measures.row_divergence(base, other))
        if len(effects) == count:
            break
    rankings = {
        "carry the change (patch effect)": effects,
        "changed most (JS over the image)": divergences,
        "changed most (JS of the whole row)": rows,
    }
    orders = {}
    for name, values in rankings.items():
        mean = np.mean(values, axis=0)
        order = np.stack(np.unravel_index(np.argsort(-mean, axis=None), mean.shape), axis=-1).tolist()
        orders[name] = [(layer, head) for layer, head in order]
    return orders


def heads_table(backend: Backend, count: int, ranked_on: int) -> str:
    lines = [
        "| adapter | five heads forced from adapter into base | layer/head | base then says what the adapter says | "
        "what they change by the whole change |",
        "|---|---|---|---|---|",
    ]
    for adapter in CAUSED:
        orders = rank(backend, adapter, ranked_on)
        every = sorted(next(iter(orders.values())))
        chance = np.random.default_rng(0)
        chosen: dict[str, Callable[[], list[tuple[int, int]]]] = {
            name: lambda order=order: order[:FORCED] for name, order in orders.items()
        }
        chosen["at random, others in every scene"] = lambda every=every, chance=chance: [
            every[each] for each in chance.choice(len(every), FORCED, replace=False)
        ]
        turned: dict[str, list[bool]] = {name: [] for name in chosen}
        parts: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
        for drawn in targets(adapter):
            request = Request(drawn.image, PROMPT, adapters=(None, adapter), max_new_tokens=1)
            try:
                for name, choose in chosen.items():
                    found = backend.explain(request, AttributionOptions(outcome="margin", heads=choose()))
                    assert found.says_together is not None
                    turned[name].append(found.says_together[0] == found.says[1])
                    parts[name].append((found.together, found.total))
            except SelectionError:  # both say the same
                continue
            if len(turned[name]) == count:
                break
        for name in chosen:
            heads = "–" if name not in orders else " ".join(f"{layer}/{head}" for layer, head in orders[name][:FORCED])
            changes, totals = np.array(parts[name]).T
            low, high = interval(changes, totals)
            part = f"{changes.sum() / totals.sum():.1%} ({low:.1%} … {high:.1%})"
            lines.append(f"| `{adapter}` | {name} | {heads} | {counted(turned[name])} | {part} |")
    return "\n".join([*lines, "", f"Ranked on {ranked_on} scenes, forced on {count} others, of each adapter."])


# knockout of the target's box


def knockout_table(backend: Backend, count: int) -> str:
    lines = [
        "| adapter | its answer, nats: target's box | shifted boxes, mean | target's the lowest | boxes beside it | "
        "base's answer within 0.1 nat |",
        "|---|---|---|---|---|---|",
    ]
    for adapter in CAUSED:
        own, others, lowest, beside, base = [], [], [], [], []
        for drawn in islice(targets(adapter), count):
            grid, cells = touched(backend, drawn, WORDS[adapter][0])
            asked = Request(drawn.image, PROMPT, adapters=(adapter,), answer_from=adapter, max_new_tokens=1)
            found = backend.explain(asked, KnockoutOptions(cells))
            assert found.grid == grid
            own.append(found.changes[0])
            others.append(found.control_changes[:, 0].mean())
            lowest.append(found.rank(0) == 1)
            beside.append(len(found.control_changes))
            asked = Request(drawn.image, PROMPT, adapters=(None,), answer_from=None, max_new_tokens=1)
            found = backend.explain(asked, KnockoutOptions(cells, controls=0))
            base.append(abs(found.changes[0]) < 0.1)
        lines.append(
            f"| `{adapter}` | {np.mean(own):+.2f} | {np.mean(others):+.3f} | {counted(lowest)} | "
            f"{min(beside)}–{max(beside)} | {counted(base)} |"
        )
    return "\n".join([*lines, "", f"{count} scenes of each adapter."])


def touched(backend: Backend, drawn: Scene, word: str) -> tuple[tuple[int, int], list[int]]:
    """The grid in which the model sees a scene, and the cells that an object's box touches."""
    cell = backend.model_info().patch_size * backend.model_info().merge_size
    grid = round(drawn.size[0] / cell), round(drawn.size[1] / cell)
    return grid, np.flatnonzero(measures.cell_coverage(drawn.find(word).box, drawn.size, grid)).tolist()


def counted(hits: Sequence[bool]) -> str:
    """A part of all with Wilson's interval."""
    total, part = len(hits), float(np.mean(hits))
    z = 1.959964
    middle = (part + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(part * (1 - part) / total + z * z / (4 * total * total))
    return f"{part:.1%} ({max(0, middle - half):.1%} … {min(1, middle + half):.1%}) of {total}"


# the price


def price_table(pictures: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder, "model"), SHAPES["small"])
        write_adapters(Path(folder), Path(folder, "model"), 1)
        engine = open_engine(Path(folder, "model"), [Path(folder, "a0")], "cpu")
    tables = []
    for height, width in PRICED.values():
        questions = [question(height * width) for question in QUESTIONS.values()]
        prices = [priced(engine, picture(32 * height, 32 * width, seed), questions) for seed in range(pictures)]
        tables.append(np.median(prices, axis=0))  # (1 + questions, 2)
    titles = " | ".join(f"{tokens:,}: time | memory" for tokens in PRICED)
    lines = [f"| image tokens | replays | {titles} |", "|---|---|" + "---|---|" * len(tables)]
    whole = " | ".join(f"{seconds:.2f} s | {held / MIB:.0f} MiB" for (seconds, held), *_ in tables)
    lines.append(f"| the comparison | – | {whole} |")
    for row, (name, question) in enumerate(zip(QUESTIONS, questions, strict=True), 1):
        ratios = [each[row] / each[0] for each in tables]
        cells = " | ".join(f"{seconds:.2f} × | {held:.2f} ×" for seconds, held in ratios)
        lines.append(f"| {name} | {question.replays(engine.model_info, 2)} | {cells} |")
    return "\n".join(lines)


def priced(engine: Engine, image: Image.Image, questions: Sequence[Question[Explanation]]) -> list[tuple[float, int]]:
    """Seconds, and most bytes beyond what was held before, of a comparison and of each question after it."""
    request = Request(image, PROMPT, adapters=(None, "a0"))
    engine.cache.clear()
    works: list[Callable[[], Any]] = [lambda: engine.compare(request)]
    works += [lambda question=question: engine.explain(request, question) for question in questions]
    found, before = [], None
    for work in works:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        with Memory(engine) as memory:
            begin = time.perf_counter()
            work()
            seconds = time.perf_counter() - begin
        before = memory.peak - memory.extra if before is None else before
        found.append((seconds, memory.peak - before))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--ranked", type=int, default=30, help="scenes on which heads are ranked")
    parser.add_argument("--pictures", type=int, default=5, help="pictures per size whose price is taken")
    tables = ("shares", "heads", "knockout", "price")
    parser.add_argument("--only", nargs="*", choices=tables, default=tables, help="which tables")
    given = parser.parse_args()
    opened = open_backend("local", model="demo")
    wanted: dict[str, Callable[[], str]] = {
        "shares": lambda: shares_table([measure(opened, adapter, given.scenes) for adapter in WORDS]),
        "heads": lambda: heads_table(opened, given.scenes, given.ranked),
        "knockout": lambda: knockout_table(opened, given.scenes),
        "price": lambda: price_table(given.pictures),
    }
    for each in given.only:
        print(wanted[each](), end="\n\n", flush=True)
    opened.close()
