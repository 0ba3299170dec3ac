"""Decide which points and boxes an answer says, and where on the photo they lie; it knows no attention and no model.

| form | where Qwen writes it |
|---|---|
| `[x, y]`, `(x, y)`, `[x1, y1, x2, y2]`, in a list, a fence or a sentence | any of its models |
| `{"point_2d": [x, y], "label": …}`, `{"bbox_2d": [x1, y1, x2, y2], …}` | grounding of Qwen2.5-VL and Qwen3-VL |
| `<points x1="…" y1="…" x2="…" y2="…" alt="…">`, `<point x="…" y="…">` | points as XML, Qwen2.5-VL and Qwen3-VL |
| a tool call's `"coordinate": [x, y]`, of a swipe `"coordinate2"`, too | `computer_use` and `mobile_use` |
| `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`, and the two pairs alone | Qwen2-VL; `<box>` in Qwen-VL |

Read in QwenLM/Qwen3-VL at 96588727: `cookbooks/spatial_understanding.ipynb`, `omni_recognition.ipynb` and
`think_with_images.ipynb` (JSON, 0–1000), `mobile_agent.ipynb` (tool calls, a screen of 999 × 999) and
`cookbooks/utils/agent_function_call.py` (the tools, and the sentence that gives the screen's resolution).

Numbers are fractions of a `Frame`: of 1000 × 1000 unless the prompt's tool description gives the screen's resolution,
or the caller says otherwise. Nothing is guessed from the numbers, and nothing is moved: a point outside the photo stays
there. What an answer begins as a place and does not finish as one is `Unread`, with the reason. What a model thinks,
up to the last `</think>`, is not said.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from inference.errors import InputError
from inference.places import RELATIVE, Frame, Number, Place, Said, Span, Unread
from inference.spelling import Spelling

_N = r"""["']?[-+]?[0-9]{1,9}(?:\.[0-9]{0,9})?["']?"""
_NUMBER = re.compile(r"[-+]?[0-9]{1,9}(?:\.[0-9]{0,9})?")
_LIST = rf"\s*{_N}(?:\s*,\s*{_N})*\s*"
_PAIR = rf"\(\s*{_N}\s*,\s*{_N}\s*\)"
_GROUP = re.compile(rf"\s*(?:\[{_LIST}\]|\({_LIST}\))")
_CORNERS = re.compile(rf"\s*{_PAIR}(?:\s*,\s*{_PAIR})?")
_CUT = re.compile(rf"""[\[(]\s*{_N}\s*,[0-9.,\s"'+-]*\Z""")
#: Every alternative ends, found or not, at the first character that another could begin with: time is linear.
_PIECE = re.compile(
    rf"""
      ["'](?P<key>point_2d|bbox_2d|coordinate2?)["']\s*:\s*["']?
    | ["'](?P<about>\w{{1,40}})["']\s*:\s*(?:"(?P<words>(?:[^"\\\n]|\\.)*)"|'(?P<others>(?:[^'\\\n]|\\.)*)')
    | (?P<open>\{{) | (?P<close>\}})
    | (?:<\|object_ref_start\|>|<ref>)(?P<named>[^<]*)
    | (?P<corners><\|box_start\|>|<box>)
    | (?P<quad><\|quad_start\|>|<quad>)[^<]*
    | (?P<tag><points?\b[^<>]*>?)
    | (?P<pairs>{_PAIR}(?:,{_PAIR})+)
    | (?P<group>\[{_LIST}\]|\({_LIST}\))
    | (?P<cut>{_CUT.pattern})
    """,
    re.VERBOSE | re.ASCII,
)
_NESTED = re.compile(r"\s*\[\s*(?=[\[(])")
_COMMA = re.compile(r"\s*,?")
_NULL = re.compile(r"(?:null|None)\b")
_AXIS = re.compile(rf"\b(?P<axis>[xy])(?P<of>[0-9]{{0,3}})\s*=\s*(?P<number>{_N})", re.ASCII)
_ALT = re.compile(r"""\balt\s*=\s*(?:"(?P<words>[^"]*)"|'(?P<others>[^']*)')""")
_RESOLUTION = re.compile(r"screen(?:['’]s)? resolution is ([1-9][0-9]{0,5})\s?[x×]\s?([1-9][0-9]{0,5})\b", re.ASCII)
_NUMBERS_OF = {"point_2d": 2, "coordinate": 2, "coordinate2": 2, "bbox_2d": 4}
#: What names a place, of the keys beside it.
_LABELS = ("label", "action", "text_content")
_SHOWN = 60
_CUT_OFF = "the answer ends within it"


def said_in(
    answer: str, image_size: tuple[int, int], frame: Frame = RELATIVE, *, pieces: Sequence[str] | None = None
) -> Said:
    """Read the points and boxes of an answer.

    Args:
        answer: what a model wrote; anything at all.
        image_size: (height, width) of the upright photo in pixels.
        frame: what its numbers are fractions of, see `frame_in`.
        pieces: the text that each of its tokens adds, joined the answer; see `Token.text`.

    Raises:
        InputError: pieces of another text.
    """
    if pieces is not None and "".join(pieces) != answer:
        raise InputError("The pieces are not the answer's: joined they are another text.", "Give its own tokens.")
    reader = _Reader(answer, frame, image_size)
    thought = answer.rfind("</think>")
    if answer.find("<think>", thought + 1) < 0:  # else it ends while it thinks
        reader.read(max(thought, 0))
    places = [replace(place, label=place.label or about.label) for place, about in reader.places]
    if pieces is not None:
        spelled = Spelling(pieces)
        places = [
            replace(place, numbers=tuple(_with_tokens(number, answer, spelled) for number in place.numbers))
            for place in places
        ]
    return Said(tuple(places), tuple(reader.unread))


def frame_in(words: Iterable[str | None]) -> Frame:
    """The screen that a prompt's tool description gives, `The screen's resolution is WxH`; without one, 1000 × 1000.

    Args:
        words: system text and prompt; the first that gives a resolution counts.
    """
    for text in words:
        found = _RESOLUTION.search(text or "")
        if found:
            return Frame(float(found[1]), float(found[2]))
    return RELATIVE


def _with_tokens(number: Number, answer: str, spelled: Spelling) -> Number:
    digits = [place for place in range(*number.span) if answer[place].isdecimal()]
    return replace(number, tokens=tuple(sorted({each for at in digits for each in spelled.tokens(at, at + 1)})))


@dataclass(slots=True)
class _Object:
    """What stands between two braces, or outside of all."""

    words: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return next((self.words[key] for key in _LABELS if key in self.words), "")


class _Reader:
    """Goes through an answer once, from left to right; every piece is consumed where it is recognised."""

    def __init__(self, text: str, frame: Frame, image_size: tuple[int, int]) -> None:
        self._text, self._frame, self._size = text, frame, image_size
        self._objects = [_Object()]
        self._named = ""
        self.places: list[tuple[Place, _Object]] = []
        self.unread: list[Unread] = []

    def read(self, at: int) -> None:
        while found := _PIECE.search(self._text, at):
            at = self._piece(found)

    def _piece(self, found: re.Match[str]) -> int:
        """Take one piece; returns where the next may begin."""
        if found["key"]:
            return self._keyed(found)
        if found["about"] and len(self._objects) > 1:
            self._objects[-1].words.setdefault(found["about"], found["words"] or found["others"] or "")
        elif found["open"]:
            self._objects.append(_Object())
        elif found["close"] and len(self._objects) > 1:
            self._objects.pop()
        elif found["named"] is not None:
            self._named = found["named"].strip()
        elif found["corners"]:
            return self._cornered(found)
        elif found["quad"]:
            self._refuse(found.start(), "four corners, which are neither a point nor a box")
        elif found["tag"]:
            self._tagged(found)
        elif found["pairs"]:
            self._paired(found.span())
        elif found["group"]:
            self._bare(found.span())
        elif found["cut"]:
            self._refuse(found.start(), _CUT_OFF)
        return found.end()

    def _keyed(self, found: re.Match[str]) -> int:
        key, at = found["key"], found.end()
        if _NULL.match(self._text, at):
            return at
        nested = _NESTED.match(self._text, at)
        group = _GROUP.match(self._text, nested.end() if nested else at)
        if group is None:
            cut = _CUT.match(self._text, nested.end() if nested else at)
            self._refuse(found.start(), _CUT_OFF if cut else f"no list of numbers stands at {key}")
            return cut.end() if cut else at
        while group is not None:
            at = group.end()
            numbers, expected = self._numbers(group.span()), _NUMBERS_OF[key]
            if len(numbers) == expected:
                self._add(numbers, group.span(), key)
            else:
                self._refuse(found.start(), f"{_count(len(numbers))} at {key}, which has {expected}")
            comma = _COMMA.match(self._text, at) if nested else None
            group = _GROUP.match(self._text, comma.end()) if comma else None
        return at

    def _cornered(self, found: re.Match[str]) -> int:
        inside = _CORNERS.match(self._text, found.end()) or _GROUP.match(self._text, found.end())
        numbers = self._numbers(inside.span()) if inside else ()
        if inside is None or len(numbers) not in (2, 4):
            self._refuse(found.start(), f"{_count(len(numbers))} in a box, which has 4")
            return found.end()
        self._add(numbers, inside.span(), "", self._named)
        return inside.end()

    def _tagged(self, found: re.Match[str]) -> None:
        axes: dict[str, dict[str, Number]] = {}
        for each in _AXIS.finditer(self._text, *found.span()):
            axes.setdefault(each["of"], {}).setdefault(each["axis"], self._numbers(each.span("number"))[0])
        alt = _ALT.search(found["tag"])
        for of, pair in axes.items():
            if len(pair) == 2:
                spans = [number.span for number in pair.values()]
                self._add((pair["x"], pair["y"]), (min(spans)[0], max(spans)[1]), "", alt[1] or alt[2] if alt else "")
            else:
                self._refuse(found.start(), f"{next(iter(pair))}{of} without its other axis")
        if not axes and "=" in found["tag"]:
            self._refuse(found.start(), "a point without x and y")

    def _paired(self, span: Span) -> None:
        groups = [each.span() for each in _GROUP.finditer(self._text, *span)]
        if len(groups) == 2 and not self._text.startswith("[", span[0] - 1, span[0]):
            self._add(self._numbers(span), span)
        else:
            for each in groups:
                self._bare(each)

    def _bare(self, span: Span) -> None:
        numbers = self._numbers(span)
        if len(numbers) in (2, 4):
            self._add(numbers, span)

    def _numbers(self, span: Span) -> tuple[Number, ...]:
        return tuple(Number(each[0], each.span()) for each in _NUMBER.finditer(self._text, *span))

    def _add(self, numbers: tuple[Number, ...], span: Span, key: str = "", label: str = "") -> None:
        kind: Literal["point", "box"] = "point" if len(numbers) == 2 else "box"
        place = Place(kind, key, label, numbers, span, self._frame, self._size)
        self.places.append((place, self._objects[-1]))

    def _refuse(self, start: int, why: str) -> None:
        shown = self._text[start : start + _SHOWN].split("\n")[0]
        self.unread.append(Unread(shown, (start, start + len(shown)), why))


def _count(numbers: int) -> str:
    return "1 number" if numbers == 1 else f"{numbers} numbers"
