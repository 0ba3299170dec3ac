"""Decide what a person looks at: what the viewer says as one checked value, and where a new result opens.

The browser sends back only a `Choice`, and nothing in it is believed before `Choice.read` has checked it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from reprlib import repr as shortened

from inference.boxes import Box, on_photo
from inference.errors import SelectionError
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.caption import variant_name
from visualize.numbers.head_choice import Head, head_text, read_head
from visualize.numbers.opening import opening
from visualize.numbers.reduce import Selection, around, is_recorded
from visualize.numbers.token_choice import TokenChoice, token_indices
from visualize.numbers.views import View
from visualize.pictures.file_name import file_name
from visualize.pictures.palette import DIVERGING, SEQUENTIAL, check_colormap


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person looks at.

    Attributes:
        layer, window: layers `layer − window … layer + window` that exist, averaged.
        token: index into the recording's tokens, or a range of them, see `TokenChoice`.
        head: "mean", "max", a 0-based index, or a set of heads, see `Head`.
        against, adapter: the variants on the left and on the right, by name; "" is the first, and the first other.
        view, colormap, diverging, opacity, smooth, fade, log, percentile: see `panes`.
        boxes: what the person drew: `(top, left, bottom, right)` in pixels of the photo, inside it.
        said: whether the points and boxes that the answers say are marked.
    """

    layer: int
    token: TokenChoice
    window: int = 0
    head: Head = "mean"
    view: View = "raw"
    against: str = ""
    adapter: str = ""
    colormap: str = SEQUENTIAL[0]
    diverging: str = DIVERGING[0]
    opacity: float = 0.6
    smooth: bool = True
    fade: bool = False
    log: bool = False
    percentile: float = 100.0
    boxes: tuple[Box, ...] = ()
    said: bool = True

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
        given["head"] = read_head(given.get("head", "mean"))
        token = given.pop("token", None)
        choice = cls(given.pop("layer", None), tuple(token) if isinstance(token, list) else token, **given)
        for name in ("layer", "window"):
            whole = getattr(choice, name)
            if isinstance(whole, bool) or not isinstance(whole, int):
                raise SelectionError(f"{name} must be a whole number; not {shortened(whole)}.")
        for name, low, high in (("opacity", 0, 1), ("percentile", 50, 100)):
            amount = getattr(choice, name)
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not low <= amount <= high:
                raise SelectionError(f"{name} must be {low}–{high}; not {shortened(amount)}.")
        layers = comparison.recordings[0].by_head.shape[0]
        if not (0 <= choice.layer < layers and 0 <= choice.window < layers):
            raise SelectionError(f"layer {choice.layer} does not exist: this result has layers 0–{layers - 1}.")
        check_colormap(choice.colormap, signed=False)
        check_colormap(choice.diverging, signed=True)
        choice.selection(comparison)
        choice.pair(comparison)
        boxes, _ = on_photo(choice.boxes, comparison.image_size)
        smooth, fade, log, said = (each is True for each in (choice.smooth, choice.fade, choice.log, choice.said))
        return replace(choice, smooth=smooth, fade=fade, log=log, boxes=boxes, said=said)

    def selection(self, comparison: Comparison) -> Selection:
        """The layers, tokens, head and view that `panes` takes.

        Raises:
            SelectionError: what `Selection` refuses.
        """
        count = comparison.recordings[0].by_head.shape[0]
        return Selection(around(self.layer, self.window, count), self.token, self.head, self.view)

    def pair(self, comparison: Comparison) -> tuple[str | None, ...]:
        """The variants on the left and on the right; one alone where one was recorded, or one is chosen twice.

        Raises:
            SelectionError: a variant that was not recorded.
        """
        recorded = {variant_name(recording): recording.adapter for recording in comparison.recordings}
        left = self.against or next(iter(recorded))
        right = self.adapter or next((name for name in recorded if name != left), left)
        for name in (left, right):
            if not isinstance(name, str) or name not in recorded:
                raise SelectionError(f"{shortened(name)} is not in this comparison; it has {', '.join(recorded)}.")
        return tuple(recorded[name] for name in dict.fromkeys((left, right)))

    def focus(self, comparison: Comparison) -> tuple[int, ...]:
        """The tokens whose rows are shown, as `Request.focus` names them.

        Raises:
            SelectionError: a token that this comparison does not have.
        """
        return token_indices(comparison.recordings[0], self.token)

    def is_recorded(self, comparison: Comparison) -> bool:
        """Whether the comparison holds what is chosen; if not, a request with these tokens as `focus` records it.

        Raises:
            SelectionError: a token that this comparison does not have.
        """
        return all(is_recorded(each, self.token, self.head, self.view) for each in comparison.recordings)

    def json(self, comparison: Comparison) -> dict[str, Json]:
        """The choice as the viewer knows it, with its variants by name."""
        names = [name or "base" for name in self.pair(comparison)]
        values = asdict(self) | {"against": names[0], "adapter": names[-1]}
        token: Json = list(self.token) if isinstance(self.token, tuple) else self.token
        return values | {"token": token, "head": head_text(self.head), "boxes": [list(box) for box in self.boxes]}

    def file_name(self, comparison: Comparison, ending: str) -> str:
        """What a saved file of this choice is called, see `visualize.pictures.file_name`.

        Raises:
            SelectionError: a token that this comparison does not have.
        """
        return file_name(comparison, self.selection(comparison), ending, variants=list(self.pair(comparison)))


def opening_choice(comparison: Comparison) -> Choice:
    """What a new result opens on, see `opening`: its first two variants."""
    names = [recording.adapter for recording in comparison.recordings[:2]]
    return Choice(*opening(comparison, names[0], names[-1]))
