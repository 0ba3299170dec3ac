"""Decide what a person looks at: the page's controls as one checked value, and where a new result opens.

The browser sends back only a `Choice`, and nothing in it is believed before `Choice.read` has checked it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from inference.errors import SelectionError
from inference.records import Comparison
from visualize.file_name import file_name
from visualize.opening import opening
from visualize.palette import DIVERGING, SEQUENTIAL, check_colormap
from visualize.reduce import Head, Selection, View, around

_KEPT = ("colormap", "diverging", "opacity", "smooth", "log", "percentile")  # of a choice, from result to result


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person looks at, as the page's controls say it.

    Attributes:
        layer, window: layers `layer − window … layer + window` that exist, averaged.
        token: index into the recording's tokens.
        head: "mean", "max" or a 0-based index.
        view, colormap, diverging, opacity, smooth, log, percentile: see `panes`.
    """

    layer: int
    token: int
    window: int = 0
    head: Head = "mean"
    view: View = "raw"
    colormap: str = SEQUENTIAL[0]
    diverging: str = DIVERGING[0]
    opacity: float = 0.6
    smooth: bool = True
    log: bool = False
    percentile: float = 100.0

    @classmethod
    def read(cls, value: object, comparison: Comparison) -> "Choice":
        """Check what a browser sent.

        Raises:
            SelectionError: something missing, of another type, or that this comparison does not have.
        """
        if not isinstance(value, Mapping):
            raise SelectionError("The page sent no choice of layer and token.", "Reload the page.")
        known = {field.name for field in fields(cls)}
        given = {name: part for name, part in value.items() if name in known and part is not None}
        choice = cls(given.pop("layer", None), given.pop("token", None), **given)
        for name in ("layer", "token", "window"):
            whole = getattr(choice, name)
            if isinstance(whole, bool) or not isinstance(whole, int):
                raise SelectionError(f"{name} must be a whole number; not {whole!r}.")
        for name, low, high in (("opacity", 0, 1), ("percentile", 50, 100)):
            amount = getattr(choice, name)
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not low <= amount <= high:
                raise SelectionError(f"{name} must be {low}–{high}; not {amount!r}.")
        layers = comparison.recordings[0].by_head.shape[0]
        if not (0 <= choice.layer < layers and 0 <= choice.window < layers):
            raise SelectionError(f"layer {choice.layer} does not exist: this result has layers 0–{layers - 1}.")
        check_colormap(choice.colormap, signed=False)
        check_colormap(choice.diverging, signed=True)
        return replace(choice, smooth=choice.smooth is True, log=choice.log is True)

    def selection(self, comparison: Comparison) -> Selection:
        """The layers, token, head and view that `panes` takes.

        Raises:
            SelectionError: what `Selection` refuses.
        """
        count = comparison.recordings[0].by_head.shape[0]
        return Selection(around(self.layer, self.window, count), self.token, self.head, self.view)

    def is_recorded(self, comparison: Comparison) -> bool:
        """Whether the comparison holds what is chosen; if not, a request with `focus=(token,)` records it."""
        return self.head == "mean" or all(each.focus == (self.token,) for each in comparison.recordings)

    def file_name(self, comparison: Comparison, ending: str) -> str:
        """What a saved file of this choice is called, see `visualize.file_name`.

        Raises:
            SelectionError: a token that this comparison does not have.
        """
        base, adapter = variants(comparison)
        shown = [base] if len(comparison.recordings) == 1 else [base, adapter]
        return file_name(comparison, self.selection(comparison), ending, variants=shown)


def opening_choice(comparison: Comparison, before: object = None) -> Choice:
    """What a new result opens on, see `opening`.

    Args:
        comparison: the new result.
        before: what the page's controls said; colours and the like are kept where they are well-formed.
    """
    base, adapter = variants(comparison)
    alone = len(comparison.recordings) == 1
    choice = Choice(*opening(comparison, base, base if alone else adapter))
    kept = {name: before[name] for name in _KEPT if name in before} if isinstance(before, Mapping) else {}
    try:
        return Choice.read(asdict(choice) | kept, comparison)
    except SelectionError:
        return choice


def variants(comparison: Comparison) -> tuple[str | None, str | None]:
    """The variant on the left and the one on the right; the second is None where only one was recorded."""
    names = [each.adapter for each in comparison.recordings]
    return (names[0], names[1]) if len(names) > 1 else (names[0], None)
