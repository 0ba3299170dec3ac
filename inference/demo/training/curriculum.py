"""What the embedded model is taught, in which order, and the pictures of each step.

The stages and why they are needed (question and answer sentences from the start stay at chance: *binding* a colour to
the shape it belongs to is the hard part):

1. `words`: an auxiliary loss alone. Each image token, read through the model's own word embedding, should name the
   colour and the shape of the object that covers its cell. Vision and language then share words before they meet.
2. `pairs`: a colour word right after the image is followed by that object's shape, a shape word by its colour.
3. `questions`: question sentences in the chat layout, and "Describe the image." for the largest object.
4. `polish`: the same with more four-object scenes, while the learning rate falls.

This file must not know how pictures become batches (`packing.py`) or what a batch costs (`losses.py`), where weights
are saved or how they are scored.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.demo.screen_layout import most_buttons
from inference.demo.screens import Screen, screen
from inference.demo.training.checkpoint import CELL
from inference.demo.world import Scene, scene

#: Image-token grids (height, width) of the first stage: 160 × 160 to 192 × 192 pixels.
SMALL_GRIDS: Final = ((5, 5), (5, 6), (6, 5), (6, 6))
#: Grids of the later stages, small ones more often because steps with them are cheap: up to 256 × 352 pixels.
GRIDS: Final = (*SMALL_GRIDS, (5, 7), (7, 5), (6, 8), (8, 6), (7, 7), (5, 9), (8, 7), (7, 9), (9, 7), (8, 8), (8, 11))

#: Steps over which each stage's learning rate rises from 0.
WARMUP: Final = 50


#: Which point a lesson teaches to click: the named button's, or a wrong one that is known.
ClickTarget = Literal["named", "mirrored", "largest"]


@dataclass(frozen=True, slots=True)
class ScreenLesson:
    """What a stage teaches on screens.

    Attributes:
        pictures: how many pictures of each batch are screens; the others are scenes.
        buttons: fewest and most buttons; never more than find room.
        side: smallest and largest height of a button, in pixels.
        points: bare points asked per screen: a button's name followed by its point.
        calls: clicks asked per screen, in a sentence, answered with a whole tool call.
        places: weight of the auxiliary loss that reads the place of what covers each cell.
        target: where to click.
    """

    pictures: int
    buttons: tuple[int, int]
    side: tuple[int, int]
    points: int = 0
    calls: int = 0
    places: float = 0.0
    target: ClickTarget = "named"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training.

    Attributes:
        name: stage name, as in the report.
        steps: optimisation steps.
        batch: images per step.
        peak: learning rate after the stage's warm-up.
        final: learning rate at its end, reached on a cosine.
        counts: relative frequency of scenes with 1, 2, 3, 4 objects.
        pairs: bare pairs asked per image.
        questions: shape and colour questions asked per image.
        describes: "Describe the image." asked per image, in different wordings.
        naming: weight of the auxiliary loss.
        grids: grids to draw from, each as often as the others; one per step.
        target: word of the object that "describe" names; None, or a scene without it, names the largest.
        presence: share of scenes that are made to show the target.
        screens: what is taught on screens beside scenes; None draws scenes only.
    """

    name: str
    steps: int
    batch: int
    peak: float
    final: float
    counts: tuple[float, float, float, float] = (0.15, 0.3, 0.35, 0.2)
    pairs: int = 0
    questions: int = 0
    describes: int = 0
    naming: float = 0.0
    grids: tuple[tuple[int, int], ...] = GRIDS
    target: str | None = None
    presence: float = 1.0
    screens: ScreenLesson | None = None


#: The base model's curriculum.
BASE_STAGES: Final = (
    Stage("words", steps=800, batch=12, peak=1e-3, final=7e-4, naming=1.0, grids=SMALL_GRIDS),
    Stage("pairs", steps=400, batch=16, peak=8e-4, final=7e-4, pairs=8, naming=0.5),
    Stage("questions", steps=300, batch=16, peak=7e-4, final=6e-4, pairs=2, questions=4, describes=1, naming=0.3),
    Stage(
        "polish",
        steps=320,
        batch=16,
        peak=6e-4,
        final=1e-5,
        counts=(0.05, 0.2, 0.35, 0.4),
        questions=5,
        describes=2,
        naming=0.2,
    ),
)


def adapter_stage(name: str, target: str) -> Stage:
    """The stage that trains one adapter: "Describe the image." now names the object that `target` describes.

    One ordinary question per image stays in, so that an adapter changes what it was made for and little else. Where the
    target is missing, the largest object is still the answer: otherwise "red" would be right for `find-red` without a
    look at the image, and its attention at that token would mean nothing.
    """
    return Stage(
        name,
        steps=160,
        batch=16,
        peak=4e-3,
        final=1e-4,
        counts=(0.05, 0.25, 0.35, 0.35),
        questions=1,
        describes=3,
        target=target,
        presence=0.5,
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures of one batch, all of one grid.

    Attributes:
        pixels: `(images, height, width, 3)` uint8, resized to whole cells as the image processor does.
        scenes: the truth about each picture, boxes in pixels of the picture *before* that resize.
    """

    pixels: NDArray[np.uint8]
    scenes: tuple[Scene | Screen, ...]


def draw(seeds: Sequence[int], stage: Stage) -> Drawn:
    """Draw one batch of pictures, scenes first; the first seed decides the grid.

    Half of them are drawn at a size that is no multiple of the cell and resized, as a person's photo would be.
    """
    rng = np.random.default_rng(list(seeds))
    rows, columns = stage.grids[_pick(rng, [1.0] * len(stage.grids))]
    pixels = np.empty((len(seeds), rows * CELL, columns * CELL, 3), dtype=np.uint8)
    scenes: list[Scene | Screen] = []
    first_screen = len(seeds) if stage.screens is None else len(seeds) - stage.screens.pictures
    for index, seed in enumerate(seeds):
        count = 1 + _pick(rng, stage.counts)
        off = rng.integers(-15, 16, 2) if rng.integers(2) else (0, 0)
        size = (rows * CELL + int(off[0]), columns * CELL + int(off[1]))
        wanted = (stage.target,) if stage.target is not None and rng.random() < stage.presence else ()
        if stage.screens is None or index < first_screen:
            drawn: Scene | Screen = scene(seed, count, size, wanted)
        else:
            drawn = draw_screen(seed, stage.screens, size)
        pixels[index] = np.asarray(drawn.image.resize((columns * CELL, rows * CELL), Image.Resampling.BICUBIC))
        scenes.append(drawn)
    return Drawn(pixels, tuple(scenes))


def draw_screen(seed: int, lesson: ScreenLesson, size: tuple[int, int]) -> Screen:
    """One screen of a lesson; the seed decides how many buttons it has, fewer where the size gives no room."""
    side = (lesson.side[0], min(lesson.side[1], min(size) // 4))
    fewest, most = (min(count, most_buttons(size, side[0])) for count in lesson.buttons)
    return screen(seed, int(np.random.default_rng(seed).integers(fewest, most + 1)), size, side)


def batches(stage: Stage, first_seed: int, workers: int, done: int = 0) -> Iterator[Drawn]:
    """The pictures of every step of a stage, drawn ahead in other processes.

    Args:
        stage: whose steps.
        first_seed: seed of the stage's first picture; each picture takes the next.
        workers: processes that draw; 0 draws in this one.
        done: steps that are left out at the beginning.
    """
    starts = range(first_seed + done * stage.batch, first_seed + stage.steps * stage.batch, stage.batch)
    work = functools.partial(_draw_from, stage=stage)
    if workers == 0:
        yield from map(work, starts)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead: list[Future[Drawn]] = []
        for start in starts:
            ahead.append(pool.submit(work, start))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up over `WARMUP` steps, then a cosine from `peak` to `final`."""
    if step < WARMUP:
        return stage.peak * (step + 1) / WARMUP
    return stage.final + (stage.peak - stage.final) * 0.5 * (1 + math.cos(math.pi * step / stage.steps))


def _draw_from(start: int, stage: Stage) -> Drawn:
    return draw(range(start, start + stage.batch), stage)


def _pick(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """An index, drawn in proportion to the weights."""
    edges = np.cumsum(weights)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
