"""What may be asked of an attribution beside its request, checked when it is made; numpy and the records only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from inference.errors import SelectionError
from inference.records import ModelInfo, OutcomeKind

Parts = Literal["layer", "head"]


@dataclass(frozen=True, slots=True, init=False)
class AttributionOptions:
    """Which token, which outcome, and how finely.

    Args:
        token: index into `Comparison.tokens` of the answer token that is measured; None is the answer's first.
        by: also force single layers, or single layers and single heads; None is neither.
        layers: whose heads `"head"` forces; None is all.
        outcome: see `Attribution.outcome`.

    Raises:
        SelectionError: whatever is none of these.
    """

    token: int | None
    by: Parts | None
    layers: tuple[int, ...] | None
    outcome: OutcomeKind

    def __init__(
        self,
        token: int | None = None,
        by: Parts | None = None,
        layers: Sequence[int] | None = None,
        outcome: OutcomeKind = "logprob",
    ) -> None:
        if by is not None and by not in get_args(Parts):
            raise SelectionError(f"by must be one of {', '.join(get_args(Parts))} or None; not {by!r}.")
        if outcome not in get_args(OutcomeKind):
            raise SelectionError(f"outcome must be one of {', '.join(get_args(OutcomeKind))}; not {outcome!r}.")
        if layers is not None and (by != "head" or not layers):
            raise SelectionError(
                f"layers says whose heads are forced; got {layers!r} with by {by!r}.",
                'Give at least one layer, with by="head".',
            )
        whole = None if layers is None else tuple(_index("an entry of layers", each) for each in layers)
        if whole is not None and len(set(whole)) != len(whole):
            raise SelectionError(f"layers must be different; got {whole}.", "Leave out the one that is twice.")
        object.__setattr__(self, "token", None if token is None else _index("token", token))
        object.__setattr__(self, "by", by)
        object.__setattr__(self, "layers", whole)
        object.__setattr__(self, "outcome", outcome)

    def check(self, model: ModelInfo) -> None:
        """Check the layers against a model.

        Raises:
            SelectionError: one that it does not have.
        """
        beyond = [layer for layer in self.layers or () if layer >= model.num_layers]
        if beyond:
            raise SelectionError(f"layers names {beyond[0]}; this model has layers 0–{model.num_layers - 1}.")

    def replays(self, model: ModelInfo) -> int:
        """How many replays of the text this takes: its price, known before it runs."""
        if self.by is None:
            return 8
        heads = 0 if self.by == "layer" else model.num_heads
        of_heads = heads * (model.num_layers if self.layers is None else len(self.layers))
        return 8 + 2 * (model.num_layers + of_heads)  # in both directions


def _index(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SelectionError(f"{what} must be a whole number, 0 or more; not {value!r}.")
    return int(value)
