"""What one request carries from its first step to its last: input, answer, notes, clock, listener; it runs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from inference.errors import CancelledError, InputError, SelectionError
from inference.focus import focus_of
from inference.model.prompt import Prompt
from inference.recording import Token
from inference.records import AnswerToken, Progress
from inference.request import Request
from inference.settings import MIB, environment_variable

Emit = Callable[[Progress | AnswerToken], None]
Stop = Callable[[], bool]


class Stages:
    """Tells a listener what happens, takes its time, and stops where the listener wants to.

    Args:
        emit: told what happens, while it happens.
        stop: asked between layers and tokens; true ends the work with `CancelledError`.

    `timings` holds seconds per stage.
    """

    def __init__(self, emit: Emit, stop: Stop) -> None:
        self.emit = emit
        self.timings: dict[str, float] = {}
        self._stop = stop
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the request came."""
        return time.perf_counter() - self._started

    def check(self) -> None:
        """Raise CancelledError if the listener wants no more."""
        if self._stop():
            raise CancelledError("The analysis was stopped.")

    @contextmanager
    def stage(self, name: str, sentence: str) -> Iterator[None]:
        """Announce a stage, and add what it takes to `timings`."""
        self.check()
        begin = self.seconds
        self.emit(Progress(name, sentence, begin))
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + self.seconds - begin


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request with its input, ready for every variant.

    Args:
        request: what was asked.
        prompt: image and words as the model reads them.
        given: the answer to replay, if the request brings one; else None, and variants write theirs.
        stages: listener and clock.
        notes: sentences for the person; they grow.
        general: the prompt that the relative view divides by, where that view is asked for.

    Raises:
        SelectionError: the focus lies beyond the longest answer.
    """

    request: Request
    prompt: Prompt
    given: tuple[int, ...] | None
    stages: Stages
    notes: list[str] = field(default_factory=list)
    general: Prompt | None = None

    def __post_init__(self) -> None:
        most, named = len(self.prompt.tokens) + self.longest, max(self.early_focus)
        if named >= most:
            raise SelectionError(f"focus names token {named}; this request has at most tokens 0–{most - 1}.")

    @property
    def early_focus(self) -> tuple[int, ...]:
        """What of the focus is known before the answer is: where a word names it, perhaps the answer's first token."""
        given = self.request.focus
        return given if isinstance(given, tuple) else (len(self.prompt.tokens),)

    def focus(self, tokens: tuple[Token, ...]) -> tuple[int, ...]:
        """Indices of the tokens whose heads are shown one by one.

        Args:
            tokens: of the whole sequence, with the answer.

        Raises:
            SelectionError: it lies beyond this answer, or the answer has no such tokens.
        """
        focus = focus_of(tokens, self.request.focus)
        if max(focus) >= len(tokens):
            raise SelectionError(f"focus names token {max(focus)}; the sequence has tokens 0–{len(tokens) - 1}.")
        return focus

    @property
    def longest(self) -> int:
        """Most answer tokens that may follow the prompt."""
        return len(self.given) if self.given else self.request.max_new_tokens

    @property
    def order(self) -> list[str | None]:
        """The variants as they are run: whose answer is replayed goes first, then no other's cache waits for it."""
        return sorted(self.request.adapters, key=lambda adapter: adapter != self.request.answer_from)

    def check_room(self, positions: int) -> None:
        """Raise InputError if prompt and answer need more positions than the model has."""
        needed = self.prompt.length + self.longest
        if needed > positions:
            raise InputError(
                f"Image, prompt and answer make {needed:,} tokens; the model reads at most {positions:,}.",
                "Reduce the image, the prompt or the answer's length.",
            )

    def check_record(self, bytes_each: int, most: int) -> None:
        """Raise InputError if the record of all variants, of so many bytes each, would have more than `most`."""
        needed = len(self.request.adapters) * bytes_each
        if needed > most:
            raise InputError(
                f"A record of {sum(image.tokens for image in self.prompt.images):,} image tokens and "
                f"{self.prompt.length - self.prompt.image_end + self.longest:,} tokens after them has "
                f"{needed / MIB:,.0f} MiB of {len(self.request.adapters)} variants; {most / MIB:,.0f} MiB are allowed.",
                "Reduce the images (max_image_tokens), their number, the words after them, the answer's length or the "
                f"number of adapters; or let the operator raise {environment_variable('max_recorded_bytes')}.",
            )
