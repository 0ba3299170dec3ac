"""Decide the line that says what a picture shows; a picture is never exported without it.

Words of a model or a stranger are quoted with everything unprintable escaped: a newline, a direction override or half a
character must not change how the line reads. Escaping for HTML is the business of whoever writes HTML.
"""

from inference.records import Recording, Token
from visualize.reduce import Layer, Selection, token_indices
from visualize.scale import ColourLimits

_LONGEST = 40


def caption(model: str, variant: str, recording: Recording, selection: Selection, limits: ColourLimits) -> str:
    """One line: model, variant, token, layer, head, view, limits with unit, and the path that read the attention.

    Args:
        model: the base model's id.
        variant: what the map belongs to, e.g. `base`, `find-red` or `find-red − base`.
        recording: the tokens and path of what is shown.
        selection: layer, token, head and view.
        limits: the colour scale.

    Raises:
        SelectionError: a token this recording does not have.
    """
    parts = [
        plain(model, most=100),
        plain(variant, most=150),
        token_words(recording, selection),
        layer_words(selection.layer),
        f"head {selection.head}",
        f"view {selection.view}",
        limits.words(),
        f"{recording.attention} attention",
    ]
    return " · ".join(parts)


def token_words(recording: Recording, selection: Selection) -> str:
    """The chosen token as people read it, with the row shown for it: `token 14 “red”, row 218`."""
    indices = token_indices(recording, selection.token)
    if len(indices) == 1:
        token = recording.tokens[indices[0]]
        return f"token {indices[0]} {quoted(token)}, row {token.query}"
    run = tuple(range(indices[0], indices[-1] + 1))
    which = f"{indices[0]}–{indices[-1]}" if indices == run else ", ".join(map(str, indices))
    text = "".join(recording.tokens[index].text for index in indices)
    return f"mean of tokens {which} “{plain(text)}”"


def layer_words(layer: Layer) -> str:
    """`layer 12`, or `layers 3–5 (mean)`."""
    if isinstance(layer, tuple):
        return f"layers {layer[0]}–{layer[1]} (mean)"
    return f"layer {layer}"


def quoted(token: Token) -> str:
    """A token's text in quotes; what an end token or an incomplete character is, in words."""
    if token.text:
        return f"“{plain(token.text)}”"
    return "(end)" if token.role == "end" else "(part of a character)"


def plain(text: str, *, most: int = _LONGEST) -> str:
    """A text on one line: unprintable characters as escapes, cut with an ellipsis where it is longer than `most`."""
    line = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return line if len(line) <= most else line[: most - 1] + "…"
