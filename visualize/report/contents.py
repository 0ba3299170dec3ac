"""Decide which numbers a report holds and which it leaves out, and say both; it knows no HTML.

What does not fit is left out as a whole and said, never thinned. In this order, as long as there is room:

1. the choice that the report opens on, and the other views of its token;
2. every head, and the maximum over heads, of the tokens whose heads were recorded: all of them or none;
3. the head mean of the answer's tokens, then of the question's words;
4. windows of layers of the token that it opens on, and the mean over the whole answer.

Of the boxes that were drawn when it was made: first the matrix and the numbers of what it opens on, at the end those of
the other tokens and windows that are inside.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from inference.boxes import Box, text_of
from inference.errors import SelectionError
from inference.focus import digit_tokens
from inference.recording import Recording
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.head_choice import Head
from visualize.numbers.rank_heads import KeptRanks
from visualize.numbers.token_choice import TokenChoice, answer_indices
from visualize.numbers.views import View
from visualize.report.pack import packed
from visualize.stacks.box_body import box_body, box_matrix
from visualize.stacks.heads_body import heads_body
from visualize.stacks.scene import WINDOWS
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

#: So many tokens at most have their stack in a report.
MOST_TOKENS = 40


@dataclass(frozen=True, slots=True)
class ReportContents:
    """The numbers of a report.

    Attributes:
        stacks: per choice, its key (JSON of token, head, view, window, against) and its stack, packed, in base64.
        heads: per choice whose heads are all inside, its key (of the head mean) and what stands before the maps in each
            layer's `heads_body`, one after another, deflated, in base64; the maps are those of the heads' stacks.
        boxes: the same of the numbers in the boxes that were drawn, by key (JSON of box, token, window, against), JSON,
            deflated, in base64; under the key `matrix`, what does not depend on the token.
        words: what is inside and what is left out, a sentence each.
    """

    stacks: dict[str, str]
    heads: dict[str, str]
    boxes: dict[str, str]
    words: tuple[str, ...]


def report_contents(comparison: Comparison, shown: StackChoice, room: int, boxes: Sequence[Box] = ()) -> ReportContents:
    """Fill a report.

    Args:
        comparison: what was recorded.
        shown: what the report opens on.
        room: bytes that the numbers may take; what it opens on is inside in any case.
        boxes: that were drawn, inside the photo; their numbers for what it opens on are inside in any case, too.

    Raises:
        SelectionError: what it opens on was not recorded.
    """
    filling = _Filling(comparison, room)
    filling.put(shown)
    if boxes:
        filling.put_boxes(boxes, shown)
    opening = replace(shown, head="mean", window=0)
    for view in ("raw", *(view for view in get_args(View) if view != "raw")):
        filling.add(replace(opening, view=view))
    raw = replace(opening, view="raw")
    heads = _recorded(comparison)
    held = heads is not None and filling.add_heads(replace(raw, token=heads))
    tokens = _tokens_to_show(comparison.recordings[0])
    for token in tokens[:MOST_TOKENS]:
        filling.add(replace(raw, token=token))
    for window in WINDOWS[1:]:
        filling.add(replace(raw, window=window))
    answer = answer_indices(comparison.recordings[0].tokens)
    if len(answer) > 1:
        filling.add(replace(raw, token=(answer[0], answer[-1])))
    choices = [json.loads(key) for key in filling.stacks]
    words = (
        _words_of_tokens(choices, tokens),
        _words_of_heads(heads, held),
        _words_of_views(choices),
        _words_of_boxes(boxes, [filling.add_boxes(boxes, choice) for choice in filling.choices] if boxes else []),
    )
    return ReportContents(filling.stacks, filling.heads, filling.boxes, words)


class _Filling:
    """Takes what fits; what a comparison does not have is left out."""

    def __init__(self, comparison: Comparison, room: int) -> None:
        self._comparison, self._room, self._rank = comparison, room, KeptRanks()
        self.stacks: dict[str, str] = {}
        self.heads: dict[str, str] = {}
        self.boxes: dict[str, str] = {}
        self.choices: list[StackChoice] = []

    def put(self, choice: StackChoice) -> None:
        """Take it, whether it fits or not."""
        text = self._packed(choice)
        self.stacks[self._key(choice)] = text
        self.choices.append(choice)
        self._room -= len(text)

    def add(self, choice: StackChoice) -> bool:
        """Take it if it fits; whether it is inside now."""
        key = self._key(choice)
        if key in self.stacks:
            return True
        if self._room <= 0:
            return False
        try:
            text = self._packed(choice)
        except SelectionError:  # e.g. sinks that cannot be told with so few rows: the page says so, too
            return False
        if len(text) > self._room:
            return False
        self.stacks[key] = text
        self.choices.append(choice)
        self._room -= len(text)
        return True

    def add_heads(self, choice: StackChoice) -> bool:
        """Take every head of a token, and the maximum over them, if all of them fit."""
        before, room, chosen = dict(self.stacks), self._room, list(self.choices)
        count = self._comparison.model.num_heads
        wanted: list[Head] = ["mean", "max", *range(count)]
        for done, head in enumerate(wanted):
            used = room - self._room
            if not self.add(replace(choice, head=head)) or used * len(wanted) > room * done:
                self.stacks, self._room, self.choices = before, room, chosen
                return False
        self.heads[self._key(choice)] = _base64(b"".join(self._prefixes(choice)))
        return True

    def put_boxes(self, boxes: Sequence[Box], choice: StackChoice) -> None:
        """Take the matrix of boxes and their numbers for a choice, whether they fit or not."""
        self._put_box(json.dumps("matrix"), box_matrix(self._comparison, boxes, choice.against))
        self._put_box(self._box_key(boxes, choice), box_body(self._comparison, boxes, choice))

    def add_boxes(self, boxes: Sequence[Box], choice: StackChoice) -> bool:
        """Take the numbers of boxes for a choice if there is room left; whether they are inside now."""
        key = self._box_key(boxes, choice)
        if key not in self.boxes and self._room > 0:
            self._put_box(key, box_body(self._comparison, boxes, choice))
        return key in self.boxes

    def _put_box(self, key: str, found: dict[str, Json]) -> None:
        self.boxes[key] = _base64(json.dumps(found, allow_nan=False, separators=(",", ":")).encode())
        self._room -= len(self.boxes[key])

    def _box_key(self, boxes: Sequence[Box], choice: StackChoice) -> str:
        whole = choice.json(self._comparison)
        names = ("token", "window", "against", *(("head",) if isinstance(choice.head, tuple) else ()))
        return json.dumps({"box": text_of(boxes)} | {name: whole[name] for name in names})

    def _packed(self, choice: StackChoice) -> str:
        return base64.b64encode(packed(stack_body(self._comparison, choice, self._rank))).decode()

    def _prefixes(self, choice: StackChoice) -> Iterator[bytes]:
        for layer in range(self._comparison.model.num_layers):
            body = heads_body(self._comparison, choice, layer, self._rank)
            yield body[: 8 + int.from_bytes(body[4:8], "little")]

    def _key(self, choice: StackChoice) -> str:
        whole: dict[str, Json] = choice.json(self._comparison)
        return json.dumps({name: whole[name] for name in ("token", "head", "view", "window", "against")})


def _base64(content: bytes) -> str:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(deflate.compress(content) + deflate.flush()).decode()


def _recorded(comparison: Comparison) -> TokenChoice | None:
    """The token, run of tokens or digits whose single heads all variants recorded, if there are such."""
    focus = {recording.focus for recording in comparison.recordings}
    tokens = sorted(next(iter(focus)))
    if len(focus) == 1 and len(tokens) > 1 and tuple(tokens) == digit_tokens(comparison.recordings[0].tokens):
        return "digits"
    if len(focus) > 1 or tokens != list(range(tokens[0], tokens[-1] + 1)):
        return None
    return tokens[0] if len(tokens) == 1 else (tokens[0], tokens[-1])


def _tokens_to_show(recording: Recording) -> list[int]:
    """Tokens of the answer with its end, then the words of the question."""
    roles = (("answer", "end"), ("prompt",))
    return [index for some in roles for index, token in enumerate(recording.tokens) if token.role in some]


def _words_of_tokens(choices: Sequence[dict[str, Any]], wanted: Sequence[int]) -> str:
    inside = sorted({choice["token"] for choice in choices if isinstance(choice["token"], int)})
    missing = sorted(set(wanted) - set(inside))
    said = f"Inside, for all layers: the mean of all heads for tokens {_runs(inside)}."
    return f"{said} Left out: tokens {_runs(missing)} of the answer and the question." if missing else said


def _words_of_heads(heads: TokenChoice | None, held: bool) -> str:
    if heads is None:
        return "Single heads are left out: they were recorded for tokens that are no run."
    if held:
        return f"Inside, too: every head for {_token(heads)}."
    return f"Single heads (recorded for {_token(heads)}) are left out: they would make the file too large."


def _words_of_views(choices: Sequence[dict[str, Any]]) -> str:
    more: dict[str, list[str]] = {}
    for choice in choices:
        view, window = choice["view"], choice["window"]
        if choice["head"] == "mean" and (window or view != "raw" or isinstance(choice["token"], list)):
            around = f", ±{window} layers" if window else ""
            more.setdefault(_token(choice["token"]), []).append(f"{view} view{around}")
    also = [f"Also for {token}: {'; '.join(views)}." for token, views in more.items()]
    left = "Everything else is left out, and says so where it is chosen; an NPZ of this result holds all of it."
    return " ".join([*also, left])


def _words_of_boxes(boxes: Sequence[Box], held: Sequence[bool]) -> str:
    if not boxes:
        return "No box was drawn when this file was saved, and none can be measured in it: draw boxes on the page."
    drawn = "the box" if len(boxes) == 1 else f"the {len(boxes)} boxes"
    some = "" if all(held) else " for a part of these tokens; the others would make the file too large"
    return f"Inside, too: the numbers in {drawn} drawn when this file was saved{some}. No other can be measured in it."


def _token(token: object) -> str:
    if token == "digits":
        return "the digits of the answer"
    return f"the mean of tokens {token[0]}–{token[1]}" if isinstance(token, (tuple, list)) else f"token {token}"


def _runs(indices: Sequence[int]) -> str:
    """`3, 7–12`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)
