"""Decide the line that says what a picture shows; a picture is never exported without it.

Words of a model or a stranger are quoted with everything unprintable escaped: a newline, a direction override or half a
character must not change how the line reads. Escaping for HTML is the business of whoever writes HTML.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.recording import Recording, Token
from visualize.numbers.head_choice import head_words
from visualize.numbers.reduce import Layer, Selection
from visualize.numbers.token_choice import token_indices
from visualize.numbers.views import VIEWS, View

#: Stands in a line where the words of the colour limits belong, as long as the scale is not chosen. No word of a model
#: or a person holds it: `plain` writes what cannot be printed as escapes.
LIMITS = "\0"

#: Of a view that is the same whatever layer is looked at.
NO_LAYER = "the same for every layer and head"

_LONGEST = 40


def caption(model: str, variant: str, recording: Recording, selection: Selection, limits: str) -> str:
    """One line: model, variant, token, layer, head, view, limits with unit, and the path of attention in the passes.

    Args:
        model: the base model's id.
        variant: what the map belongs to, e.g. `base`, `find-red` or `find-red − base`.
        recording: the tokens and path of what is shown.
        selection: layer, token, head and view.
        limits: the words of the colour scale, see `ColourLimits.words`.

    Raises:
        SelectionError: a token this recording does not have.
    """
    parts = [
        plain(model, most=100),
        plain(variant, most=150),
        token_words(recording, selection),
        *([layer_words(selection.layer), f"head {selection.head}"] if len(where(selection)) > 1 else where(selection)),
        f"view {selection.view}",
        limits,
        f"{recording.attention} attention",
    ]
    return " · ".join(parts)


def alternative_text(
    line: str, peak: tuple[int, int] | None, sinks: NDArray[np.bool_], *, view: View = "raw", is_change: bool
) -> str:
    """One sentence for those who cannot see a picture: its caption, where its peak is, how many sinks are marked.

    Args:
        line: the caption.
        peak: (row, column), or None.
        sinks: `(grid_h, grid_w)` bool.
        view: what is shown.
        is_change: whether the picture is a difference.
    """
    shown = "attention" if VIEWS[view].layers else "what the cells themselves say"
    what = f"Change of {shown} over the photo" if is_change else f"{shown[:1].upper()}{shown[1:]} over the photo"
    rows, columns = sinks.shape
    where = "no peak" if peak is None else f"peak at row {peak[0]}, column {peak[1]} of {rows} × {columns}"
    count = int(sinks.sum())
    marked = f", {count} sink cell{'s' * (count != 1)} marked" if count else ""
    return f"{what}: {line}; {where}{marked}."


def variant_name(recording: Recording) -> str:
    """`base`, or the adapter's name."""
    return recording.adapter or "base"


def token_words(recording: Recording, selection: Selection) -> str:
    """The chosen token as people read it, with the row shown for it: `token 14 “red”, row 218`."""
    indices = token_indices(recording, selection.token)
    if len(indices) == 1:
        token = recording.tokens[indices[0]]
        return f"token {indices[0]} {quoted(token)}, row {token.query}"
    run = tuple(range(indices[0], indices[-1] + 1))
    which = f"{indices[0]}–{indices[-1]}" if indices == run else ", ".join(map(str, indices))
    return f"mean of tokens {which} {in_quotes(''.join(recording.tokens[index].text for index in indices))}"


def heading(recordings: Sequence[Recording], selection: Selection) -> str:
    """What stands over pictures side by side: `Predicting “red” · layer 3 · mean of all heads · raw view`.

    An answer token's row is the one that predicts it. Where variants replayed their own answers, both tokens are named.

    Raises:
        SelectionError: a token that a recording does not have.
    """
    roles = [recordings[0].tokens[index].role for index in token_indices(recordings[0], selection.token)]
    verbs = dict.fromkeys("predicting" if role in ("answer", "end") else "reading" for role in roles)
    words = dict.fromkeys(_heading_token(recording, selection) for recording in recordings)
    exact = dict.fromkeys(_heading_token(recording, selection, exact=True) for recording in recordings)
    if len(exact) > len(words):  # the spaces around them are what they differ by
        words = exact
    token = f"{' and '.join(verbs).capitalize()} {' and '.join(words)}"
    return " · ".join([token, *where(selection), f"{selection.view} view"])


def where(selection: Selection) -> list[str]:
    """Of which layer and heads a picture is: `["layer 3", "mean of all heads"]`; one part where layers say nothing."""
    if not VIEWS[selection.view].layers:
        return [NO_LAYER]
    heads = head_words(selection.head)
    return [heads] if isinstance(selection.head, tuple) else [layer_words(selection.layer), heads]


def layer_words(layer: Layer) -> str:
    """`layer 12`, or `layers 3–5 (mean)`."""
    if isinstance(layer, tuple):
        return f"layers {layer[0]}–{layer[1]} (mean)"
    return f"layer {layer}"


def size_words(size: tuple[int, int]) -> str:
    """A photo's (height, width) as people write it, the width first: `1,920 × 1,080 pixels`."""
    return f"{size[1]:,} × {size[0]:,} pixels"


def quoted(token: Token) -> str:
    """A token's text in quotes; what an end token or an incomplete character is, in words."""
    if token.text:
        return in_quotes(token.text)
    return "(end)" if token.role == "end" else "(part of a character)"


def in_quotes(text: str) -> str:
    """A text on one line, in quotes: see `bare`."""
    return f"“{bare(text)}”"


def bare(text: str) -> str:
    """A text on one line without the spaces around it; where there is nothing else, each as ␣."""
    line = plain(text)
    return line.strip() or line.replace(" ", "␣")


def plain(text: str, *, most: int = _LONGEST) -> str:
    """A text on one line: unprintable characters as escapes, cut with an ellipsis where it is longer than `most`."""
    line = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return line if len(line) <= most else line[: most - 1] + "…"


def _heading_token(recording: Recording, selection: Selection, *, exact: bool = False) -> str:
    indices = token_indices(recording, selection.token)
    if len(indices) > 1:
        return f"the {token_words(recording, selection)}"
    token = recording.tokens[indices[0]]
    if token.role == "end":
        return "the end"
    return f"“{plain(token.text).replace(' ', '␣')}”" if exact and token.text else quoted(token)
