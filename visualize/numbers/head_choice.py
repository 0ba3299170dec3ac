"""Decide which heads a choice of heads stands for, and how it is written; knows no recording, view or map."""

import re
from typing import Any, Literal

from inference.errors import SelectionError
from visualize.numbers.token_choice import is_index

#: All heads of a layer, one of them, or a set of heads `(layer, head)` of any layers.
Head = int | Literal["mean", "max"] | tuple[tuple[int, int], ...]
#: So many heads a set may have.
MOST_HEADS = 64

_ONE = re.compile(r"L(0|[1-9]\d{0,3})H(0|[1-9]\d{0,3})", re.ASCII)


def read_head(value: object) -> object:
    """A choice of heads as it is written, `"mean"`, `"max"`, `3` or `"L1H3,L0H2"`; anything else is left as it is."""
    if not isinstance(value, str) or value in ("mean", "max"):
        return value
    found = [_ONE.fullmatch(part.strip()) for part in value.split(",")]
    return tuple((int(one[1]), int(one[2])) for one in found if one) if all(found) else value


def head_text(head: Head) -> int | Literal["mean", "max"] | str:
    """A choice of heads as `read_head` reads it, for an address or a file: a set of heads as text."""
    return ",".join(f"L{layer}H{one}" for layer, one in head) if isinstance(head, tuple) else head


def head_words(head: Head) -> str:
    """`mean of all heads`, `maximum over heads`, `head 3`, or `mean of 2 heads: L1H3, L0H2`."""
    if isinstance(head, tuple):
        names = str(head_text(head)).split(",")
        return f"head {names[0]}" if len(names) == 1 else f"mean of {len(names)} heads: {', '.join(names)}"
    return {"mean": "mean of all heads", "max": "maximum over heads"}.get(str(head), f"head {head}")


def check_head_choice(head: Any) -> None:
    """Pass a well-formed choice of heads; whether a model has them is another question.

    Raises:
        SelectionError: anything else.
    """
    if isinstance(head, tuple):
        pairs = all(isinstance(one, tuple) and len(one) == 2 and all(map(is_index, one)) for one in head)
        if not pairs or not 1 <= len(head) <= MOST_HEADS or len(set(head)) < len(head):
            written = head_text(head) if pairs else repr(head)
            raise SelectionError(
                f"A set of heads is 1 to {MOST_HEADS} different ones, 0-based, such as L1H3,L0H2; not {written:.80}."
            )
    elif not is_index(head) and not (isinstance(head, str) and head in ("mean", "max")):
        raise SelectionError(
            f"head must be 'mean', 'max', a 0-based index or a set such as 'L1H3,L0H2'; not {head!r:.80}."
        )
