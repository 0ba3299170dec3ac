"""What the embedded model is taught, in which order, and one optimisation step of it.

The stages and why they are needed (question and answer sentences from the start stay at chance: *binding* a colour to
the shape it belongs to is the hard part):

1. `words`: an auxiliary loss alone. Each image token, read through the model's own word embedding, should name the
   colour and the shape of the object that covers its cell. Vision and language then share words before they meet.
2. `pairs`: a colour word right after the image is followed by that object's shape, a shape word by its colour.
3. `questions`: question sentences in the chat layout, and "Describe the image." for the largest object.
4. `polish`: the same with more four-object scenes, while the learning rate falls.

Every image is asked several things at once: the texts are *branches* that share the image's prefix. A branch sees the
prefix and itself, at the positions it would have alone, so a branch is trained exactly as it is later used.

This file must not know where weights are saved or how they are scored.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from inference.demo.tokenizer import DEFAULT_SYSTEM, NOTHING, one_token
from inference.demo.training.checkpoint import CELL, MERGE_SIZE, PATCH_SIZE
from inference.demo.world import COLOURS, PROMPTS, SHAPES, Kind, Scene, SceneObject, ask, scene

#: Image-token grids (height, width) of the first stage: 160 × 160 to 192 × 192 pixels.
SMALL_GRIDS: Final = ((5, 5), (5, 6), (6, 5), (6, 6))
#: Grids of the later stages, small ones more often because steps with them are cheap: up to 256 × 352 pixels.
GRIDS: Final = (*SMALL_GRIDS, (5, 7), (7, 5), (6, 8), (8, 6), (7, 7), (5, 9), (8, 7), (7, 9), (9, 7), (8, 8), (8, 11))

#: Steps over which each stage's learning rate rises from 0.
WARMUP: Final = 50

_T = TypeVar("_T")
_IGNORED: Final = -100
_MIN_COVERAGE: Final = 0.08  # share of a cell that an object must cover for the cell to be named after it


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
    scenes: tuple[Scene, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """One batch as the model takes it; B images, S tokens, N patches per image, C cells per image.

    Attributes:
        patches: `(B * N, 1536)` float32.
        grid_thw: `(B, 3)` patches along time, height, width.
        ids: `(B, S)`.
        labels: `(B, S)`, the id where a token is to be learned, −100 elsewhere.
        segment: `(B, S)`, 0 for the shared prefix, 1 … for its branches, −1 for padding.
        position_ids: `(3, B, S)`.
        cell_colours: `(B, C)` id of the colour word of each cell.
        cell_shapes: `(B, C)` id of its shape word.
    """

    patches: Tensor
    grid_thw: Tensor
    ids: Tensor
    labels: Tensor
    segment: Tensor
    position_ids: Tensor
    cell_colours: Tensor
    cell_shapes: Tensor

    def to(self, device: torch.device) -> "Packed":
        """The same batch on another device."""
        return Packed(*(getattr(self, name).to(device) for name in self.__slots__))


def draw(seeds: Sequence[int], stage: Stage) -> Drawn:
    """Draw one batch of scenes; the first seed decides the grid.

    Half of the scenes are drawn at a size that is no multiple of the cell and resized, as a person's photo would be.
    """
    rng = np.random.default_rng(list(seeds))
    rows, columns = stage.grids[_pick(rng, [1.0] * len(stage.grids))]
    pixels = np.empty((len(seeds), rows * CELL, columns * CELL, 3), dtype=np.uint8)
    scenes = []
    for index, seed in enumerate(seeds):
        count = 1 + _pick(rng, stage.counts)
        off = rng.integers(-15, 16, 2) if rng.integers(2) else (0, 0)
        wanted = (stage.target,) if stage.target is not None and rng.random() < stage.presence else ()
        drawn = scene(seed, count, (rows * CELL + int(off[0]), columns * CELL + int(off[1])), wanted)
        pixels[index] = np.asarray(drawn.image.resize((columns * CELL, rows * CELL), Image.Resampling.BICUBIC))
        scenes.append(drawn)
    return Drawn(pixels, tuple(scenes))


def batches(stage: Stage, first_seed: int, workers: int) -> Iterator[Drawn]:
    """The pictures of every step of a stage, drawn ahead in other processes.

    Args:
        stage: whose steps.
        first_seed: seed of the stage's first picture; each picture takes the next.
        workers: processes that draw; 0 draws in this one.
    """
    starts = range(first_seed, first_seed + stage.steps * stage.batch, stage.batch)
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


@dataclass(frozen=True, slots=True)
class VisionFeatures:
    """What the vision tower makes of a batch: `(B * C, width)` each.

    Attributes:
        merged: the features that stand in for the image tokens.
        deepstack: the ones added to them in the first language layers.
    """

    merged: Tensor
    deepstack: tuple[Tensor, ...]


class Packer:
    """Turns drawn scenes into packed batches with one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Args: tokenizer: The embedded model's tokenizer."""
        self._encode = functools.cache(lambda text: tuple(tokenizer.encode(text, add_special_tokens=False)))
        self._image = one_token(tokenizer, "<|image_pad|>")
        self._pad = one_token(tokenizer, "<|endoftext|>")
        self.colour_ids = tuple(one_token(tokenizer, word) for word in (*COLOURS, NOTHING))
        self.shape_ids = tuple(one_token(tokenizer, word) for word in (*SHAPES, NOTHING))

    def pack(self, drawn: Drawn, stage: Stage, rng: np.random.Generator) -> Packed:
        """Ask each scene what the stage asks, in random wordings.

        Args:
            drawn: pictures and their truth.
            stage: what is asked.
            rng: chooses objects, wordings and the system turn.
        """
        images, height, width, _ = drawn.pixels.shape
        rows, columns = height // CELL, width // CELL
        head = f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>\n" if rng.integers(8) == 0 else ""
        before = self._encode(f"{head}<|im_start|>user\n<|vision_start|>")
        prefix = (*before, *[self._image] * (rows * columns), *self._encode("<|vision_end|>"))
        places = _prefix_positions(len(before), rows, columns)
        texts = [self._branches(one, stage, rng) for one in drawn.scenes]
        length = len(prefix) + max(sum(len(ids) for ids, _ in branches) for branches in texts)

        ids = np.full((images, length), self._pad, dtype=np.int64)
        labels = np.full((images, length), _IGNORED, dtype=np.int64)
        segment = np.full((images, length), -1, dtype=np.int64)
        position = np.zeros((3, images, length), dtype=np.int64)
        ids[:, : len(prefix)] = prefix
        segment[:, : len(prefix)] = 0
        position[:, :, : len(prefix)] = places[:, None, :]
        for image, branches in enumerate(texts):
            at = len(prefix)
            for number, (branch, learned) in enumerate(branches, start=1):
                end = at + len(branch)
                ids[image, at:end] = branch
                labels[image, end - learned : end] = branch[len(branch) - learned :]
                segment[image, at:end] = number
                position[:, image, at:end] = places[0, -1] + 1 + np.arange(len(branch))
                at = end
        cell_colours, cell_shapes = self._cells(drawn.scenes, rows, columns)
        return Packed(
            patches=patchify(drawn.pixels),
            grid_thw=torch.tensor([[1, rows * MERGE_SIZE, columns * MERGE_SIZE]] * images),
            ids=torch.from_numpy(ids),
            labels=torch.from_numpy(labels),
            segment=torch.from_numpy(segment),
            position_ids=torch.from_numpy(position),
            cell_colours=torch.from_numpy(cell_colours),
            cell_shapes=torch.from_numpy(cell_shapes),
        )

    def _branches(self, of: Scene, stage: Stage, rng: np.random.Generator) -> list[tuple[tuple[int, ...], int]]:
        """Token ids of each branch and how many of its last ones are learned."""
        branches = []
        asked = [(item, way) for item in of.objects for way in (0, 1)]
        for item, way in _some(rng, asked, stage.pairs):
            first, second = (item.colour, item.shape) if way else (item.shape, item.colour)
            branches.append((self._encode(f"{first} {second}"), 1))
        for item, way in _some(rng, asked, stage.questions):
            branches.append(self._dialogue(of, "shape" if way else "colour", item, rng))
        named = next((item for item in of.objects if stage.target in (item.colour, item.shape)), of.largest)
        for wording in rng.permutation(len(PROMPTS["describe"]))[: stage.describes]:
            branches.append(self._dialogue(of, "describe", named, rng, int(wording)))
        return branches

    def _dialogue(
        self, of: Scene, kind: Kind, item: SceneObject, rng: np.random.Generator, wording: int | None = None
    ) -> tuple[tuple[int, ...], int]:
        chosen = int(rng.integers(len(PROMPTS[kind]))) if wording is None else wording
        question = ask(of, kind, item, chosen)
        answer = self._encode(f"{question.answer}<|im_end|>")
        return (*self._encode(f"{question.prompt}<|im_end|>\n<|im_start|>assistant\n"), *answer), len(answer)

    def _cells(self, scenes: Sequence[Scene], rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Colour and shape word of the object that covers most of each cell, by index; the last is "nothing"."""
        colours = np.full((len(scenes), rows, columns), len(COLOURS), dtype=np.int64)
        shapes = np.full((len(scenes), rows, columns), len(SHAPES), dtype=np.int64)
        words = list(COLOURS)
        for index, one in enumerate(scenes):
            best = np.full((rows, columns), _MIN_COVERAGE)
            for item in one.objects:
                share = coverage(item, one.size, (rows, columns))
                mine = share > best
                best[mine] = share[mine]
                colours[index][mine] = words.index(item.colour)
                shapes[index][mine] = SHAPES.index(item.shape)
        return colours.reshape(len(scenes), -1), shapes.reshape(len(scenes), -1)


def coverage(item: SceneObject, size: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Share (0–1) of each cell of a grid that an object's box covers.

    Args:
        item: the object, its box in pixels of an image of `size`.
        size: `(height, width)` in pixels.
        grid: `(grid_h, grid_w)`; cells map to pixels by fraction, whatever size the model saw.

    Returns:
        `(grid_h, grid_w)`.
    """
    top, left, bottom, right = item.box
    along = []
    for low, high, pixels, cells in ((top, bottom, size[0], grid[0]), (left, right, size[1], grid[1])):
        edges = np.arange(cells + 1) * (pixels / cells)
        covered = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
        along.append(np.clip(covered, 0, None) / (pixels / cells))
    return np.outer(along[0], along[1])


def patchify(pixels: NDArray[np.uint8]) -> Tensor:
    """Image batch to the rows that Qwen3-VL's image processor makes of it.

    Args:
        pixels: `(images, height, width, 3)` uint8, sides multiples of a cell.

    Returns:
        `(images * patches, 3 * 2 * 16 * 16)` float32 in −1 … 1, patches in merge-block order.
    """
    images, height, width, _ = pixels.shape
    p, m = PATCH_SIZE, MERGE_SIZE
    scaled = torch.from_numpy(pixels).to(torch.float32) / 127.5 - 1
    blocks = scaled.view(images, height // CELL, m, p, width // CELL, m, p, 3)
    blocks = blocks.permute(0, 1, 4, 2, 5, 7, 3, 6)  # image, block row, block column, row, column, channel, y, x
    rows = blocks.reshape(-1, 3, 1, p * p).expand(-1, -1, 2, -1)  # a still image is two equal frames
    return rows.reshape(-1, 3 * 2 * p * p)


def loss(core: Qwen3VLForConditionalGeneration, batch: Packed, packer: Packer, stage: Stage) -> Tensor:
    """The stage's loss on one batch: cross-entropy of the answers plus the weighted auxiliary loss.

    Args:
        core: the model, prepared by `quicken`; adapters that PEFT put into it are part of it.
        batch: on the model's device.
        packer: whose word ids the auxiliary loss reads.
        stage: gives the weights.
    """
    vision = vision_features(core, batch)
    total = batch.patches.new_zeros(())
    if stage.naming:
        total = total + stage.naming * _naming_loss(core, vision.merged, batch, packer)
    if stage.pairs or stage.questions or stage.describes:
        logits, wanted = answer_logits(core, vision, batch)
        total = total + functional.cross_entropy(logits, wanted)
    return total


def vision_features(core: Qwen3VLForConditionalGeneration, batch: Packed) -> VisionFeatures:
    """Run the vision tower, prepared by `quicken`, on a whole batch at once."""
    patches = batch.patches.shape[0]
    features = core.model.visual(
        batch.patches,
        grid_thw=batch.grid_thw,
        cu_seqlens=torch.tensor([0, patches], dtype=torch.int32, device=batch.patches.device),
        patches_per_image=patches // batch.grid_thw.shape[0],
    )
    return VisionFeatures(features.pooler_output, tuple(features.deepstack_features))


def answer_logits(
    core: Qwen3VLForConditionalGeneration, vision: VisionFeatures, batch: Packed
) -> tuple[Tensor, Tensor]:
    """Logits of every learned token and the ids they should name: `(learned, vocabulary)` and `(learned,)`."""
    counts = (batch.grid_thw.prod(-1) // MERGE_SIZE**2).tolist()
    split: Any = BaseModelOutputWithDeepstackFeatures()  # its fields are annotated otherwise than they are used
    split.pooler_output = torch.split(vision.merged, counts)
    split.deepstack_features = [torch.split(part, counts) for part in vision.deepstack]
    hidden = core.model(
        input_ids=batch.ids,
        position_ids=batch.position_ids,
        attention_mask=_branch_mask(batch.segment),
        mm_encoder_outputs={"image": split},
        use_cache=False,
    ).last_hidden_state
    learned = batch.labels[:, 1:] != _IGNORED
    return core.lm_head(hidden[:, :-1][learned]), batch.labels[:, 1:][learned]


def quicken(core: Qwen3VLForConditionalGeneration) -> None:
    """Make the model's training steps faster without changing what it computes.

    Vision attention over equally large images becomes one batched call, and the patch embedding, a convolution whose
    stride is its kernel, the matrix product that it is (its backward pass is ten times faster on a CPU).
    """
    core.model.visual.patch_embed.proj.__class__ = _ConvolutionAsProduct
    AttentionInterface.register("equal_images", _equal_images_attention)
    core.set_attn_implementation({"text_config": "sdpa", "vision_config": "equal_images"})


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up over `WARMUP` steps, then a cosine from `peak` to `final`."""
    if step < WARMUP:
        return stage.peak * (step + 1) / WARMUP
    return stage.final + (stage.peak - stage.final) * 0.5 * (1 + math.cos(math.pi * step / stage.steps))


class _ConvolutionAsProduct(nn.Conv3d):
    """A convolution of exactly one kernel's size, computed as a matrix product with the same parameters."""

    def forward(self, input: Tensor) -> Tensor:
        product = functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def _draw_from(start: int, stage: Stage) -> Drawn:
    return draw(range(start, start + stage.batch), stage)


def _pick(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """An index, drawn in proportion to the weights."""
    edges = np.cumsum(weights)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def _some(rng: np.random.Generator, items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` different items in random order."""
    return [items[index] for index in rng.permutation(len(items))[:count]]


def _prefix_positions(before: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Qwen3-VL's positions of text, image, one end token: `(3, before + rows * columns + 1)`."""
    text = np.broadcast_to(np.arange(before), (3, before))
    y, x = np.divmod(np.arange(rows * columns), columns)
    image = before + np.stack([np.zeros_like(y), y, x])
    end = np.full((3, 1), before + max(rows, columns))
    return np.concatenate([text, image, end], axis=1)


def _branch_mask(segment: Tensor) -> Tensor:
    """`(B, 1, S, S)` boolean: a token sees earlier tokens of the prefix and of its own branch."""
    length = segment.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    related = (segment[:, None, :] == 0) | (segment[:, :, None] == segment[:, None, :])
    return (related & earlier)[:, None]


def _naming_loss(core: Qwen3VLForConditionalGeneration, features: Tensor, batch: Packed, packer: Packer) -> Tensor:
    """Each image token, normalised and read through the word embedding, names the colour and shape in its cell.

    Args:
        core: whose final norm and tied embedding are used.
        features: `(B * C, width)`, the vision tower's merged features.
        batch: the truth per cell.
        packer: the ids of the words.
    """
    normed = core.model.language_model.norm(features)
    total = features.new_zeros(())
    for words, truth in ((packer.colour_ids, batch.cell_colours), (packer.shape_ids, batch.cell_shapes)):
        wanted = truth.reshape(-1)
        scores = normed @ core.lm_head.weight[list(words)].T
        weight = scores.new_ones(len(words))
        weight[-1] = 0.15  # most cells show nothing
        total = total + functional.cross_entropy(scores, wanted, weight=weight)
    return total


def _equal_images_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    patches_per_image: int,
    **_: object,
) -> tuple[Tensor, None]:
    """Vision attention over images of one size as one batched call: `(1, heads, images * patches, dim)` each."""
    del module, attention_mask

    def apart(tensor: Tensor) -> Tensor:
        heads, dim = tensor.shape[1], tensor.shape[3]
        return tensor.reshape(heads, -1, patches_per_image, dim).transpose(0, 1)

    mixed = functional.scaled_dot_product_attention(apart(query), apart(key), apart(value), scale=scaling)
    images, heads, patches, dim = mixed.shape
    return mixed.transpose(1, 2).reshape(1, images * patches, heads, dim), None
