"""Seeing, looking, saying of two variants, by replays with forced attention; it loads no adapter and reads no photo.

1. Each variant replays the text on its own view of the image; its attention is kept. These are two of the outcomes.
2. The other six: the cache of one variant, the attention of one, the adapter of one.
3. Where asked: one layer's attention at a time from each variant into the other, then one head's; or chosen heads'
   together.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from inference.errors import SelectionError
from inference.explanations import Attribution, Numbers
from inference.model.context import RequestContext
from inference.model.forced_attention import ForcedAttention, KeptAttention, check_room
from inference.model.passes import Passes
from inference.model.replays import Replays
from inference.questions import AttributionOptions

#: By layer and by head, where that was asked for.
_Parts = tuple[Numbers | None, Numbers | None]


def check_attribution(context: RequestContext, index: int, passes: Passes, budget: int) -> None:
    """Refuse what cannot be attributed before anything runs.

    Args:
        context: of the request.
        index: of the measured token in the answer.
        passes: of the model.
        budget: most bytes of kept attention.

    Raises:
        SelectionError: another number of variants than two.
        InputError: too many bytes.
    """
    request, prompt, info = context.request, context.prompt, passes.checkpoint.info
    if len(request.adapters) != 2:
        raise SelectionError(
            f"An attribution is between two variants; {len(request.adapters)} were asked for.",
            'For example adapters=(None, "name"): None is the base.',
        )
    rows = len(prompt.tokens) + index
    itemsize = passes.checkpoint.model.dtype.itemsize
    check_room(info.num_layers, info.num_heads, rows, prompt.image_end + rows, itemsize, budget)


class Mediation:
    """The replays of one attribution.

    Args:
        replays: of two variants.
        options: what is asked of them.
    """

    def __init__(self, replays: Replays, options: AttributionOptions) -> None:
        self._replays, self._options, self._names = replays, options, replays.names
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
        together: dict[int, tuple[float, str]] = {}
        for variant in (1, 0):
            with self._replays.switch(variant):
                for seeing, looking in product((0, 1), repeat=2):
                    if (seeing, looking) == (variant, variant):
                        continue  # its natural replay
                    what = f"seeing of {self._names[seeing]}, looking of {self._names[looking]}, saying of"
                    logits = self._forced(seeing, variant, what, ForcedAttention(kept[looking]))
                    outcomes[seeing, looking, variant] = self._outcome(logits)
                other, own = kept[1 - variant], outcomes[(variant,) * 3]
                parts[variant] = self._parts(variant, other, own)
                if self._options.heads is not None:
                    together[variant] = self._together(variant, other, own)
        return self._attribution(outcomes, parts, together)

    # 1. the natural replays

    def _natural(self, variant: int) -> tuple[torch.Tensor, KeptAttention]:
        """A variant's own replay: logits at the measured row, and the attention of all rows."""
        replays, (layers, heads) = self._replays, self._shape
        kept = KeptAttention(
            layers, heads, replays.prompt.image_end, replays.length, replays.model.dtype, replays.model.device
        )
        with replays.switch(variant):
            logits = replays.run(variant, f"the text as it is, of {self._names[variant]}", recorder=kept)
        kept.check()
        return logits, kept

    def _check_says(self) -> None:
        if self._options.outcome == "margin" and self._says[0] == self._says[1]:
            raise SelectionError(
                f"Both variants would say {self._replays.text_of(self._says[0])!r} at this token: there is no margin "
                "between what they would say.",
                "Measure another token, or the log probability of this one.",
            )

    # 2. every head forced

    def _forced(self, seeing: int, saying: int, what: str, forced: ForcedAttention) -> torch.Tensor:
        """The logits with one variant's view of the image and forced attention, while the model is `saying`."""
        return self._replays.run(seeing, f"{what} {self._names[saying]}", forcing=forced)

    # 3. one layer, one head, chosen heads

    def _parts(self, into: int, kept: KeptAttention, natural: float) -> _Parts:
        """Changes of one variant's outcome with the other's attention in one layer, and in one head, at a time."""
        (layers, heads), by = self._shape, self._options.by
        by_layer = by_head = None

        def change(where: str, chosen: tuple[int, int | slice]) -> float:
            mask = torch.zeros(layers, heads, dtype=torch.bool)
            mask[chosen] = True
            what = f"looking of {self._names[1 - into]} in {where} of"
            return self._outcome(self._forced(into, into, what, ForcedAttention(kept, mask))) - natural

        if by is not None:
            by_layer = np.array([change(f"layer {layer}", (layer, slice(None))) for layer in range(layers)])
        if by == "head":
            by_head = np.full((layers, heads), np.nan)
            for layer in range(layers) if self._options.layers is None else self._options.layers:
                by_head[layer] = [change(f"layer {layer}, head {head}", (layer, head)) for head in range(heads)]
        return by_layer, by_head

    def _together(self, into: int, kept: KeptAttention, natural: float) -> tuple[float, str]:
        """The same of the chosen heads at once, and what the variant would then say."""
        heads = self._options.heads or ()
        mask = torch.zeros(self._shape, dtype=torch.bool)
        for layer, head in heads:
            mask[layer, head] = True
        what = f"looking of {self._names[1 - into]} in {len(heads)} heads of"
        logits = self._forced(into, into, what, ForcedAttention(kept, mask))
        return self._outcome(logits) - natural, self._replays.text_of(int(logits.argmax()))

    @property
    def _shape(self) -> tuple[int, int]:
        return self._replays.info.num_layers, self._replays.info.num_heads

    def _outcome(self, logits: torch.Tensor) -> float:
        if self._options.outcome == "logprob":
            return self._replays.logprob(logits)
        first, second = self._says
        return self._replays.finite(float(logits[second].double() - logits[first].double()))

    # the record

    def _attribution(
        self, outcomes: Numbers, parts: dict[int, _Parts], together: dict[int, tuple[float, str]]
    ) -> Attribution:
        into_first, into_second = (together.get(variant) for variant in (0, 1))
        return Attribution(
            **self._replays.record(),
            outcome=self._options.outcome,
            says=(self._replays.text_of(self._says[0]), self._replays.text_of(self._says[1])),
            outcomes=outcomes,
            by_layer=parts[0][0],
            by_layer_reverse=parts[1][0],
            by_head=parts[0][1],
            by_head_reverse=parts[1][1],
            heads=self._options.heads,
            together=None if into_first is None else into_first[0],
            together_reverse=None if into_second is None else into_second[0],
            says_together=None if into_first is None or into_second is None else (into_first[1], into_second[1]),
        )
