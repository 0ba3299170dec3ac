"""Decide what the page's pictures are: their size, their colour bars, what stands over and beside them."""

from dataclasses import asdict, replace
from typing import get_args

from PIL import Image

from inference.records import Comparison
from visualize.bar import colour_bar_svg
from visualize.caption import plain
from visualize.data_url import data_url
from visualize.json_values import Json
from visualize.page.choice import Choice, variants
from visualize.palette import DIVERGING, SEQUENTIAL
from visualize.panes import Pane, Panes, panes
from visualize.reduce import View
from visualize.scale import ColourLimits

LONGEST_SIDE = 760  # of a picture in the page, in pixels


def draw(
    comparison: Comparison, choice: Choice, *, written: Comparison | None = None, longest_side: int = LONGEST_SIDE
) -> Panes:
    """What is chosen, ready to be drawn at the page's size.

    Args:
        comparison: what was recorded.
        choice: what to look at.
        written: the result in which the variants wrote their answers, where it is another: the one before a click.
        longest_side: of the pictures, in pixels.

    Raises:
        SelectionError: see `panes`.
    """
    base, adapter = variants(comparison)
    photo = Image.fromarray(comparison.image)
    factor = longest_side / max(photo.size)
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    drawn = panes(
        comparison,
        choice.selection(comparison),
        base=base,
        adapter=adapter,
        colormap=choice.colormap,
        diverging=choice.diverging,
        opacity=choice.opacity,
        smooth=choice.smooth,
        log=choice.log,
        percentile=choice.percentile,
        original_image=photo.resize(size, Image.Resampling.LANCZOS),
    )
    own = {recording.adapter: recording.answer for recording in (written or comparison).recordings}
    shown = [base] if drawn.adapter is None else [base, adapter]
    return replace(drawn, answers=tuple((name or "base", own[name]) for name in shown))


def panes_json(drawn: Panes) -> dict[str, Json]:
    """The pictures as JPEG data URLs with captions, alternative texts and colour bars; the heads to choose from."""
    pictures: list[Json] = [_pane_json(pane) for pane in drawn]
    if drawn.adapter is not None and drawn.difference is None:
        pictures.append({"title": "difference", "missing": "No difference: each variant replayed its own answer."})
    shared = drawn.base.drawing
    signed = drawn.difference.drawing if drawn.difference else None
    return {
        "panes": pictures,
        "where": drawn.stack.headings[0],
        "notes": list(drawn.notes),
        "bar": _bar(shared.limits, shared.colormap),
        "difference_bar": _bar(signed.limits, signed.colormap) if signed else None,
        "sides": [f"{pane.variant} looks more" for pane in drawn.stack.variants],
        "heads": [[head.head, head.words] for head in drawn.stack.heads[0]],
    }


def controls_json(comparison: Comparison, choice: Choice) -> Json:
    """What the page's controls offer, and what is chosen."""
    recording = comparison.recordings[0]
    return {
        "choice": asdict(choice),
        "layers": recording.by_head.shape[0],
        "heads": recording.by_head.shape[1],
        "views": list(get_args(View)),
        "colormaps": list(SEQUENTIAL),
        "diverging": list(DIVERGING),
    }


def _pane_json(pane: Pane) -> Json:
    picture = pane.image
    return {
        "title": plain(pane.variant, most=150),
        "source": data_url(picture, "JPEG"),
        "height": picture.height,
        "width": picture.width,
        "alt": pane.alt,
        "caption": pane.caption,
        "signed": pane.drawing.limits.signed,
    }


def _bar(limits: ColourLimits, colormap: str) -> Json:
    return {"svg": colour_bar_svg(limits, colormap=colormap), "words": limits.words(), "signed": limits.signed}
