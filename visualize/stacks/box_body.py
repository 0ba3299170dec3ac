"""Decide what a browser or a program gets of a box that a person gave: numbers, their texts, a matrix, the best heads.

The browser computes nothing: it picks a layer and a head, and says what is written here.
"""

import math
from collections.abc import Sequence

import numpy as np

from inference.boxes import Box
from inference.measures import Measure
from inference.records import Comparison
from visualize.json_values import Json, finite
from visualize.numbers.box_scores import BoxScores, InBox, box_scores
from visualize.numbers.caption import plain, quoted
from visualize.numbers.head_choice import head_text
from visualize.numbers.scale import ColourLimits, diverging_limits, number, shared_limits
from visualize.numbers.token_choice import TokenChoice, heads_recorded
from visualize.numbers.top_heads import top_heads
from visualize.numbers.verdict import SaidInTarget, Verdict, said_beside
from visualize.pictures.bar import limits_json
from visualize.stacks.changes import sides_of
from visualize.stacks.stack_choice import StackChoice

#: So many heads are named for a variant.
NAMED_HEADS = 5


def box_body(comparison: Comparison, boxes: object, choice: StackChoice) -> dict[str, Json]:
    """What stands beside the pictures for a box: numbers of the chosen tokens' rows, for all layers.

    Args:
        comparison: what was recorded.
        boxes: one or several, see `inference.boxes.as_boxes`.
        choice: tokens, window and variants, and a set of heads where one is chosen; its view is not looked at, nor
            another head: all heads that were recorded are in it, and the numbers are of the attention itself.

    Returns:
        `boxes` as measured, `notes`, `about` (a line that says of what the numbers are), `of_maximum` (what to say
        where the maximum over heads is shown), and per variant `numbers`: `share`, `ratio` and `hit` by head (`mean`,
        and each head and the set where these tokens' heads were recorded), one text per layer; against the first,
        `change`; and `verdict`, where any variant says a place. `said`: then a sentence per variant, with its counts.

    Raises:
        SelectionError: what `box_scores` refuses.
    """
    variants = choice.variants(comparison)
    few = choice.head if isinstance(choice.head, tuple) else ()
    scores = box_scores(comparison, boxes, choice.token, window=choice.window, variants=variants, few=few)
    said = said_beside(comparison, scores.variants, scores.boxes)
    says = any(each.places for each in said)
    numbers: dict[str, Json] = {}
    for index, name in enumerate(scores.variants):
        parts: dict[str, Json] = dict(_texts(scores, index, str(head_text(few)), said[index] if says else None))
        if index and comparison.tokens:
            parts["change"] = _changes(scores, index, str(head_text(few)))
        numbers[name] = parts
    return {
        "boxes": _boxes(scores.boxes),
        "notes": list(scores.notes),
        "about": _about(comparison, scores, choice.token),
        "of_maximum": "A maximum over heads is no single row: it has no share of attention in a box.",
        "numbers": numbers,
        "said": _counts(scores, said) if says else [],
    }


def box_matrix(comparison: Comparison, boxes: object, against: str = "") -> dict[str, Json]:
    """Where heads look into a box: measures for "where did it change?", and the heads with the largest share in it.

    Of the tokens whose heads were recorded.

    Args:
        comparison: what was recorded.
        boxes: one or several, see `inference.boxes.as_boxes`.
        against: the variant that the others are compared with, see `changes_json`.

    Returns:
        `matrix`: per other variant (of one variant, of itself) and measure what `changes_json` has; `heads`: per
        variant its `NAMED_HEADS` best by attention share in the box; `top`, the same as text. All empty where the
        variants' heads are of different tokens.

    Raises:
        SelectionError: what `box_scores` refuses, or a variant that was not recorded.
    """
    first, others = sides_of(comparison, against)
    scores = box_scores(comparison, boxes, variants=[first.adapter, *(each.adapter for each in others)])
    if scores.heads is None or any(each.focus != first.focus for each in others):
        return {"matrix": {}, "heads": {}, "top": {}}
    shares = scores.heads.share  # (variants, layers, heads)
    limits = shared_limits(*shares.astype(np.float32))
    base = _measure(f"share in box: {plain(scores.variants[0])}", shares[0], limits)
    matrix: dict[str, Json] = {} if len(shares) > 1 else {scores.variants[0]: {"box": base}}
    deltas = [each - shares[0] for each in shares[1:]] if comparison.tokens else []
    change = diverging_limits(*(each.astype(np.float32) for each in deltas)) if deltas else None
    for index, name in enumerate(scores.variants[1:], 1):
        own = {"box_against": base, "box": _measure(f"share in box: {plain(name)}", shares[index], limits)}
        if change is not None:
            own = {"box_change": _measure("Δ share in box", deltas[index - 1], change), **own}
        matrix[name] = dict(own)
    top = {name: head_text(top_heads(share, NAMED_HEADS)) for name, share in zip(scores.variants, shares, strict=True)}
    return {"matrix": matrix, "heads": {name: _best(scores, name) for name in scores.variants}, "top": dict(top)}


def box_json(comparison: Comparison, boxes: object, token: TokenChoice) -> dict[str, Json]:
    """What a program gets of a box: plain numbers per variant, layer and head.

    Args:
        comparison: what was recorded.
        boxes: one or several, see `inference.boxes.as_boxes`.
        token: whose rows.

    Returns:
        `boxes` as measured (cut to the photo, which `notes` say), `area` (share of the photo, 0–1), and per variant
        `mean`, of the mean of the heads: `share` (of the whole row, 0–1), `ratio` and `hit` per layer; and `heads`, the
        same per layer and head, None where these tokens' heads were not recorded. A ratio is None where a row puts
        nothing on the image. `said`: of how many said places how many lie `inside`, and how far `away` the nearest is,
        in pixels; None where none is said.

    Raises:
        SelectionError: what `box_scores` refuses.
    """
    scores = box_scores(comparison, boxes, token)
    said = said_beside(comparison, scores.variants, scores.boxes)
    of_variants: list[Json] = [
        {
            "adapter": name,
            "mean": _plain_numbers(scores.mean, index),
            "heads": None if scores.heads is None else _plain_numbers(scores.heads, index),
            "said": {"places": each.places, "inside": each.inside, "away": finite(each.away)},
        }
        for index, (name, each) in enumerate(zip(scores.variants, said, strict=True))
    ]
    return {
        "boxes": _boxes(scores.boxes),
        "notes": list(scores.notes),
        "area": scores.area,
        "tokens": list(scores.tokens),
        "scores": of_variants,
    }


def _plain_numbers(found: InBox, index: int) -> dict[str, Json]:
    ratio = np.vectorize(finite, otypes=[object])(found.ratio[index]).tolist()
    return {"share": found.share[index].tolist(), "ratio": ratio, "hit": found.hit[index].tolist()}


def _boxes(boxes: Sequence[Box]) -> Json:
    return [list(box) for box in boxes]


def _about(comparison: Comparison, scores: BoxScores, token: TokenChoice) -> str:
    first = comparison.recordings[0]
    chosen = [first.tokens[index] for index in scores.tokens]
    row = quoted(chosen[0]) if len(chosen) == 1 else f"the mean of {len(chosen)} tokens"
    many = "the box" if len(scores.boxes) == 1 else f"the {len(scores.boxes)} boxes together"
    heads = (
        ""
        if all(heads_recorded(each, token) for each in comparison.recordings)
        else (" Single heads of this choice were not recorded: the mean of all heads is measured.")
    )
    return (
        f"In {many} ({number(scores.area, 'share')} % of the photo): share of all attention of {row}; ratio to the "
        f"mean of all boxes of that size.{heads}"
    )


def _counts(scores: BoxScores, said: Sequence[SaidInTarget]) -> list[Json]:
    """Per variant, how many of its maps have their peak inside, and how many of its places lie inside."""
    what, hits = ("heads", scores.heads.hit) if scores.heads is not None else ("layers", scores.mean.hit)
    many = "the box" if len(scores.boxes) == 1 else "the boxes"
    return [
        f"{plain(name)}: the peak lies in {many} in {int(hit.sum())} of {hit.size} {what}; of what it says, "
        f"{each.inside} of {each.places} {'place does' if each.places == 1 else 'places do'}."
        for name, hit, each in zip(scores.variants, hits, said, strict=True)
    ]


def _texts(scores: BoxScores, index: int, few: str, said: SaidInTarget | None) -> dict[str, Json]:
    found = {"mean": (scores.mean.share[index], scores.mean.ratio[index], scores.mean.hit[index])}
    if scores.few is not None:
        found[few] = scores.few.share[index], scores.few.ratio[index], scores.few.hit[index]
    if scores.heads is not None:
        of_heads = scores.heads.share[index].T, scores.heads.ratio[index].T, scores.heads.hit[index].T
        found |= {str(head): parts for head, parts in enumerate(zip(*of_heads, strict=True))}
    verdicts: dict[str, Json] = {}
    if said is not None:
        verdicts = {
            head: [Verdict(*each, said).words for each in zip(hit.tolist(), share.tolist(), strict=True)]
            for head, (share, _, hit) in found.items()
        }
    return {
        **({"verdict": verdicts} if verdicts else {}),
        "share": {
            head: [f"{number(each, 'share')} %" for each in share.tolist()] for head, (share, _, _) in found.items()
        },
        "ratio": {head: [number(each, "nats") for each in ratio.tolist()] for head, (_, ratio, _) in found.items()},
        "hit": {
            head: ["peak inside" if each else "peak outside" for each in hit.tolist()]
            for head, (_, _, hit) in found.items()
        },
    }


def _changes(scores: BoxScores, index: int, few: str) -> dict[str, Json]:
    deltas = {"mean": scores.mean.share[index] - scores.mean.share[0]}
    if scores.few is not None:
        deltas[few] = scores.few.share[index] - scores.few.share[0]
    if scores.heads is not None:
        deltas |= {str(head): each for head, each in enumerate((scores.heads.share[index] - scores.heads.share[0]).T)}
    return {head: [_points(each) for each in values.tolist()] for head, values in deltas.items()}


def _best(scores: BoxScores, variant: str) -> list[Json]:
    return [
        {"layer": each.layer, "head": each.head, "text": f"{number(each.share, 'share')} %"}
        for each in scores.ranked(variant)[:NAMED_HEADS]
    ]


def _measure(label: str, values: Measure, limits: ColourLimits) -> dict[str, Json]:
    words = _points if limits.signed else lambda each: f"{number(each, 'share')} %"
    return {
        "values": [[float(f"{each:.4g}") for each in row] for row in values.tolist()],
        "texts": [[words(each) for each in row] for row in values.tolist()],
        "limits": limits_json(limits),
        "label": label,
    }


def _points(value: float) -> str:
    return f"{number(value, 'share difference', sign=True)} pp" if math.isfinite(value) else "–"
