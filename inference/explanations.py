"""What explains a change, as records checked where they are made; numpy only.

Each is about one token of one replayed answer, which is the last of its `tokens`, and was found by exact replays of the
text on what was kept of the image. Changes are in natural-log probability (nats) of that token unless said otherwise;
a difference of two variants is always second − first. What asks for them is in `inference.questions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inference.descriptions import ModelInfo
from inference.errors import CaptureError
from inference.recording import CapturePath, Token, check_array
from inference.records import AnswerToken, Progress

OutcomeKind = Literal["logprob", "margin"]
Numbers = NDArray[np.float64]
_Arrays = Mapping[str, tuple[int, type[np.generic]]]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What all of them say.

    Attributes:
        model: the base model.
        variants: which were asked, None = base.
        tokens: the words after the image and the answer up to the measured token, the last one.
        attention: the path that the replays took.
        replays: how many there were; their seconds are `timings["replays"]`.
        timings: seconds per stage.
        notes: warnings for the person.

    Raises:
        CaptureError: shapes that disagree, a value that is not finite.
    """

    #: Its arrays: how many axes each has, and of what.
    ARRAYS: ClassVar[_Arrays] = {}

    model: ModelInfo
    variants: tuple[str | None, ...]
    tokens: tuple[Token, ...]
    attention: CapturePath = field(default="eager", kw_only=True)
    replays: int = field(default=0, kw_only=True)
    timings: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not self.tokens or self.tokens[-1].role not in ("answer", "end"):
            raise CaptureError("an explanation measures the last of its tokens, which must be the answer's.")

    @property
    def token(self) -> int:
        """Index of the measured token in `Comparison.tokens`."""
        return len(self.tokens) - 1


#: Weights of a factor's effects in its Shapley value, by how many of the other two are already the second variant's.
_SHAPLEY = np.array([[1 / 3, 1 / 6], [1 / 6, 1 / 3]])


@dataclass(frozen=True, slots=True, eq=False)
class Attribution(Explanation):
    """Why an answer changed from one variant to another: seeing, looking or saying. Exact, by replays.

    A replay of the text has three parts, and each may come from either variant: *seeing* is what was kept of the image
    (keys and values of every layer up to its last token; of several images, up to the last one's, the words between
    them included), *looking* the attention weights of all text rows, layers and heads, forced to those of a variant's
    own replay, and *saying* everything else at the text rows. The outcomes of the eight combinations are what is
    measured; all else follows from them.

    Causal mediation (Vig et al. 2020, arXiv 2004.12265) by activation patching (Heimersheim & Nanda 2024, arXiv
    2404.15255); shares are Shapley values (1953), which add up to the total.

    Attributes:
        variants: (first, second), None = base.
        outcome: what is measured at the row that predicts that token: `"logprob"`, the natural log of its probability,
            or `"margin"`, the logit of what the second variant would say there minus the logit of what the first would.
        says: what (first, second) each would say there, its most probable token, as text; for `"margin"` they differ.
        outcomes: `(2, 2, 2)` float64, axes [seeing][looking][saying], 0 = of the first variant, 1 = of the second.
        by_layer: `(layers,)` float64, change of the first variant's outcome when one layer's looking is the second's;
            None until asked for.
        by_layer_reverse: the same, change of the second's outcome when one layer's looking is the first's.
        by_head, by_head_reverse: `(layers, heads)` float64, the same of single heads; NaN in layers not asked for.
        heads: (layer, head) of those whose looking was forced together; None until asked for, as the next three.
        together: change of the first variant's outcome when the looking of all `heads` at once is the second's.
        together_reverse: change of the second's outcome when their looking is the first's.
        says_together: what (first, second) each would say then.
    """

    ARRAYS: ClassVar[_Arrays] = {
        "outcomes": (3, np.float64),
        "by_layer": (1, np.float64),
        "by_layer_reverse": (1, np.float64),
        "by_head": (2, np.float64),
        "by_head_reverse": (2, np.float64),
    }

    outcome: OutcomeKind
    says: tuple[str, str]
    outcomes: Numbers = field(repr=False)
    by_layer: Numbers | None = field(default=None, repr=False)
    by_layer_reverse: Numbers | None = field(default=None, repr=False)
    by_head: Numbers | None = field(default=None, repr=False)
    by_head_reverse: Numbers | None = field(default=None, repr=False)
    heads: tuple[tuple[int, int], ...] | None = None
    together: float | None = None
    together_reverse: float | None = None
    says_together: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        Explanation.__post_init__(self)
        if self.outcome not in get_args(OutcomeKind):
            raise CaptureError(f"outcome must be one of {', '.join(get_args(OutcomeKind))}; not {self.outcome!r}.")
        check_array("outcomes", self.outcomes, (2, 2, 2), np.float64)
        layers, heads = self.model.num_layers, self.model.num_heads
        for name in ("by_layer", "by_layer_reverse", "by_head", "by_head_reverse"):
            array = getattr(self, name)
            shape = (layers, heads) if name.startswith("by_head") else (layers,)
            if array is not None:  # a layer that was not asked for is NaN as a whole: whatever else is not finite stays
                left_out = np.isnan(array).all(axis=-1, keepdims=True) & (array.ndim == 2)
                check_array(name, np.where(left_out, 0.0, array), shape, np.float64)
        of_heads = (self.heads, self.together, self.together_reverse, self.says_together)
        if len({each is None for each in of_heads}) > 1:
            raise CaptureError(f"heads, what they change and what is said then belong together; got {of_heads}.")
        if any(not (0 <= layer < layers and 0 <= head < heads) for layer, head in self.heads or ()):
            raise CaptureError(f"heads names {self.heads}; the model has {layers} layers of {heads} heads.")
        if not np.isfinite([each for each in of_heads[1:3] if each is not None]).all():
            raise CaptureError(f"what the heads change together is not finite: {of_heads[1:3]}.")

    @property
    def total(self) -> float:
        """Change of the outcome from the first variant to the second."""
        return float(self.outcomes[1, 1, 1] - self.outcomes[0, 0, 0])

    @property
    def seeing(self) -> float:
        """What of the total is due to what was kept of the image; a Shapley value, with the sign of its effect."""
        return self._share(0)

    @property
    def looking(self) -> float:
        """What of the total is due to where the text looks."""
        return self._share(1)

    @property
    def saying(self) -> float:
        """What of the total is due to everything else at the text rows."""
        return self._share(2)

    @property
    def interaction(self) -> float:
        """The total minus the three effects of swapping one factor alone in the first variant: 0 where they add up."""
        first, alone = self.outcomes[0, 0, 0], self.outcomes[[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        return self.total - float((alone - first).sum())

    def _share(self, factor: int) -> float:
        # (2, 2): effects of this factor, by where the other two come from
        effects = self.outcomes.take(1, axis=factor) - self.outcomes.take(0, axis=factor)
        return float((effects * _SHAPLEY).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Knockout(Explanation):
    """Does it need to look there? What forbidding rows to attend to a set of cells changes, beside other such sets.

    A forbidden cell's score is set to −∞ before the softmax, in all chosen layers and all heads; what a row loses there
    it spends elsewhere. Knockout of attention edges after Geva et al. 2023 (arXiv 2304.14767).

    Attributes:
        grid: cells of the image, (grid_h, grid_w).
        rows: whose attention was forbidden, `"text"` or `"answer"`.
        layers: in which; None is all.
        cells: `(grid_h, grid_w)` bool, the set.
        logprobs: `(variants,)` float64, of the measured token, as it is.
        changes: `(variants,)` float64, its change when the set is forbidden.
        control_cells: `(controls, grid_h, grid_w)` bool, the other sets.
        control_changes: `(controls, variants)` float64, its change when they are.
        shape: what the other sets are: `"shifted"` or `"scattered"`.
    """

    ARRAYS: ClassVar[_Arrays] = {
        "cells": (2, np.bool_),
        "logprobs": (1, np.float64),
        "changes": (1, np.float64),
        "control_cells": (3, np.bool_),
        "control_changes": (2, np.float64),
    }

    grid: tuple[int, int]
    rows: Literal["text", "answer"]
    layers: tuple[int, ...] | None
    cells: NDArray[np.bool_] = field(repr=False)
    logprobs: Numbers = field(repr=False)
    changes: Numbers = field(repr=False)
    control_cells: NDArray[np.bool_] = field(repr=False)
    control_changes: Numbers = field(repr=False)
    shape: Literal["shifted", "scattered"] = "shifted"

    def __post_init__(self) -> None:
        Explanation.__post_init__(self)
        variants, controls = len(self.variants), self.control_changes.shape[0]
        check_array("cells", self.cells, self.grid, np.bool_)
        check_array("logprobs", self.logprobs, (variants,), np.float64)
        check_array("changes", self.changes, (variants,), np.float64)
        check_array("control_cells", self.control_cells, (controls, *self.grid), np.bool_)
        check_array("control_changes", self.control_changes, (controls, variants), np.float64)

    def rank(self, variant: int) -> int:
        """The set's place among all by how much it lowers a variant's outcome: 1 lowers most; equal ones come first."""
        return 1 + int((self.control_changes[:, variant] <= self.changes[variant]).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Chance(Explanation):
    """Is it more than chance? The change of every head beside that of random adapters of equal size.

    A control is the second variant's adapter with the directions of each weight change replaced by random ones; its
    singular values, and so its size and rank, stay. A head's change is beyond chance when it exceeds the largest of all
    heads of all controls: a max statistic, so the matrix as a whole keeps the level 1 / (controls + 1) (Nichols and
    Holmes 2002).

    Attributes:
        variants: (first, second); the second is the adapter that is tested.
        divergence: `(layers, heads)` float64, JS divergence (bits) of the two variants' rows, renormalised over the
            image, at the row that predicts the measured token; 0 where a row puts nothing on the image.
        controls: `(controls, layers, heads)` float64, the same of first variant and control.
        share: `(layers, heads)` float64, change of the row's image share.
        control_shares: `(controls, layers, heads)` float64, the same of the controls.
        floor: `(layers, heads)` float64, JS divergence of the first variant's rows on the eager and on the tiled path,
            from the same reading of the image: what arithmetic alone moves.
        seed: of the random directions.
    """

    ARRAYS: ClassVar[_Arrays] = {
        "divergence": (2, np.float64),
        "controls": (3, np.float64),
        "share": (2, np.float64),
        "control_shares": (3, np.float64),
        "floor": (2, np.float64),
    }

    divergence: Numbers = field(repr=False)
    controls: Numbers = field(repr=False)
    share: Numbers = field(repr=False)
    control_shares: Numbers = field(repr=False)
    floor: Numbers = field(repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        Explanation.__post_init__(self)
        heads = (self.model.num_layers, self.model.num_heads)
        for name in ("divergence", "share", "floor"):
            check_array(name, getattr(self, name), heads, np.float64)
        for name in ("controls", "control_shares"):
            check_array(name, getattr(self, name), (len(self.controls), *heads), np.float64)
        if not len(self.controls):
            raise CaptureError("a test against chance needs at least one control.")

    @property
    def level(self) -> float:
        """How often chance alone would call any head beyond chance: 1 / (controls + 1)."""
        return 1 / (len(self.controls) + 1)

    @property
    def threshold(self) -> float:
        """The largest divergence of any head of any control, in bits."""
        return float(self.controls.max())

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """`(layers, heads)`, the heads whose change is beyond chance."""
        beyond: NDArray[np.bool_] = self.divergence > self.threshold
        return beyond


@dataclass(frozen=True, slots=True, eq=False)
class Parts(Explanation):
    """Which part of the adapter? What each part does alone, and the whole at other strengths.

    Attributes:
        variants: (first, second); the second is the adapter that is taken apart.
        names: of the parts, for a person: groups of modules, then thirds of the layers.
        logprobs: `(2,)` float64, of the measured token in (first, second).
        shares: `(2,)` float64, image share of the row that predicts it, mean over layers and heads.
        part_logprobs, part_shares: `(parts,)` float64, the same with the adapter on only there.
        strengths: of the whole adapter, rising; 1 is as trained.
        strength_logprobs, strength_shares: `(strengths,)` float64.
    """

    ARRAYS: ClassVar[_Arrays] = {
        "logprobs": (1, np.float64),
        "shares": (1, np.float64),
        "part_logprobs": (1, np.float64),
        "part_shares": (1, np.float64),
        "strength_logprobs": (1, np.float64),
        "strength_shares": (1, np.float64),
    }

    names: tuple[str, ...]
    strengths: tuple[float, ...]
    logprobs: Numbers = field(repr=False)
    shares: Numbers = field(repr=False)
    part_logprobs: Numbers = field(repr=False)
    part_shares: Numbers = field(repr=False)
    strength_logprobs: Numbers = field(repr=False)
    strength_shares: Numbers = field(repr=False)

    def __post_init__(self) -> None:
        Explanation.__post_init__(self)
        for name, length in (("", 2), ("part_", len(self.names)), ("strength_", len(self.strengths))):
            check_array(f"{name}logprobs", getattr(self, f"{name}logprobs"), (length,), np.float64)
            check_array(f"{name}shares", getattr(self, f"{name}shares"), (length,), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Blur(Explanation):
    """Deletion and insertion: how fast the answer goes as the photo's cells are blurred, and comes as they are shown.

    Both follow one order of the image's cells, the most important first. Every picture is read anew by the vision
    tower, so unlike a `Knockout` this also takes from the image's own tokens what they know of each other; but blurred
    pictures are pictures that no model was trained on. Petsiuk et al. 2018 (RISE, arXiv 1806.07421).

    Attributes:
        grid: cells of the image, (grid_h, grid_w).
        order: `(cells,)` int64, which cell comes when, row by row: cell (y, x) is y · grid_w + x.
        radius: standard deviation of the Gaussian blur, in pixels of the photo: one cell.
        counts: `(steps + 1,)` int64, how many of the first cells are blurred, or shown, from 0 to all.
        deletion: `(variants, steps + 1)` float64, natural-log probability of the measured token with the first cells
            blurred; its first column is the photo as it is.
        insertion: the same with all but the first cells blurred; its last column is the photo as it is.
    """

    ARRAYS: ClassVar[_Arrays] = {
        "order": (1, np.int64),
        "counts": (1, np.int64),
        "deletion": (2, np.float64),
        "insertion": (2, np.float64),
    }

    grid: tuple[int, int]
    radius: float
    order: NDArray[np.int64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    deletion: Numbers = field(repr=False)
    insertion: Numbers = field(repr=False)

    def __post_init__(self) -> None:
        Explanation.__post_init__(self)
        cells, shape = self.grid[0] * self.grid[1], (len(self.variants), len(self.counts))
        check_array("order", self.order, (cells,), np.int64)
        check_array("counts", self.counts, shape[1:], np.int64)
        check_array("deletion", self.deletion, shape, np.float64)
        check_array("insertion", self.insertion, shape, np.float64)
        rising = (np.diff(self.counts) > 0).all() and len(self.counts) > 1
        if not rising or self.counts[0] != 0 or self.counts[-1] != cells:
            raise CaptureError(f"counts must rise from 0 to {cells}; got {self.counts.tolist()}.")

    def deletion_area(self, variant: int) -> float:
        """Area, 0–1, below the token's probability by the share of the cells that is blurred: low for a good order."""
        return self._area(self.deletion[variant])

    def insertion_area(self, variant: int) -> float:
        """Area, 0–1, below the token's probability by the share of the cells that is shown: high for a good order."""
        return self._area(self.insertion[variant])

    def _area(self, logprobs: Numbers) -> float:
        return float(np.trapezoid(np.exp(logprobs), self.counts / self.counts[-1]))


ExplanationEvent = Progress | AnswerToken | Explanation
#: Every kind, as it is called where it travels; its question is called so, too.
EXPLANATIONS: Mapping[str, type[Explanation]] = {
    "attribution": Attribution,
    "knockout": Knockout,
    "chance": Chance,
    "parts": Parts,
    "blur": Blur,
}
