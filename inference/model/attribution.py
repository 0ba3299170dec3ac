"""Seeing, looking, saying of two variants, by replays with forced attention; it loads no adapter and reads no photo.

1. Each variant replays the text on its own view of the image; its attention is kept. These are two of the outcomes.
2. The other six: the cache of one variant, the attention of one, the adapter of one.
3. Where asked: one layer's attention at a time from each variant into the other, then one head's.

A replay runs words and answer up to the row that predicts the measured token, in one pass at batch 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from inference.errors import CaptureError, SelectionError
from inference.explanations import Attribution
from inference.model.cache import PrefixCache
from inference.model.context import RequestContext
from inference.model.forced_attention import ForcedAttention, KeptAttention, check_room
from inference.model.passes import Passes
from inference.model.pieces import decode_pieces
from inference.model.prompt import answer_tokens
from inference.questions import AttributionOptions

#: By layer and by head, where that was asked for.
_Parts = tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]
#: Makes the model one of the two variants (0 or 1) for as long as it is open.
Switch = Callable[[int], AbstractContextManager[None]]


def measured_index(context: RequestContext, options: AttributionOptions, passes: Passes, budget: int) -> int:
    """Which token of the answer is measured, after a check that all of it can be; nothing has run yet.

    Args:
        context: of a request for two variants.
        options: what is asked of it.
        passes: of the model.
        budget: most bytes of kept attention.

    Raises:
        SelectionError: a token that is not the answer's, layers that are not the model's, another number of variants,
            or an answer of each variant's own.
        InputError: too many bytes.
    """
    request, prompt, info = context.request, context.prompt, passes.checkpoint.info
    options.check(info)
    if len(request.adapters) != 2:
        raise SelectionError(
            f"An attribution is between two variants; {len(request.adapters)} were asked for.",
            'For example adapters=(None, "name"): None is the base.',
        )
    if request.answer_from == "own" and context.given is None:
        raise SelectionError(
            "An attribution replays one answer through both variants; each its own was asked for.",
            "Choose whose in answer_from, or give an answer.",
        )
    first, last = len(prompt.tokens), len(prompt.tokens) + context.longest - 1
    token = first if options.token is None else options.token
    if not first <= token <= last:
        raise SelectionError(
            f"Token {token} cannot be measured: the answer's tokens are {first}–{last} at most.",
            "Leave it out for the first one.",
        )
    index, model = token - first, passes.checkpoint.model
    rows = first + index
    check_room(info.num_layers, info.num_heads, rows, prompt.image_end + rows, model.dtype.itemsize, budget)
    return index


class Mediation:
    """The replays of one attribution.

    Args:
        context: of a request for two variants.
        options: what is asked of it.
        answer: the replayed ids.
        index: of the measured one.
        prefixes: what each variant read of the image.
        switch: makes the model a variant.
        passes: run it.

    Raises:
        SelectionError: the answer has no such token.
    """

    def __init__(
        self,
        context: RequestContext,
        options: AttributionOptions,
        answer: tuple[int, ...],
        index: int,
        prefixes: Sequence[PrefixCache],
        switch: Switch,
        passes: Passes,
    ) -> None:
        prompt = context.prompt
        if index >= len(answer):
            raise SelectionError(
                f"Token {len(prompt.tokens) + index} cannot be measured: the answer's tokens are {len(prompt.tokens)}–"
                f"{len(prompt.tokens) + len(answer) - 1}.",
                "Leave it out for the first one.",
            )
        self._context, self._options, self._answer, self._index = context, options, answer, index
        self._prefixes, self._switch, self._passes = prefixes, switch, passes
        self._positions = passes.positions(prompt, prompt.length + index)
        self._info = passes.checkpoint.info
        self._names = [adapter or "base" for adapter in context.request.adapters]
        self._done, self._all = 0, options.replays(self._info)
        self._says = (0, 0)

    def run(self) -> Attribution:
        """All replays, each part of a natural one at hand before it is forced into another.

        Raises:
            SelectionError: both variants would say the same where what they would say is to be compared.
            CaptureError: a number that is not finite, or attention that is not complete.
        """
        natural, kept = zip(*(self._natural(variant) for variant in (0, 1)), strict=True)
        self._says = (int(natural[0].argmax()), int(natural[1].argmax()))
        self._check_says()
        outcomes = np.empty((2, 2, 2))
        outcomes[0, 0, 0], outcomes[1, 1, 1] = (self._outcome(logits) for logits in natural)
        parts: dict[int, _Parts] = {}
        for variant in (1, 0):
            with self._switch(variant):
                for seeing, looking in product((0, 1), repeat=2):
                    if (seeing, looking) == (variant, variant):
                        continue  # its natural replay
                    what = f"seeing of {self._names[seeing]}, looking of {self._names[looking]}, saying of"
                    forced = ForcedAttention(kept[looking])
                    outcomes[seeing, looking, variant] = self._replay(seeing, variant, what, forced)
                parts[variant] = self._parts(variant, kept[1 - variant], outcomes[(variant,) * 3])
        return self._attribution(outcomes, parts[0], parts[1])

    # 1. the natural replays

    def _natural(self, variant: int) -> tuple[torch.Tensor, KeptAttention]:
        """A variant's own replay: logits at the measured row, and the attention of all rows."""
        prompt, model = self._context.prompt, self._passes.checkpoint.model
        keys = prompt.length + self._index
        kept = KeptAttention(
            self._info.num_layers, self._info.num_heads, prompt.image_end, keys, model.dtype, model.device
        )
        with self._switch(variant):
            logits = self._logits(variant, variant, "the text as it is, of", recorder=kept)
        kept.check()
        return logits, kept

    def _check_says(self) -> None:
        if self._options.outcome == "margin" and self._says[0] == self._says[1]:
            raise SelectionError(
                f"Both variants would say {self._text(self._says[0])!r} at this token: there is no margin between "
                "what they would say.",
                'Measure another token, or outcome="logprob".',
            )

    # 2. every head forced

    def _replay(self, seeing: int, saying: int, what: str, forced: ForcedAttention) -> float:
        """The outcome with one variant's view of the image and forced attention, while the model is `saying`."""
        return self._outcome(self._logits(seeing, saying, what, forcing=forced))

    # 3. one layer, one head

    def _parts(self, into: int, kept: KeptAttention, natural: float) -> _Parts:
        """Changes of one variant's outcome with the other's attention in one layer, and in one head, at a time."""
        layers, heads, by = self._info.num_layers, self._info.num_heads, self._options.by
        by_layer = by_head = None

        def change(where: str, chosen: tuple[int, int | slice]) -> float:
            mask = torch.zeros(layers, heads, dtype=torch.bool)
            mask[chosen] = True
            what = f"looking of {self._names[1 - into]} in {where} of"
            return self._replay(into, into, what, ForcedAttention(kept, mask)) - natural

        if by is not None:
            by_layer = np.array([change(f"layer {layer}", (layer, slice(None))) for layer in range(layers)])
        if by == "head":
            by_head = np.full((layers, heads), np.nan)
            for layer in range(layers) if self._options.layers is None else self._options.layers:
                by_head[layer] = [change(f"layer {layer}, head {head}", (layer, head)) for head in range(heads)]
        return by_layer, by_head

    # every replay

    def _logits(
        self,
        seeing: int,
        saying: int,
        what: str,
        *,
        recorder: KeptAttention | None = None,
        forcing: ForcedAttention | None = None,
    ) -> torch.Tensor:
        self._done += 1
        stages, answer = self._context.stages, self._answer[: self._index]
        with stages.stage("replays", f"replay {self._done:,} of {self._all:,}: {what} {self._names[saying]}"):
            return self._passes.text(
                self._context.prompt,
                self._prefixes[seeing],
                self._positions,
                answer,
                stages.check,
                recorder=recorder,
                forcing=forcing,
            )

    def _outcome(self, logits: torch.Tensor) -> float:
        if self._options.outcome == "margin":
            first, second = self._says
            value = float(logits[second].double() - logits[first].double())
        else:
            value = float(torch.log_softmax(logits.double(), dim=-1)[self._answer[self._index]])
        if not math.isfinite(value):
            raise CaptureError(
                f"The outcome of replay {self._done} is {value}: this model's arithmetic overflowed.",
                "Try --dtype float32 or bfloat16.",
            )
        return value

    def _text(self, token: int) -> str:
        (text,) = decode_pieces(self._passes.checkpoint.tokenizer, [token])
        return text

    # the record

    def _attribution(self, outcomes: NDArray[np.float64], into_first: _Parts, into_second: _Parts) -> Attribution:
        context, checkpoint, prompt = self._context, self._passes.checkpoint, self._context.prompt
        first, second = context.request.adapters
        answer = answer_tokens(checkpoint.tokenizer, self._answer, prompt.length, checkpoint.end_ids)
        return Attribution(
            model=self._info,
            variants=(first, second),
            tokens=prompt.tokens + answer[: self._index + 1],
            outcome=self._options.outcome,
            says=(self._text(self._says[0]), self._text(self._says[1])),
            outcomes=outcomes,
            by_layer=into_first[0],
            by_layer_reverse=into_second[0],
            by_head=into_first[1],
            by_head_reverse=into_second[1],
            attention=self._passes.text_path(prompt),
            replays=self._done,
            timings=context.stages.timings | {"total": context.stages.seconds},
            notes=tuple(context.notes),
        )
