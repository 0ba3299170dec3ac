"""Decide what the pictures are that a person keeps: the panes of a choice, on the photo as it is."""

from dataclasses import replace

from inference.records import Comparison
from visualize.page.choice import Choice
from visualize.pictures.panes import Panes, panes


def draw(comparison: Comparison, choice: Choice, *, written: Comparison | None = None) -> Panes:
    """What is chosen, ready to be drawn.

    Args:
        comparison: what was recorded.
        choice: what to look at.
        written: the result in which the variants wrote their answers, where it is another: the one before a replay.

    Raises:
        SelectionError: see `panes`.
    """
    left, *right = pair = choice.pair(comparison)
    drawn = panes(
        comparison,
        choice.selection(comparison),
        base=left,
        adapter=(right[0] or "base") if right else None,
        beside=[recording.adapter for recording in comparison.recordings],  # none changes it by coming into view
        colormap=choice.colormap,
        diverging=choice.diverging,
        opacity=choice.opacity,
        smooth=choice.smooth,
        fade=choice.fade,
        log=choice.log,
        percentile=choice.percentile,
        boxes=choice.boxes,
        said=choice.said,
    )
    if written is None:
        return drawn
    own = {recording.adapter: recording.answer for recording in written.recordings}
    return replace(drawn, answers=tuple((name or "base", own[name]) for name in pair))
