"""Decide what a person chooses a stack by: which tokens, head, view and window, and against which variant.

Layer, colours and scale are no part of it: a stack holds all layers, and every scale of each.
"""

from dataclasses import dataclass
from reprlib import repr as shortened

from inference.errors import SelectionError
from inference.focus import digit_tokens
from inference.recording import Recording
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.caption import variant_name
from visualize.numbers.head_choice import Head, head_text
from visualize.numbers.reduce import Layer, Selection, around, is_recorded
from visualize.numbers.token_choice import TokenChoice, is_index
from visualize.numbers.views import View


@dataclass(frozen=True, slots=True)
class StackChoice:
    """What a stack shows, for all layers at once.

    Args:
        token, head, view: see `Selection`.
        window: layers `layer − window … layer + window` that exist are averaged.
        against: the variant that the others are compared with: `base` or an adapter's name; "" is the first recorded.
        others: the variants compared with it; None is all others, in the order recorded.

    Raises:
        SelectionError: a value outside these choices.
    """

    token: TokenChoice
    head: Head = "mean"
    view: View = "raw"
    window: int = 0
    against: str = ""
    others: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        Selection(0, self.token, self.head, self.view)
        if not is_index(self.window):
            raise SelectionError(f"window must be a whole number from 0 up; not {shortened(self.window)}.")

    def variants(self, comparison: Comparison) -> tuple[str | None, ...]:
        """The adapters shown, the one compared against first; None is the base model.

        Where each replayed its own answer, those that have the chosen tokens.

        Raises:
            SelectionError: a variant that was not recorded.
        """
        recorded = {variant_name(recording): recording.adapter for recording in comparison.recordings}
        first = self.against or next(iter(recorded))
        names = [first, *([name for name in recorded if name != first] if self.others is None else self.others)]
        for name in names:
            if name not in recorded:
                raise SelectionError(f"{shortened(name)} is not in this comparison; it has {', '.join(recorded)}.")
        adapters = tuple(recorded[name] for name in names)
        if comparison.tokens:
            return adapters
        having = tuple(adapter for adapter in adapters if self._is_in(comparison.recording(adapter)))
        return having or adapters  # none has it: whoever shows them says so

    def _is_in(self, recording: Recording) -> bool:
        """Whether a variant that replayed its own answer has these tokens: answers may be of different length."""
        if self.token == "digits":
            return bool(digit_tokens(recording.tokens))
        last = self.token[1] if isinstance(self.token, tuple) else self.token
        return not isinstance(last, int) or last < len(recording.tokens)

    def layers(self, comparison: Comparison) -> tuple[Layer, ...]:
        """For each layer, the layer or window that is shown at it.

        Raises:
            SelectionError: a window of more layers than there are.
        """
        count = comparison.model.num_layers
        if self.window >= count:
            raise SelectionError(f"window must be below {count}, the number of layers; not {self.window}.")
        return tuple(around(layer, self.window, count) for layer in range(count))

    def is_recorded(self, comparison: Comparison) -> bool:
        """Whether the comparison holds what is chosen; if not, a request with these tokens as `focus` records it.

        Raises:
            SelectionError: a token or variant that this comparison does not have.
        """
        recordings = [comparison.recording(name) for name in self.variants(comparison)]
        return all(is_recorded(each, self.token, self.head, self.view) for each in recordings)

    def json(self, comparison: Comparison) -> dict[str, Json]:
        """The choice as plain values, with its variants by name.

        Raises:
            SelectionError: a variant that was not recorded.
        """
        names: list[Json] = [name or "base" for name in self.variants(comparison)]
        return {
            "token": list(self.token) if isinstance(self.token, tuple) else self.token,
            "head": head_text(self.head),
            "view": self.view,
            "window": self.window,
            "against": names[0],
            "variants": names,
        }
