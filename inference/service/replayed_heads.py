"""What a result has of single heads and other views, and what a replay must record of the rest; it asks no engine."""

from dataclasses import replace
from typing import get_args

from inference.errors import SelectionError
from inference.recording import ExtraView
from inference.records import Comparison
from inference.request import Request
from inference.service.results import Result
from visualize.numbers.views import VIEWS, View


def extra_views(comparison: Comparison, focus: tuple[int, ...], view: View) -> tuple[ExtraView, ...]:
    """What is recorded of tokens beside attention for a view: nothing where it needs nothing, else all that can be."""
    if VIEWS[view].recorded is not None and comparison.elsewhere:
        raise SelectionError(f"The {view} view is of one image; this prompt has several.", "Choose another view.")
    return () if VIEWS[view].recorded is None else all_views(comparison, focus)


def all_views(comparison: Comparison, focus: tuple[int, ...]) -> tuple[ExtraView, ...]:
    """Everything of the answer's tokens, and no gradient of others; nothing of several images."""
    if comparison.elsewhere:
        return ()
    tokens = comparison.recordings[0].tokens
    answered = all(tokens[index].role in ("answer", "end") for index in focus if index < len(tokens))
    return tuple(view for view in get_args(ExtraView) if answered or view != "gradient")


def has_heads(written: Result, focus: tuple[int, ...], views: tuple[ExtraView, ...] = ()) -> bool:
    """Whether the single heads of exactly these tokens, and these views, are recorded in it."""
    return set(views) <= set(written.request.views) and all(
        recording.focus == focus for recording in written.comparison.recordings
    )


def replay_of(written: Result, focus: tuple[int, ...], views: tuple[ExtraView, ...] = ()) -> Request:
    """What records the heads of other tokens, and other views: the same question, its answer replayed."""
    ids = tuple(shown.id for shown in written.comparison.tokens if shown.role in ("answer", "end")) or None
    return replace(written.request, answer=ids, focus=focus, views=views)


def with_heads_of(written: Result, replayed: Result) -> Result:
    """What was written, with the heads of another token in place of its own; all else of the replay is the same."""
    pairs = list(zip(written.comparison.recordings, replayed.comparison.recordings, strict=True))
    if any(own.tokens != other.tokens for own, other in pairs):
        return replayed
    recordings = tuple(
        replace(
            own,
            focus=other.focus,
            by_head=other.by_head,
            general=other.general,
            gradient=other.gradient,
            named=other.named,
            named_alone=other.named_alone,
            elsewhere=other.elsewhere,
        )
        for own, other in pairs
    )
    return replace(written, comparison=replace(written.comparison, recordings=recordings), ranks=replayed.ranks)
