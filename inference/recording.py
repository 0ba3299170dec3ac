"""What one variant attended to, as a record checked where it is made; numpy only.

Axes have one order everywhere, `(tokens, layers, heads, grid_h, grid_w)`; axes may be missing, never swapped. Sizes are
`(height, width)`. Attention values are float32 shares of one query's attention, 0–1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inference.descriptions import ModelInfo
from inference.errors import CaptureError
from inference.image_maps import PER_IMAGE, ImageMaps, in_order, without

FloatArray = NDArray[np.float32]
Role = Literal["prompt", "template", "answer", "end"]
CapturePath = Literal["eager", "rows"]
ExtraView = Literal["relative", "gradient", "named"]
#: Columns of `Recording.group_share`.
GROUPS = ("image", "question", "template and system", "answer")


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the recorded sequence.

    Attributes:
        id: id in the model's vocabulary.
        text: the piece that decoding adds at this token: pieces joined give the text; empty while a character is
            incomplete.
        role: `"prompt"` (the person's words), `"template"`, `"answer"` or `"end"`.
        position: index in the model's input sequence.
        query: row shown for it: its own for prompt and template, `position − 1` (the row that predicts it) for answer
            and end.
    """

    id: int
    text: str
    role: Role
    position: int
    query: int

    def __post_init__(self) -> None:
        own = self.role in ("prompt", "template")
        if self.role not in get_args(Role) or self.query != self.position - (0 if own else 1):
            raise CaptureError(f"token {self.text!r} ({self.role}) at {self.position} cannot show row {self.query}.")


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What one variant attended to. Arrays are float32, shares of one query's attention, 0–1.

    Attributes:
        adapter: name, or None for the base model.
        answer: the text this variant wrote itself; None where an answer was given.
        answer_ids: its ids, end token included; empty where an answer was given.
        answer_pieces: the text that each of these adds, "" for an end token and within a character; joined they are the
            answer. Empty where an answer was given, or in a file of a version before 0.3.
        tokens: the recorded sequence, see `Comparison.tokens`.
        focus: indices into `tokens` that `by_head` averages.
        attention: `"eager"` or `"rows"`, the path that read it.
        logprobs: `(answer tokens,)`, natural log of the probability given to each replayed answer token (≤ 0).
        by_token: `(tokens, layers, grid_h, grid_w)`, mean over heads.
        by_head: `(layers, heads, grid_h, grid_w)`, mean over `focus`.
        group_share: `(tokens, layers, heads, 4)`, share on `GROUPS`; sums to 1. Of several images the first column is
            the one that is shown, and each other has a column after these, in order.
        background: `(layers, grid_h, grid_w)`, mean over heads and over the rows after the image that come before the
            shown answer: the prompt's and the template's but the last, which predicts the first answer token.
        background_low: the same shape, 10th percentile over those rows.
        background_rows: how many rows those are; see `background_of`.
        vision_received: `(vision_layers, patch_h, patch_w)`, mean over heads and queries, in image order; or None.
        general: `(layers, heads, grid_h, grid_w)`, the last row of the prompt "Write a general description of the
            image." in place of the person's words: what the relative view divides by (mllms_know, ICLR 2025, arXiv
            2502.17422); or None.
        gradient: `(layers, heads, grid_h, grid_w)`, the positive part of weight × ∂ logit of the token / ∂ weight, mean
            over `focus` (Chefer et al. 2021, arXiv 2103.15679), in logits; or None.
        named: `(grid_h, grid_w)`, the positive part of the token's logit, read from each image token's last hidden
            state, mean over `focus`: what the cell itself says (TAM, ICCV 2025, arXiv 2506.23270); or None.
        named_alone: the same with what earlier words say there taken off (its estimated causal inference); or None.
        elsewhere: maps on the other images of a conversation, in order; see `Comparison.showing`.

    Raises:
        CaptureError: shapes that disagree, a value that is not finite, shares that do not sum to 1.
    """

    adapter: str | None
    answer: str | None
    answer_ids: tuple[int, ...]
    tokens: tuple[Token, ...]
    focus: tuple[int, ...]
    attention: CapturePath
    logprobs: FloatArray = field(repr=False)
    by_token: FloatArray = field(repr=False)
    by_head: FloatArray = field(repr=False)
    group_share: FloatArray = field(repr=False)
    background: FloatArray = field(repr=False)
    background_low: FloatArray = field(repr=False)
    background_rows: int
    vision_received: FloatArray | None = field(default=None, repr=False)
    general: FloatArray | None = field(default=None, repr=False)
    gradient: FloatArray | None = field(default=None, repr=False)
    named: FloatArray | None = field(default=None, repr=False)
    named_alone: FloatArray | None = field(default=None, repr=False)
    answer_pieces: tuple[str, ...] = ()
    elsewhere: tuple[ImageMaps, ...] = ()

    def __post_init__(self) -> None:
        tokens, layers, height, width = self._axes()
        heads = self.by_head.shape[1]
        answers = sum(token.role in ("answer", "end") for token in self.tokens)
        for name, shape in {
            "logprobs": (answers,),
            "by_token": (len(self.tokens), layers, height, width),
            "by_head": (layers, heads, height, width),
            "group_share": (tokens, layers, heads, len(GROUPS) + len(self.elsewhere)),
            "background": (layers, height, width),
            "background_low": (layers, height, width),
        }.items():
            check_array(name, getattr(self, name), shape)
        for maps in self.elsewhere:
            grid = maps.by_token.shape[2:]
            check_array("by_token", maps.by_token, (tokens, layers, *grid))
            check_array("by_head", maps.by_head, (layers, heads, *grid))
            check_array("background", maps.background, (layers, *grid))
            check_array("background_low", maps.background_low, (layers, *grid))
        extra = {
            "general": (layers, heads, height, width),
            "gradient": (layers, heads, height, width),
            "named": (height, width),
            "named_alone": (height, width),
        }
        for name, shape in extra.items():
            if getattr(self, name) is not None:
                check_array(name, getattr(self, name), shape)
        if self.vision_received is not None:
            check_array("vision_received", self.vision_received, (self.vision_received.shape[0], *self._patches()))
        if len(self.answer_pieces) not in (0, len(self.answer_ids)):
            raise CaptureError(f"{len(self.answer_pieces)} answer_pieces do not fit {len(self.answer_ids)} answer_ids.")
        if not self.focus or not 0 <= min(self.focus) <= max(self.focus) < len(self.tokens):
            raise CaptureError(f"focus {self.focus} does not fit {len(self.tokens)} tokens.")
        self._check_sums()

    @property
    def image_share(self) -> FloatArray:
        """Share of each row's attention on the image: `(tokens, layers, heads)`."""
        return self.group_share[..., 0]

    def showing(self, image: int, shown: int) -> "Recording":
        """The same with the maps of another image in their place; see `Comparison.showing`.

        Args:
            image: index of the image.
            shown: index of the one that is shown now.
        """
        own = ImageMaps(**{name: getattr(self, name) for name in PER_IMAGE})
        maps = in_order(own, self.elsewhere, shown)
        first, rest = self.group_share[..., 0], self.group_share[..., len(GROUPS) :]
        columns = in_order(first, [rest[..., at] for at in range(len(self.elsewhere))], shown)
        words = [self.group_share[..., at] for at in range(1, len(GROUPS))]
        return replace(
            self,
            **{name: getattr(maps[image], name) for name in PER_IMAGE},
            elsewhere=without(maps, image),
            group_share=np.stack([columns[image], *words, *without(columns, image)], axis=-1),
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Cells of the image, (grid_h, grid_w)."""
        return self.by_token.shape[2], self.by_token.shape[3]

    def _axes(self) -> tuple[int, int, int, int]:
        if self.by_token.ndim != 4 or self.by_head.ndim != 4:
            raise CaptureError(f"by_token {self.by_token.shape} and by_head {self.by_head.shape} must have 4 axes.")
        tokens, layers, height, width = self.by_token.shape
        return tokens, layers, height, width

    def _patches(self) -> tuple[int, int]:
        assert self.vision_received is not None
        height, width = self.grid
        merge = round(math.sqrt(self.vision_received[0].size / (height * width)))
        return height * merge, width * merge

    def _check_sums(self) -> None:
        sums = self.group_share.sum(axis=-1, dtype=np.float64)
        tolerance = 4e-3  # upstream rounds each weight to the model's dtype: in bfloat16 by up to 2⁻⁹ of itself
        if not np.allclose(sums, 1, atol=tolerance):
            raise CaptureError(f"a row's attention sums to {sums.flat[np.abs(sums - 1).argmax()]:.6f}, not to 1.")
        others = self.group_share[..., len(GROUPS) :]
        of_image = [(self.by_token, self.image_share)]
        of_image += [(maps.by_token, others[..., at]) for at, maps in enumerate(self.elsewhere)]
        for by_token, share in of_image:
            mean_share = share.mean(axis=2, dtype=np.float64)
            gap = np.abs(by_token.sum(axis=(2, 3), dtype=np.float64) - mean_share).max(initial=0)
            if gap > tolerance:
                raise CaptureError(f"by_token's sum over the grid differs from the image share by {gap:.2e}.")


def recording_shapes(
    model: ModelInfo, grid: tuple[int, ...], tokens: Sequence[Token], others: int = 0
) -> dict[str, tuple[int, ...]]:
    """The shapes of a recording's arrays by field.

    Args:
        model: whose they are.
        grid: the image's cells.
        tokens: that were recorded.
        others: how many other images the conversation has.
    """
    layers, heads = model.num_layers, model.num_heads
    return {
        "logprobs": (sum(token.role in ("answer", "end") for token in tokens),),
        "by_token": (len(tokens), layers, *grid),
        "by_head": (layers, heads, *grid),
        "group_share": (len(tokens), layers, heads, len(GROUPS) + others),
        "background": (layers, *grid),
        "background_low": (layers, *grid),
        "vision_received": (model.num_vision_layers, *(side * model.merge_size for side in grid)),
        "general": (layers, heads, *grid),
        "gradient": (layers, heads, *grid),
        "named": tuple(grid),
        "named_alone": tuple(grid),
    }


def background_of(by_token: FloatArray, tokens: Sequence[Token]) -> tuple[FloatArray, FloatArray, int]:
    """What the rows before the shown answer have in common: the background that the contrast view subtracts.

    These are the rows of the prompt's and the template's tokens after the image, without the last one: that one
    predicts the first answer token, so it is a row that is shown; a mean with it subtracts a part of it from itself.

    Args:
        by_token: `(tokens, layers, grid_h, grid_w)`, mean over heads, 0–1.
        tokens: whose rows these are; the answer's come last.

    Returns:
        (mean, low, rows): mean and 10th percentile over those rows, each `(layers, grid_h, grid_w)` float32; how many.

    Raises:
        CaptureError: no row comes before the shown answer.
    """
    rows = sum(token.role in ("prompt", "template") for token in tokens) - 1
    if rows < 1:
        raise CaptureError(
            f"the background needs a row between the image and the row of the answer; got {rows + 1} rows."
        )
    before = by_token[:rows]  # (rows, layers, grid_h, grid_w)
    low = np.percentile(before, 10, axis=0)
    return before.mean(axis=0, dtype=np.float64).astype(np.float32), low.astype(np.float32), rows


def check_array(name: str, array: NDArray[Any], shape: Sequence[int], dtype: type[np.generic] = np.float32) -> None:
    """Check an array of a record.

    Raises:
        CaptureError: another shape or type, or a value that is not finite.
    """
    if array.shape != tuple(shape):
        raise CaptureError(f"{name} must have shape {tuple(shape)}; got {array.shape}.")
    if array.dtype != dtype:
        raise CaptureError(f"{name} must be {np.dtype(dtype)}; got {array.dtype}.")
    if not np.isfinite(array).all():
        raise CaptureError(
            f"{name} holds values that are not finite numbers: this model's arithmetic overflowed.",
            "Try --dtype float32 or bfloat16.",
        )
