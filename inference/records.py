"""What is answered, as records checked where they are made; numpy only.

Sizes are `(height, width)`. The difference of two variants is always adapter − base.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference.boxes import as_boxes
from inference.conversation import Conversation
from inference.descriptions import ModelInfo
from inference.errors import CaptureError, SelectionError, VisualizerError
from inference.image_maps import SeenImage, in_order, without
from inference.recording import GROUPS, Recording, Token, recording_shapes

if TYPE_CHECKING:
    from inference.explanations import Explanation


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
