"""Where the embedded model looks when it describes, through the engine: `python -m tests.where_it_looks`.

Held-out scenes of several sizes with 2–4 objects, one of them the target (the red object, or the circle), which is
never the largest. Neither training nor the choice has seen seeds of this range; the row after the image and the head
are the ones that the training's report chose on other scenes.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inference import Backend, Request, open_backend
from inference.demo import WEIGHTS_DIR
from inference.demo.world import Scene, SceneObject, scene
from visualize import Selection, measures, select
from visualize.numbers.views import VIEWS

FIRST_SEED = 5_000_000_000  # beyond the ranges of training, choice and score in inference.demo.training.localisation
SIZES = ((160, 160), (192, 256), (224, 224), (200, 310), (300, 210), (256, 320), (240, 180), (352, 256))
#: What an answer token rests on, and what cells say of it, are views of the answer alone.
OF_ANY_TOKEN = ("raw", "sink-masked", "contrast", "relative")
TARGETS = {"find-red": "red", "find-circle": "circle"}


@dataclass(frozen=True)
class Row:
    """Means over the scenes for one variant's head: what the table shows."""

    target: str
    variant: str
    token: str
    layer: int
    head: int
    pointing: float
    in_box: float
    ratio: float


@dataclass(frozen=True)
class ViewRow:
    """Means over the scenes for one view of one variant; `empty` maps had no value above 0: a miss, and no mass."""

    target: str
    view: str
    variant: str
    pointing: float
    in_box: float
    ratio: float
    empty: int


def scenes(word: str, count: int) -> Iterator[Scene]:
    """Scenes with 2, 3 and 4 objects in turn, exactly one of them `word`, and that one not the largest."""
    seed, found = FIRST_SEED, 0
    while found < count:
        drawn = scene(seed, 2 + found % 3, SIZES[found % len(SIZES)], (word,))
        seed += 1
        if target(drawn, word) is not max(drawn.objects, key=area):
            found += 1
            yield drawn


def target(drawn: Scene, word: str) -> SceneObject:
    (only,) = [each for each in drawn.objects if word in (each.colour, each.shape)]
    return only


def area(each: SceneObject) -> int:
    top, left, bottom, right = each.box
    return (bottom - top) * (right - left)


def chosen() -> dict[str, tuple[int, int, int]]:
    """(token after the image, layer, head) that training's report chose for each adapter."""
    report = json.loads((WEIGHTS_DIR / "report.json").read_text(encoding="utf-8"))
    return {each["adapter"]: (each["row"], each["layer"], each["head"]) for each in report["localisation"]}


def measure(backend: Backend, count: int) -> list[Row]:
    """Pointing game, in-box mass and attention ratio of base and adapter on the same head, and of a random cell."""
    rows = []
    for adapter, word in TARGETS.items():
        row, layer, head = chosen()[adapter]
        values: dict[str, list[tuple[float, float, float]]] = {"base": [], adapter: [], "a random cell": []}
        for drawn in scenes(word, count):
            box = target(drawn, word).box
            asked = Request(
                drawn.image, "Describe the image.", adapters=(None, adapter), max_new_tokens=1, focus=(row,)
            )
            comparison = backend.compare(asked)
            for variant in (None, adapter):
                heat = comparison.recording(variant).by_head[layer, head]
                values[variant or "base"].append(scores(heat, box, comparison.image_size))
            covered = measures.cell_coverage(box, comparison.image_size, comparison.grid)
            even = np.full(comparison.grid, 1 / covered.size, np.float32)
            in_box = measures.in_box_mass(even, box, comparison.image_size)
            values["a random cell"].append((float((covered > 0).mean()), in_box, 1.0))
        means = {variant: np.mean(each, axis=0).tolist() for variant, each in values.items()}
        token = comparison.tokens[row].text
        rows += [Row(word, variant, token, layer, head, *mean) for variant, mean in means.items()]
    return rows


def measure_views(backend: Backend, count: int) -> list[ViewRow]:
    """The same of each view that a word of the question has; of the mean over the layer's heads where it has none."""
    rows = []
    for adapter, word in TARGETS.items():
        row, layer, head = chosen()[adapter]
        values: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for drawn in scenes(word, count):
            box = target(drawn, word).box
            asked = Request(
                drawn.image,
                "Describe the image.",
                adapters=(None, adapter),
                max_new_tokens=1,
                views=("relative",),
                focus=(row,),
            )
            comparison = backend.compare(asked)
            for view in OF_ANY_TOKEN:
                selection = Selection(layer, row, head if VIEWS[view].heads else "mean", view)
                for variant in (None, adapter):
                    heat = select(comparison.recording(variant), selection)
                    found = scores(np.maximum(heat, 0), box, comparison.image_size)  # a contrast's gains alone
                    values.setdefault((view, variant or "base"), []).append(found)
        for (view, variant), each in values.items():
            empty = int(np.isnan(np.array(each)[:, 1]).sum())
            rows.append(ViewRow(word, view, variant, *np.nanmean(each, axis=0).tolist(), empty))
    return rows


def views_table(rows: list[ViewRow], count: int) -> str:
    lines = [
        f"{count} held-out scenes per target, by view; row, layer and head chosen on other scenes",
        "",
        "| target | view | variant | pointing game | in-box mass | attention ratio | empty maps |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.target} | {row.view} | {row.variant} | {row.pointing:.1%} | {row.in_box:.1%} | {row.ratio:.2f} "
        f"| {row.empty} |"
        for row in rows
    ]
    return "\n".join(lines)


def scores(heat: np.ndarray, box: tuple[int, int, int, int], image_size: tuple[int, int]) -> tuple[float, float, float]:
    return (
        float(measures.pointing_game(heat, box, image_size)),
        float(measures.in_box_mass(heat, box, image_size)),
        float(measures.attention_ratio(heat, box, image_size)),
    )


def table(rows: list[Row], count: int) -> str:
    lines = [
        f"{count} held-out scenes per target; row, layer and head chosen on other scenes",
        "",
        "| target | variant | row of | layer / head | pointing game | in-box mass | attention ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        place = "– | –" if row.variant == "a random cell" else f"`{row.token!r}` | {row.layer} / {row.head}"
        lines.append(
            f"| {row.target} | {row.variant} | {place} | {row.pointing:.1%} | {row.in_box:.1%} | {row.ratio:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--views", action="store_true", help="each view of such a row instead")
    given = parser.parse_args()
    wanted, opened = given.scenes, open_backend("local")
    print(views_table(measure_views(opened, wanted), wanted) if given.views else table(measure(opened, wanted), wanted))
