"""Replays of the text up to one measured token, on what each variant read of the image; it knows no question.

A replay runs words and answer up to the row that predicts the measured token, in one pass at batch 1: what was read of
the image may come from one variant, the adapter that is on from another, and attention may be forced or forbidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch

from inference.errors import CaptureError, SelectionError
from inference.explanations import Explanation
from inference.model.cache import PrefixCache
from inference.model.capture import Forbidding, Forcing, Recorder
from inference.model.context import RequestContext
from inference.model.measured_row import MeasuredRow
from inference.model.passes import Passes
from inference.model.pieces import token_text
from inference.model.prompt import answer_tokens
from inference.photo import Photo
from inference.questions import Question
from inference.recording import CapturePath

#: Makes the model one of a request's variants, by its index, for as long as it is open.
Switch = Callable[[int], AbstractContextManager[None]]


def measured_index(context: RequestContext, question: Question[Explanation], passes: Passes) -> int:
    """Which token of the answer is measured, after a check that it can be; nothing has run yet.

    Raises:
        SelectionError: a token that is not the answer's, layers that are not the model's, or an answer of each
            variant's own.
    """
    request, prompt = context.request, context.prompt
    question.check(passes.checkpoint.info)
    if request.answer_from == "own" and context.given is None:
        raise SelectionError(
            "One answer is replayed through all variants; each its own was asked for.",
            "Choose whose in answer_from, or give an answer.",
        )
    first, last = len(prompt.tokens), len(prompt.tokens) + context.longest - 1
    token = first if question.token is None else question.token
    if not first <= token <= last:
        raise SelectionError(
            f"Token {token} cannot be measured: the answer's tokens are {first}–{last} at most.",
            "Leave it out for the first one.",
        )
    return token - first


class Replays:
    """What one explanation runs.

    Args:
        context: of the request.
        answer: the replayed ids.
        index: of the measured one.
        prefixes: what each variant read of the image.
        switch: makes the model a variant.
        passes: run it.
        expected: how many replays there will be.

    Raises:
        SelectionError: the answer has no such token.

    `length` is the number of tokens of the whole sequence up to the row that is asked for; `done` how many have run.
    """

    def __init__(
        self,
        context: RequestContext,
        answer: tuple[int, ...],
        index: int,
        prefixes: Sequence[PrefixCache],
        switch: Switch,
        passes: Passes,
        expected: int,
    ) -> None:
        prompt = context.prompt
        if index >= len(answer):
            raise SelectionError(
                f"Token {len(prompt.tokens) + index} cannot be measured: the answer's tokens are {len(prompt.tokens)}–"
                f"{len(prompt.tokens) + len(answer) - 1}.",
                "Leave it out for the first one.",
            )
        self.context, self.prompt, self.switch = context, prompt, switch
        self.names = [adapter or "base" for adapter in context.request.adapters]
        self.info, self.model = passes.checkpoint.info, passes.checkpoint.model
        self.length, self.done = prompt.length + index, 0
        self._answer, self._index, self._prefixes = answer, index, prefixes
        self._passes, self._expected = passes, expected
        self._positions = passes.positions(prompt, self.length)

    def run(
        self,
        seeing: int,
        what: str,
        *,
        prefix: PrefixCache | None = None,
        recorder: Recorder | None = None,
        forcing: Forcing | None = None,
        forbidding: Forbidding | None = None,
        path: CapturePath | None = None,
    ) -> torch.Tensor:
        """One replay with the adapter that is on now: float32 logits `(vocabulary,)` at the measured row.

        Args:
            seeing: whose reading of the image; `prefix` replaces it.
            what: of it, for the listener.
            prefix: what was read of the image, where by none of the variants.
            recorder, forcing, forbidding: see `inference.model.capture`.
            path: of attention, where not that of all others.
        """
        self.done += 1
        stages = self.context.stages
        with stages.stage("replays", f"replay {self.done:,} of {self._expected:,}: {what}"):
            return self._passes.text(
                self.prompt,
                self._prefixes[seeing] if prefix is None else prefix,
                self._positions,
                self._answer[: self._index],
                stages.check,
                recorder=recorder,
                forcing=forcing,
                forbidding=forbidding,
                path=path,
            )

    @property
    def path(self) -> CapturePath:
        """Of attention, that the replays take."""
        return self._passes.text_path(self.prompt)

    def read(self, photo: Photo, what: str) -> PrefixCache:
        """What the model as it stands reads of another photo of the same size; nothing of it is kept.

        Args:
            photo: the other one.
            what: who reads what, for a person.
        """
        stages = self.context.stages
        with stages.stage("prompt", what):
            image, record = replace(self.prompt.image, photo=photo), self.context.request.vision_tower
            features = self._passes.vision(image, record, stages.check)
            return self._passes.image(self.prompt, [features], self._positions, stages.check)

    def measured_row(self) -> MeasuredRow:
        """A recorder of where the measured row looks on the image."""
        image = slice(self.prompt.image_start, self.prompt.image_end)
        return MeasuredRow(self.info.num_layers, self.info.num_heads, image, self.length - 1, self.model.device)

    def logprob(self, logits: torch.Tensor) -> float:
        """Natural log of the measured token's probability."""
        return self.finite(float(torch.log_softmax(logits.double(), dim=-1)[self._answer[self._index]]))

    def finite(self, value: float) -> float:
        """The value, if it is one.

        Raises:
            CaptureError: it is not finite.
        """
        if not math.isfinite(value):
            raise CaptureError(
                f"The outcome of replay {self.done} is {value}: this model's arithmetic overflowed.",
                "Try --dtype float32 or bfloat16.",
            )
        return value

    def text_of(self, token: int) -> str:
        """A token of the vocabulary as text, with the bytes that are no whole characters as `\\xe5`."""
        return token_text(self._passes.checkpoint.tokenizer, token)

    def record(self) -> dict[str, Any]:
        """The fields that every explanation has."""
        context, checkpoint = self.context, self._passes.checkpoint
        answer = answer_tokens(checkpoint.tokenizer, self._answer, self.prompt.length, checkpoint.end_ids)
        return {
            "model": self.info,
            "variants": context.request.adapters,
            "tokens": self.prompt.tokens + answer[: self._index + 1],
            "attention": self.path,
            "replays": self.done,
            "timings": context.stages.timings | {"total": context.stages.seconds},
            "notes": tuple(context.notes),
        }
