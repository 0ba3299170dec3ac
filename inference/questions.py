"""What may be asked about a change beside its request, checked when it is made; numpy and the records only.

A question is about one token of one replayed answer. What answers it is a record of `inference.explanations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from reprlib import repr as shortened
from typing import ClassVar, Generic, Literal, TypeVar, get_args

import numpy as np

from inference.descriptions import ModelInfo
from inference.errors import SelectionError
from inference.explanations import Attribution, Blur, Chance, Explanation, Knockout, OutcomeKind, Parts

AttributionParts = Literal["layer", "head"]
KnockoutRows = Literal["text", "answer"]
#: Strengths of an adapter that are tried where nobody says which: 1 is as trained.
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
CONTROLS = 16  # random sets, random adapters: level 1/17
MOST_CONTROLS = 256
STEPS = 8  # of a blurring
MOST_STEPS = 64
PARTS = 7  # four groups of modules, three thirds of the layers

Answer = TypeVar("Answer", bound=Explanation, covariant=True)


class Question(Generic[Answer]):
    """Anything that `Backend.explain` answers; the type it is of is the record that answers it.

    `token` is an index into `Comparison.tokens` of the answer token that is measured; None is the answer's first.
    `OF_ONE_IMAGE` says that it can be asked only of a prompt with one image.
    """

    __slots__ = ()
    OF_ONE_IMAGE: ClassVar[bool] = True
    token: int | None

    @classmethod
    def check_images(cls, count: int) -> None:
        """Check the number of images of the prompt that is asked about.

        Raises:
            SelectionError: there are several, and the question is of one.
        """
        if cls.OF_ONE_IMAGE and count > 1:
            raise SelectionError(
                "This question is answered of a prompt with one image; this one has several.",
                "Ask what of the change is seeing, looking or saying, or ask with one image.",
            )

    def check(self, model: ModelInfo) -> None:
        """Check the question against a model.

        Raises:
            SelectionError: it names what the model does not have.
        """

    def replays(self, model: ModelInfo, variants: int) -> int:
        """How many replays of the text this takes: its price, known before it runs."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, init=False)
class AttributionOptions(Question[Attribution]):
    """Why did the answer change? Which token, which outcome, and how finely.

    Of several images everything up to the last one is seen together: the images, and the words between them.

    Args:
        token: see `Question`.
        by: also force single layers, or single layers and single heads; None is neither.
        layers: whose heads `"head"` forces; None is all.
        outcome: see `Attribution.outcome`.
        heads: different (layer, head); also force these together, both ways; None is none.

    Raises:
        SelectionError: whatever is none of these.
    """

    OF_ONE_IMAGE: ClassVar[bool] = False
    token: int | None
    by: AttributionParts | None
    layers: tuple[int, ...] | None
    outcome: OutcomeKind
    heads: tuple[tuple[int, int], ...] | None

    def __init__(
        self,
        token: int | None = None,
        by: AttributionParts | None = None,
        layers: Sequence[int] | None = None,
        outcome: OutcomeKind = "logprob",
        heads: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        if by is not None and by not in get_args(AttributionParts):
            raise SelectionError(
                f"by must be one of {', '.join(get_args(AttributionParts))} or None; not {shortened(by)}."
            )
        if outcome not in get_args(OutcomeKind):
            raise SelectionError(
                f"outcome must be one of {', '.join(get_args(OutcomeKind))}; not {shortened(outcome)}."
            )
        if layers is not None and (by != "head" or not layers):
            raise SelectionError(
                f"layers says whose heads are forced; got {shortened(layers)} with by {shortened(by)}.",
                'Give at least one layer, with by="head".',
            )
        object.__setattr__(self, "token", _token(token))
        object.__setattr__(self, "by", by)
        object.__setattr__(self, "layers", None if layers is None else _different("layers", layers))
        object.__setattr__(self, "outcome", outcome)
        object.__setattr__(self, "heads", None if heads is None else _heads(heads))

    def check(self, model: ModelInfo) -> None:
        """See `Question`."""
        _check_layers(self.layers, model)
        for layer, head in self.heads or ():
            if layer >= model.num_layers or head >= model.num_heads:
                raise SelectionError(
                    f"heads names layer {layer}, head {head}; this model has layers 0–{model.num_layers - 1} with "
                    f"heads 0–{model.num_heads - 1}."
                )

    def replays(self, model: ModelInfo, variants: int = 2) -> int:
        """See `Question`."""
        more = 0 if self.heads is None else 1
        if self.by is not None:
            more += model.num_layers
        if self.by == "head":
            more += model.num_heads * (model.num_layers if self.layers is None else len(self.layers))
        return 8 + 2 * more  # in both directions


@dataclass(frozen=True, slots=True, init=False)
class KnockoutOptions(Question[Knockout]):
    """Does it need to look there? Which cells, whose looking, and what stands beside it.

    Args:
        cells: the image's cells that nobody may attend to, row by row: cell (y, x) is y · grid_w + x.
        token: see `Question`.
        rows: whose attention is forbidden: `"text"`, every row after the image, or `"answer"`, the rows that predict
            the answer's tokens.
        layers: in which layers; None is all.
        controls: so many other sets of the same number of cells are tried beside it, 0–256.
        shape: the other sets are `"shifted"`, the same shape elsewhere, or `"scattered"`, any other cells.
        seed: of their choice.

    Raises:
        SelectionError: whatever is none of these.
    """

    cells: tuple[int, ...]
    token: int | None
    rows: KnockoutRows
    layers: tuple[int, ...] | None
    controls: int
    shape: Literal["shifted", "scattered"]
    seed: int

    def __init__(
        self,
        cells: Sequence[int],
        token: int | None = None,
        rows: KnockoutRows = "text",
        layers: Sequence[int] | None = None,
        controls: int = CONTROLS,
        shape: Literal["shifted", "scattered"] = "shifted",
        seed: int = 0,
    ) -> None:
        if rows not in get_args(KnockoutRows):
            raise SelectionError(f"rows must be one of {', '.join(get_args(KnockoutRows))}; not {shortened(rows)}.")
        if shape not in ("shifted", "scattered"):
            raise SelectionError(f"shape must be shifted or scattered; not {shortened(shape)}.")
        if layers is not None and not layers:
            raise SelectionError("layers is empty.", "Leave it out for all layers.")
        object.__setattr__(self, "cells", tuple(sorted(_different("cells", cells))))
        object.__setattr__(self, "token", _token(token))
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "layers", None if layers is None else _different("layers", layers))
        object.__setattr__(self, "controls", _controls(controls, least=0))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "seed", _index("seed", seed))

    def check(self, model: ModelInfo) -> None:
        """See `Question`."""
        _check_layers(self.layers, model)

    def replays(self, model: ModelInfo, variants: int) -> int:
        """See `Question`."""
        return variants * (2 + self.controls)


@dataclass(frozen=True, slots=True, init=False)
class ChanceOptions(Question[Chance]):
    """Is it more than chance? How many random adapters of equal size it is held against.

    Args:
        token: see `Question`.
        controls: random adapters, 1–256; the level of "beyond chance" is 1 / (controls + 1).
        seed: of their directions.

    Raises:
        SelectionError: whatever is none of these.
    """

    token: int | None
    controls: int
    seed: int

    def __init__(self, token: int | None = None, controls: int = CONTROLS, seed: int = 0) -> None:
        object.__setattr__(self, "token", _token(token))
        object.__setattr__(self, "controls", _controls(controls, least=1))
        object.__setattr__(self, "seed", _index("seed", seed))

    def replays(self, model: ModelInfo, variants: int = 2) -> int:
        """See `Question`."""
        return 3 + self.controls  # both variants, the first on the other path, and the controls


@dataclass(frozen=True, slots=True, init=False)
class PartsOptions(Question[Parts]):
    """Which part of the adapter? Its parts alone, and the whole at other strengths.

    Args:
        token: see `Question`.
        strengths: of the whole adapter, 0–4, 1 as trained, rising.

    Raises:
        SelectionError: whatever is none of these.
    """

    token: int | None
    strengths: tuple[float, ...]

    def __init__(self, token: int | None = None, strengths: Sequence[float] = STRENGTHS) -> None:
        given = tuple(strengths)
        whole = all(isinstance(each, (int, float)) and not isinstance(each, bool) and 0 <= each <= 4 for each in given)
        if not given or not whole or any(a >= b for a, b in pairwise(given)):
            raise SelectionError(
                f"strengths must be numbers from 0 to 4, rising; got {shortened(given)}.", "For example (0, 0.5, 1)."
            )
        object.__setattr__(self, "token", _token(token))
        object.__setattr__(self, "strengths", tuple(map(float, given)))

    def replays(self, model: ModelInfo, variants: int = 2) -> int:
        """See `Question`."""
        return 2 + PARTS + len(self.strengths)


@dataclass(frozen=True, slots=True, init=False)
class BlurOptions(Question[Blur]):
    """How fast does the answer go as cells are blurred, and come as they are shown? By an order of the cells.

    Every replay but each variant's first is of another picture: vision tower and image are read again for it.

    Args:
        order: all cells of the image, the most important first: cell (y, x) is y · grid_w + x.
        token: see `Question`.
        steps: in so many steps of about the same number of cells, 1–64; an image of fewer cells takes one each.

    Raises:
        SelectionError: whatever is none of these.
    """

    order: tuple[int, ...]
    token: int | None
    steps: int

    def __init__(self, order: Sequence[int], token: int | None = None, steps: int = STEPS) -> None:
        cells = _different("order", order)
        if not cells or sorted(cells) != list(range(len(cells))):
            raise SelectionError("order must hold every cell of the image once: 0, 1, 2, … in any order.")
        count = _index("steps", steps)
        if not 1 <= count <= MOST_STEPS:
            raise SelectionError(f"steps must be 1–{MOST_STEPS}; not {count}.")
        object.__setattr__(self, "order", cells)
        object.__setattr__(self, "token", _token(token))
        object.__setattr__(self, "steps", min(count, len(cells)))

    def replays(self, model: ModelInfo, variants: int) -> int:
        """See `Question`; whole readings of a picture, all but one of each variant."""
        return variants * 2 * self.steps  # the photo, and the wholly blurred one, are in both


#: Every kind, as it is called where it travels.
QUESTIONS: Mapping[str, type[Question[Explanation]]] = {
    "attribution": AttributionOptions,
    "knockout": KnockoutOptions,
    "chance": ChanceOptions,
    "parts": PartsOptions,
    "blur": BlurOptions,
}


def _token(token: int | None) -> int | None:
    return None if token is None else _index("token", token)


def _controls(controls: object, least: int) -> int:
    count = _index("controls", controls)
    if not least <= count <= MOST_CONTROLS:
        raise SelectionError(f"controls must be {least}–{MOST_CONTROLS}; not {count}.")
    return count


def _different(what: str, values: Sequence[object]) -> tuple[int, ...]:
    whole = tuple(_index(f"an entry of {what}", each) for each in values)
    if len(set(whole)) != len(whole):
        raise SelectionError(f"{what} must be different; got one twice.", "Leave out the one that is twice.")
    return whole


def _heads(values: Sequence[Sequence[object]]) -> tuple[tuple[int, int], ...]:
    pairs = [value for value in values if isinstance(value, (Sequence, np.ndarray)) and len(value) == 2]
    whole = tuple((_index("a layer of heads", layer), _index("a head of heads", head)) for layer, head in pairs)
    if not whole or len(whole) != len(values) or len(set(whole)) != len(whole):
        raise SelectionError(
            f"heads must be different pairs (layer, head), at least one; got {values!r}.",
            "For example ((0, 2), (1, 3)).",
        )
    return whole


def _check_layers(layers: Sequence[int] | None, model: ModelInfo) -> None:
    beyond = [layer for layer in layers or () if layer >= model.num_layers]
    if beyond:
        raise SelectionError(f"layers names {beyond[0]}; this model has layers 0–{model.num_layers - 1}.")


def _index(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SelectionError(f"{what} must be a whole number, 0 or more; not {value!r}.")
    return int(value)
