"""Decide what is measured in a box that a person gave: per variant, layer and head, and of the mean of the heads.

Two kinds of rows are recorded, and which one a number is of is never left open:

- single heads (`Recording.by_head`), for the focus tokens alone;
- the mean of all heads (`Recording.by_token`), for every token.

The numbers are of the attention itself, whatever view is shown, by the formulas of `inference.measures`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inference.boxes import Box, on_photo
from inference.errors import SelectionError
from inference.measures import Measure, attention_ratio, box_share, cell_coverage, pointing_game
from inference.recording import Recording
from inference.records import Comparison
from visualize.numbers.caption import variant_name
from visualize.numbers.reduce import Selection, around, select
from visualize.numbers.side_by_side import recordings_of
from visualize.numbers.token_choice import TokenChoice, heads_recorded, token_indices

BoxOrder = Literal["share", "ratio"]


@dataclass(frozen=True, slots=True, eq=False)
class InBox:
    """Numbers of maps in a box, all of one shape.

    Attributes:
        share: float64, 0–1, of the row's whole attention: what is not on the image counts, too.
        ratio: float64, ≥ 0, see `attention_ratio`; nan where a row puts nothing on the image.
        hit: bool, see `pointing_game`.
    """

    share: Measure
    ratio: Measure
    hit: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HeadInBox:
    """One head in a ranking by its score in the box.

    Attributes:
        layer, head: 0-based.
        share, ratio, hit: see `InBox`.
    """

    layer: int
    head: int
    share: float
    ratio: float
    hit: bool


@dataclass(frozen=True, slots=True, eq=False)
class BoxScores:
    """What each variant's attention has in a box, or in the union of several.

    Attributes:
        boxes: `(top, left, bottom, right)` in pixels of the photo, as they were measured: inside it.
        notes: what was done to the boxes, a sentence each.
        area: share of the photo that they cover, 0–1: what an even map's image share would have in them.
        variants: `base` or adapters' names, in the order of the arrays' first axis.
        tokens: indices of the tokens whose rows' mean is measured.
        mean: of the mean of all heads, `(variants, layers)`.
        heads: of single heads, `(variants, layers, heads)`; None where these tokens' heads were not recorded.
        few: of the mean of the `few` heads that were asked for, `(variants, layers)`, the same in every layer; or None.
    """

    boxes: tuple[Box, ...]
    notes: tuple[str, ...]
    area: float
    variants: tuple[str, ...]
    tokens: tuple[int, ...]
    mean: InBox
    heads: InBox | None
    few: InBox | None = None

    def ranked(self, variant: str, by: BoxOrder = "share") -> tuple[HeadInBox, ...]:
        """All heads of all layers, the largest score first; the lower layer and head first where scores are equal.

        Args:
            variant: `base` or an adapter's name.
            by: `"share"` or `"ratio"`; a head without a ratio comes last.

        Raises:
            SelectionError: a variant or order that there is not, or heads that were not recorded.
        """
        if variant not in self.variants:
            raise SelectionError(f"{variant!r} was not measured; there is {', '.join(self.variants)}.")
        if by not in get_args(BoxOrder):
            raise SelectionError(f"by must be one of {', '.join(get_args(BoxOrder))}; not {by!r}.")
        if self.heads is None:
            raise SelectionError(
                "The single heads of these tokens were not recorded.", "Ask again with these tokens as focus."
            )
        index = self.variants.index(variant)
        share, ratio, hit = (each[index] for each in (self.heads.share, self.heads.ratio, self.heads.hit))
        scores = np.nan_to_num(share if by == "share" else ratio, nan=-1.0)
        order = np.argsort(-scores.ravel(), kind="stable").tolist()
        places = [divmod(flat, share.shape[1]) for flat in order]
        return tuple(
            HeadInBox(layer, head, float(share[layer, head]), float(ratio[layer, head]), bool(hit[layer, head]))
            for layer, head in places
        )


def box_scores(
    comparison: Comparison,
    boxes: object,
    token: TokenChoice = "focus",
    *,
    window: int = 0,
    variants: Sequence[str | None] | None = None,
    few: tuple[tuple[int, int], ...] = (),
) -> BoxScores:
    """How much each variant looks into a box: attention share, attention ratio and pointing hit.

    Args:
        comparison: what was recorded.
        boxes: one box or several, see `inference.boxes.as_boxes`: `(top, left, bottom, right)` in pixels of the upright
            photo. What reaches beyond the photo is cut off and noted; several count as one area, their union.
        token: whose rows; of several tokens, the mean row. The default is the tokens whose heads were recorded.
        window: each layer stands for the mean of the layers `layer − window … layer + window` that exist.
        variants: None is all, in the order recorded; see `Comparison.recording`.
        few: heads `(layer, head)` whose mean row is measured, too; see `Selection`.

    Returns:
        Scores per variant and layer of the mean of the heads, and per head where these were recorded.

    Raises:
        SelectionError: no box, one outside the photo, one without area, numbers that are none, or a token or variant
            that this comparison does not have.
    """
    recordings = recordings_of(comparison, variants)
    inside, notes = on_photo(boxes, comparison.image_size)
    cover = cell_coverage(inside, comparison.image_size, comparison.grid)
    means, heads, sets = [], [], []
    for recording in recordings:
        rows = recording.by_token[list(token_indices(recording, token))].mean(axis=0, dtype=np.float64)
        means.append(_in_box(_windowed(rows, window), inside, comparison.image_size))
        if heads_recorded(recording, token):
            heads.append(_heads_in_box(recording, window, inside, comparison.image_size))
            if few:
                row = select(recording, Selection(0, token, few)).astype(np.float64)
                sets.append(_in_box(np.stack([row] * len(rows)), inside, comparison.image_size))
    return BoxScores(
        boxes=inside,
        notes=notes,
        area=float(cover.mean()),
        variants=tuple(map(variant_name, recordings)),
        tokens=token_indices(recordings[0], token),
        mean=_stacked(means),
        heads=_stacked(heads) if len(heads) == len(recordings) else None,
        few=_stacked(sets) if len(sets) == len(recordings) else None,
    )


def _heads_in_box(recording: Recording, window: int, boxes: tuple[Box, ...], size: tuple[int, int]) -> InBox:
    """`(layers, heads)`, one head at a time: float64 maps of all heads at once would be many times the recording."""
    of_heads = [
        _in_box(_windowed(recording.by_head[:, head].astype(np.float64), window), boxes, size)
        for head in range(recording.by_head.shape[1])
    ]
    return _stacked(of_heads, axis=1)


def _windowed(maps: Measure, window: int) -> Measure:
    """Each layer's mean with its neighbours, `(layers, grid_h, grid_w)`."""
    if not window:
        return maps
    count = len(maps)
    spans = [around(layer, window, count) for layer in range(count)]
    return np.stack(
        [maps[span[0] : span[1] + 1].mean(axis=0) if isinstance(span, tuple) else maps[span] for span in spans]
    )


def _in_box(maps: Measure, boxes: tuple[Box, ...], size: tuple[int, int]) -> InBox:
    return InBox(box_share(maps, boxes, size), attention_ratio(maps, boxes, size), pointing_game(maps, boxes, size))


def _stacked(each: Sequence[InBox], axis: int = 0) -> InBox:
    return InBox(
        np.stack([one.share for one in each], axis),
        np.stack([one.ratio for one in each], axis),
        np.stack([one.hit for one in each], axis),
    )
