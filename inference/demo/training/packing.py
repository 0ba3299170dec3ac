"""Drawn pictures as batches: questions and answers beside one image, laid out as the model takes them.

Every image is asked several things at once: the texts are *branches* that share the image's prefix. A branch sees the
prefix and itself, at the positions it would have alone, so a branch is trained exactly as it is later used.

This file must not know what is asked (`branches.py`), nor losses.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from inference.demo.screens import Screen, middle
from inference.demo.tokenizer import DEFAULT_SYSTEM, NOTHING, one_token
from inference.demo.training.branches import Branch, scene_branches, screen_branches
from inference.demo.training.checkpoint import CELL, MERGE_SIZE, PATCH_SIZE
from inference.demo.training.curriculum import Drawn, Stage
from inference.demo.world import COLOURS, SHAPES, Box, Scene

#: The label of a token that is not to be learned.
IGNORED: Final = -100

_MIN_COVERAGE: Final = 0.08  # share of a cell that an object must cover for the cell to be named after it
_MIN_PLATE_COVERAGE: Final = 0.2  # the same for a button, whose plate is larger than its sign


@dataclass(frozen=True, slots=True)
class Packed:
    """One batch as the model takes it; B images, S tokens, N patches per image, C cells per image.

    Attributes:
        patches: `(B * N, 1536)` float32.
        grid_thw: `(B, 3)` patches along time, height, width.
        ids: `(B, S)`.
        labels: `(B, S)`, the id where a token is to be learned, −100 elsewhere.
        weights: `(B, S)` float32, what that token weighs in the loss.
        segment: `(B, S)`, 0 for the shared prefix, 1 … for its branches, −1 for padding.
        position_ids: `(3, B, S)`.
        cell_colours: `(B, C)` id of the colour word of each cell.
        cell_shapes: `(B, C)` id of its shape word.
        cell_places: `(B, C, 2)`, first digit of x and of y, in thousandths of width and height, of the middle of what
            covers each cell, or of the cell itself where nothing does: 0–9.
    """

    patches: Tensor
    grid_thw: Tensor
    ids: Tensor
    labels: Tensor
    weights: Tensor
    segment: Tensor
    position_ids: Tensor
    cell_colours: Tensor
    cell_shapes: Tensor
    cell_places: Tensor

    def to(self, device: torch.device) -> "Packed":
        """The same batch on another device."""
        return Packed(*(getattr(self, name).to(device) for name in self.__slots__))


class Packer:
    """Turns drawn scenes into packed batches with one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Args: tokenizer: The embedded model's tokenizer."""
        self._encode = functools.cache(lambda text: tuple(tokenizer.encode(text, add_special_tokens=False)))
        self._image = one_token(tokenizer, "<|image_pad|>")
        self._pad = one_token(tokenizer, "<|endoftext|>")
        self.colour_ids = tuple(one_token(tokenizer, word) for word in (*COLOURS, NOTHING))
        self.shape_ids = tuple(one_token(tokenizer, word) for word in (*SHAPES, NOTHING))
        self.digit_ids = tuple(one_token(tokenizer, digit) for digit in "0123456789")

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
        length = len(prefix) + max(sum(len(branch.ids) for branch in branches) for branches in texts)

        ids = np.full((images, length), self._pad, dtype=np.int64)
        labels = np.full((images, length), IGNORED, dtype=np.int64)
        weights = np.zeros((images, length), dtype=np.float32)
        segment = np.full((images, length), -1, dtype=np.int64)
        position = np.zeros((3, images, length), dtype=np.int64)
        ids[:, : len(prefix)] = prefix
        segment[:, : len(prefix)] = 0
        position[:, :, : len(prefix)] = places[:, None, :]
        for image, branches in enumerate(texts):
            at = len(prefix)
            for number, branch in enumerate(branches, start=1):
                end, learned = at + len(branch.ids), len(branch.weights)
                ids[image, at:end] = branch.ids
                labels[image, end - learned : end] = branch.ids[len(branch.ids) - learned :]
                weights[image, end - learned : end] = branch.weights
                segment[image, at:end] = number
                position[:, image, at:end] = places[0, -1] + 1 + np.arange(len(branch.ids))
                at = end
        cells = _cells(drawn.scenes, rows, columns)
        return Packed(
            patches=patchify(drawn.pixels),
            grid_thw=torch.tensor([[1, rows * MERGE_SIZE, columns * MERGE_SIZE]] * images),
            ids=torch.from_numpy(ids),
            labels=torch.from_numpy(labels),
            weights=torch.from_numpy(weights),
            segment=torch.from_numpy(segment),
            position_ids=torch.from_numpy(position),
            cell_colours=torch.from_numpy(cells.colours),
            cell_shapes=torch.from_numpy(cells.shapes),
            cell_places=torch.from_numpy(cells.places),
        )

    def _branches(self, of: Scene | Screen, stage: Stage, rng: np.random.Generator) -> list[Branch]:
        if isinstance(of, Scene):
            return scene_branches(of, stage, self._encode, rng)
        if stage.screens is None:
            raise ValueError(f"stage {stage.name!r} has no lesson for screens, but a batch with a screen was drawn")
        return screen_branches(of, stage.screens, self._encode, rng)


def coverage(box: Box, size: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Share (0–1) of each cell of a grid that a box covers.

    Args:
        box: in pixels of an image of `size`.
        size: `(height, width)` in pixels.
        grid: `(grid_h, grid_w)`; cells map to pixels by fraction, whatever size the model saw.

    Returns:
        `(grid_h, grid_w)`.
    """
    top, left, bottom, right = box
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


@dataclass(frozen=True, slots=True)
class _Cells:
    """The truth of each cell; see `Packed`."""

    colours: NDArray[np.int64]
    shapes: NDArray[np.int64]
    places: NDArray[np.int64]


def _cells(drawn: Sequence[Scene | Screen], rows: int, columns: int) -> _Cells:
    """Colour, shape and place of the object or button that covers most of each cell; without one, "nothing"."""
    colours = np.full((len(drawn), rows, columns), len(COLOURS), dtype=np.int64)
    shapes = np.full((len(drawn), rows, columns), len(SHAPES), dtype=np.int64)
    y, x = np.indices((rows, columns))
    own = np.stack([(2 * x + 1) * 5 // columns, (2 * y + 1) * 5 // rows], axis=-1).astype(np.int64)
    places = np.repeat(own[None], len(drawn), axis=0)
    words = list(COLOURS)
    for index, one in enumerate(drawn):
        items = one.objects if isinstance(one, Scene) else one.buttons
        best = np.full((rows, columns), _MIN_COVERAGE if isinstance(one, Scene) else _MIN_PLATE_COVERAGE)
        for item in items:
            share = coverage(item.box, one.size, (rows, columns))
            mine = share > best
            best[mine] = share[mine]
            colours[index][mine] = words.index(item.colour)
            shapes[index][mine] = SHAPES.index(item.shape)
            places[index][mine] = [part // 100 for part in middle(item.box, one.size)]
    images = len(drawn)
    return _Cells(colours.reshape(images, -1), shapes.reshape(images, -1), places.reshape(images, -1, 2))


def _prefix_positions(before: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Qwen3-VL's positions of text, image, one end token: `(3, before + rows * columns + 1)`."""
    text = np.broadcast_to(np.arange(before), (3, before))
    y, x = np.divmod(np.arange(rows * columns), columns)
    image = before + np.stack([np.zeros_like(y), y, x])
    end = np.full((3, 1), before + max(rows, columns))
    return np.concatenate([text, image, end], axis=1)
