"""What is answered, as records checked where they are made; numpy only.

Axes have one order everywhere, `(tokens, layers, heads, grid_h, grid_w)`; axes may be missing, never swapped. Sizes are
`(height, width)`. Attention values are float32 shares of one query's attention, 0–1. The difference of two variants is
always adapter − base.
"""

import math
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inference.boxes import as_boxes
from inference.conversation import Conversation
from inference.errors import CaptureError, InputError, SelectionError, VisualizerError
from inference.image_maps import PER_IMAGE, ImageMaps, SeenImage, in_order, without

if TYPE_CHECKING:
    from inference.explanations import Explanation
from inference.settings import BackendKind

FloatArray = NDArray[np.float32]
Role = Literal["prompt", "template", "answer", "end"]
CapturePath = Literal["eager", "rows"]
ExtraView = Literal["relative", "gradient", "named"]

#: Columns of `Recording.group_share`.
GROUPS = ("image", "question", "template and system", "answer")
#: Names that an adapter may not have: they mean something else on the page, in the routes or in `answer_from`.
RESERVED_NAMES = frozenset({"base", "own", "none"})

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def check_adapter_name(name: object) -> str:
    """Return `name` if it is a plain label an adapter may have.

    Raises:
        InputError: not 1–64 letters, digits, `.`, `_`, `-` (a letter or digit first and last), or a reserved name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = repr(name[:80]) if isinstance(name, str) else shortened(name)
        raise InputError(
            f"{shown} cannot be an adapter's name.",
            "Use 1–64 letters, digits, '.', '_' or '-', starting and ending with a letter or digit.",
        )
    if name.lower() in RESERVED_NAMES:
        raise InputError(f"{name!r} is reserved and cannot be an adapter's name.", "Choose another name.")
    return name


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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The base model and the shapes of its attention; `revision` is a commit or "", `version` this package's."""

    id: str
    revision: str
    family: str
    num_layers: int
    num_heads: int
    num_vision_layers: int
    num_vision_heads: int
    patch_size: int
    merge_size: int
    dtype: str
    device: str
    version: str


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What a backend runs on now; the page makes the words.

    Attributes:
        model: the base model's id.
        backend: "local" or "modal".
        device, dtype: what the model is on and computes in; both "" while no machine has loaded it.
        gpus: the kinds of GPU of which one starts when it is needed; empty where nothing has to start.
    """

    model: str
    backend: BackendKind
    device: str = ""
    dtype: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What an adapter's files say of it.

    Attributes:
        kind: "LoRA", "rsLoRA" or "DoRA"; "unusable" for one that cannot be used, and "skipped" for a folder of the
            adapters folder that is no adapter: both say why in `notes`.
        rank, alpha: the config's `r` and `lora_alpha`; `rank_pattern` and `alpha_pattern` are said in `notes`.
        target_modules: names of the adapted modules' last parts, sorted, e.g. `("k_proj", "q_proj")`.
        touches_vision: whether anything under the vision tower changes.
        parameters: numbers stored in its file.
        base_model: the base model it names; may differ from ours, which is a note, never a refusal.
        stamp: changes when its files are replaced; "" where that is not known.
        family, step: name of the training run and its step, for a folder of `checkpoint-N`; else "" and None.
    """

    name: str
    description: str
    kind: str
    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    touches_vision: bool
    parameters: int
    base_model: str
    notes: tuple[str, ...] = ()
    family: str = ""
    step: int | None = None
    stamp: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be asked for."""
        return self.kind not in ("unusable", "skipped")


@dataclass(frozen=True, slots=True)
class Progress:
    """What is happening now: a stage's name, a sentence for a person, and seconds so far."""

    stage: str
    sentence: str
    elapsed: float


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """A token just written: whose (None = base), its index in the answer, the text it adds ("" if an end token)."""

    adapter: str | None
    index: int
    text: str


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


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Recordings of several variants on one prompt and its image, or the one of its images that is shown.

    Attributes:
        model: the base model.
        prompt, system: the words of the request, or its conversation.
        image: the upright photo, `(height, width, 3)` uint8, 0–255; what the maps lie on.
        grid: the image's cells, (grid_h, grid_w).
        before: every token before the image, with roles prompt and template: read, but none of their rows is recorded,
            since none sees the image; `()` in a file that was saved without them.
        tokens: every token after the last image token, then the replayed answer with its end token if it has one; `()`
            where each variant replayed its own answer.
        recordings: in the order of `Request.adapters`.
        timings: seconds per stage.
        notes: warnings for the person.
        shown: which of the conversation's images it is whose pixels, cells and maps these are, 0-based.
        elsewhere: its other images, in order.
    """

    model: ModelInfo
    prompt: str | Conversation
    system: str | None
    image: NDArray[np.uint8] = field(repr=False)
    grid: tuple[int, int]
    tokens: tuple[Token, ...]
    recordings: tuple[Recording, ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    before: tuple[Token, ...] = ()
    shown: int = 0
    elsewhere: tuple[SeenImage, ...] = ()

    def __post_init__(self) -> None:
        for image in (self.image, *(other.pixels for other in self.elsewhere)):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise CaptureError(f"image must be (height, width, 3) uint8; got {image.shape} {image.dtype}.")
        if not 0 <= self.shown <= len(self.elsewhere):
            raise CaptureError(f"image {self.shown} is shown; there are {1 + len(self.elsewhere)}.")
        if not self.recordings:
            raise CaptureError("a comparison holds at least one recording.")
        if any(token.role not in ("prompt", "template") for token in self.before):
            raise CaptureError("a token before the image is of the prompt or the template.")
        for recording in self.recordings:
            if [maps.by_token.shape[2:] for maps in recording.elsewhere] != [other.grid for other in self.elsewhere]:
                raise CaptureError(f"recording {recording.adapter!r} has maps of other images than the comparison's.")
            shapes = recording_shapes(self.model, self.grid, recording.tokens, len(self.elsewhere))
            for name, shape in shapes.items():
                array = getattr(recording, name)
                if array is not None and array.shape != shape:
                    raise CaptureError(
                        f"{name} of {recording.adapter or 'base'} has shape {array.shape}; this model makes {shape}."
                    )
            if self.tokens and recording.tokens != self.tokens:
                raise CaptureError(f"recording {recording.adapter!r} replayed other tokens than the comparison's.")

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the upright photo in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def images(self) -> tuple[SeenImage, ...]:
        """All images of the prompt, in order."""
        return in_order(SeenImage(self.image, self.grid), self.elsewhere, self.shown)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the columns of `Recording.group_share`: of several images, each by its number, from 1."""
        if not self.elsewhere:
            return GROUPS
        names = [f"image {number}" for number in range(1, 2 + len(self.elsewhere))]
        return (names[self.shown], *GROUPS[1:], *without(names, self.shown))

    def showing(self, image: int) -> "Comparison":
        """The same with another of its images shown: its pixels, its cells, the maps on it, its share.

        Args:
            image: index, 0-based.

        Raises:
            SelectionError: there is no such image.
        """
        images = self.images
        if not 0 <= image < len(images):
            raise SelectionError(f"There is no image {image}; this result has images 0–{len(images) - 1}.")
        if image == self.shown:
            return self
        return replace(
            self,
            image=images[image].pixels,
            grid=images[image].grid,
            shown=image,
            elsewhere=without(images, image),
            recordings=tuple(recording.showing(image, self.shown) for recording in self.recordings),
        )

    @property
    def words(self) -> tuple[str, ...]:
        """All texts that the model was asked with, in order; tools as their JSON."""
        if isinstance(self.prompt, Conversation):
            return self.prompt.texts
        return (*([self.system] if self.system else []), self.prompt)

    def recording(self, adapter: str | None) -> Recording:
        """The recording of one variant (None = base).

        Raises:
            SelectionError: it was not part of the request.
        """
        for recording in self.recordings:
            if recording.adapter == adapter:
                return recording
        have = ", ".join(recording.adapter or "base" for recording in self.recordings)
        raise SelectionError(f"{adapter or 'base'!r} is not in this comparison; it has {have}.")

    def save(self, path: str | Path, *, float16: bool = False) -> None:
        """Write one `.npz`: the arrays, the photo, and everything else as JSON text; no pickle.

        `np.load` reads it. Equal comparisons give equal bytes.

        Args:
            path: of the file.
            float16: halve it: maps keep 11 significant bits; log-probabilities and shares by group stay exact.
        """
        from inference.serialization import save_comparison  # late: the format knows the records, not the reverse

        save_comparison(self, Path(path), float16=float16)

    @classmethod
    def load(cls, path: str | Path) -> "Comparison":
        """Read what `save` wrote, bit for bit; also what earlier versions of it wrote.

        Raises:
            InputError: not such a file.
        """
        from inference.serialization import load_comparison  # late, too

        return load_comparison(Path(path))

    def report(self, path: str | Path, explanations: "Sequence[Explanation]" = (), *, boxes: object = ()) -> None:
        """Write one `.html` that shows all of it without a network: layers, heads, tokens, where it changed.

        It holds what fits into 20 MB, and says what it leaves out. Equal comparisons give equal bytes.

        Args:
            path: of the file.
            explanations: what was found out about it, shown as cards; see `Backend.explain`.
            boxes: measured and drawn in it, one or several, see `inference.boxes.as_boxes`: `(top, left, bottom,
                right)` in pixels of the photo; a report can measure in no others.

        Raises:
            SelectionError: what is no box, or one without any pixel of the photo.
        """
        from visualize import report_html  # late: drawing knows the records, not the reverse

        written = report_html(self, explanations=explanations, choice={"boxes": [list(box) for box in as_boxes(boxes)]})
        Path(path).write_text(written, encoding="utf-8", newline="\n")

    def _repr_html_(self) -> str:
        """Show the comparison in a notebook: a smaller report, in a frame."""
        from visualize import notebook_html  # late, too

        return notebook_html(self)


Event = Progress | AnswerToken | Comparison
#: Of many requests, in any order: each one's index, with its answer or with its error in its place.
Outcomes = Generator[tuple[int, Comparison | VisualizerError], None, None]


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
