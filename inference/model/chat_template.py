"""What a checkpoint's own chat template makes of a conversation, and whose each character of it is; it knows no ids.

The template runs twice: over the words as they are, which is what the model reads, and over the same with each text
replaced by as many private characters of its own, which says where that text stands. Both must agree everywhere else. A
template may cut the spaces around a text, and drop what an assistant thought earlier; it may not change words.

So no special token of a person can be mistaken for the template's, whatever a text holds: across a person's characters
it is no token, see `Rendered.parts`. An added token that is none of these, such as `<think>`, counts as the template's
wherever it stands.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.conversation import Conversation, Turn
from inference.errors import PromptError

#: Whose a character is: the template's, the words' of a turn, or those of system text and tools.
TEMPLATE, WORDS, SYSTEM = 0, 1, 2
_PRIVATE = range(0xF0000, 0x10FFFE)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPE: Final = re.compile(r"(\\u[0-9a-f]{4}|\\.)")
_OTHERWISE = "Leave out what this model was not trained on, such as a system text or turns of a tool."
_CHANGED = "The checkpoint's chat template changes the words of this conversation: whose is whose cannot be told."


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text.

    Attributes:
        text: what the template makes.
        owners: `(characters,)` int8: template, words, or system text and tools.
        literal: see `Conversation.literal`.
    """

    text: str
    owners: NDArray[np.int8]
    literal: bool

    def parts(self, added: re.Pattern[str], special: frozenset[str]) -> Iterator[tuple[int, int, bool]]:
        """Cut the text at its added tokens: (start, end, whether that is such a token), in order.

        Args:
            added: any added token.
            special: those of them that only a template may write.
        """
        start = search = 0
        while found := added.search(self.text, search):
            own = bool(self.owners[found.start() : found.end()].any())
            if own and (self.literal or found.group() in special):
                search = found.start() + 1  # characters of a person
                continue
            if start < found.start():
                yield start, found.start(), False
            yield found.start(), found.end(), True
            start = search = found.end()
        if start < len(self.text):
            yield start, len(self.text), False


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text with the private character that stands for it; without the spaces around it, which a template may cut."""

    mark: str
    text: str
    owner: int
    must: bool  # whether the template has to show it

    @property
    def core(self) -> str:
        return self.text.strip()


class ChatTemplate:
    """One checkpoint's template.

    Args:
        tokenizer: with a chat template.
        added: matches any of its added tokens.
        special: those of them that only a template may write.
    """

    def __init__(self, tokenizer: Any, added: re.Pattern[str], special: frozenset[str]) -> None:
        self._tokenizer, self._added, self._special = tokenizer, added, special

    def render(self, conversation: Conversation) -> Rendered:
        """Render a conversation, with the start of the answer.

        Raises:
            PromptError: the template refuses it, does not show all of it, or changes words.
        """
        tools = [json.loads(tool) for tool in conversation.tools]
        text = self._apply(conversation.messages(), tools)
        marks = _Marks(self._added, lambda token: not (conversation.literal or token in self._special), text)
        messages = list(map(marks.message, conversation.asked, conversation.messages()))
        marked = self._apply(messages, [marks.values(tool, SYSTEM) for tool in conversation.tools])
        return Rendered(text, marks.owners(marked), conversation.literal)

    def _apply(self, messages: list[dict[str, Any]], tools: list[Any]) -> str:
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                messages, tools=tools or None, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template is a program of the checkpoint's, with errors of its own
            reason = str(error)[:200] or type(error).__name__
            raise PromptError(
                f"The checkpoint's chat template refuses this conversation: {reason}.",
                "Order its turns as the model was trained on them.",
            ) from error
        return rendered


class _Marks:
    """The private characters of one conversation's texts.

    Args:
        added: matches any added token.
        readable: tells of an added token whether the template may read it in a text: it is no person's word there.
        text: what the template made of the conversation.
    """

    def __init__(self, added: re.Pattern[str], readable: Callable[[str], bool], text: str) -> None:
        self._added, self._readable, self._text = added, readable, text
        taken = frozenset(text)
        self._free = (chr(code) for code in _PRIVATE if chr(code) not in taken)
        self._pieces: list[_Piece] = []
        self._values: list[tuple[str, str, int]] = []  # JSON marked, its mark, its owner

    def message(self, turn: Turn, message: dict[str, Any]) -> dict[str, Any]:
        """A turn's message with its texts marked."""
        owner, must = SYSTEM if turn.speaker == "system" else WORDS, turn.speaker != "assistant"
        content = message["content"]
        if isinstance(content, str):
            message["content"] = self.words(content, owner, must=must)
        else:
            for part in content:
                if part["type"] == "text":
                    part["text"] = self.words(part["text"], owner, must=must)
        for call in message.get("tool_calls", ()):
            about = call.get("function", call)
            about["name"] = self.words(about["name"], owner, must=True)
            arguments = about.get("arguments")
            if isinstance(arguments, str):
                about["arguments"] = self.words(arguments, owner, must=True)
            elif arguments:
                about["arguments"] = self.values(json.dumps(arguments, ensure_ascii=False), owner)
        return message

    def words(self, text: str, owner: int, *, must: bool) -> str:
        """A text with everything in it marked but added tokens that may be read, and spaces at its ends."""
        made, start = "", 0
        for token in self._added.finditer(text):
            if self._readable(token.group()):
                made += self._words(text[start : token.start()], owner, must) + token.group()
                start = token.end()
        return made + self._words(text[start:], owner, must)

    def _words(self, text: str, owner: int, must: bool) -> str:
        if not text.strip():
            return text
        piece = _Piece(self._mark(), text, owner, must)
        self._pieces.append(piece)
        lead = len(text) - len(text.lstrip())
        return text[:lead] + piece.mark * len(piece.core) + text[lead + len(piece.core) :]

    def values(self, text: str, owner: int) -> Any:
        """JSON with its longest text marked, and every added token in it."""
        mark = self._mark()
        found = [each for each in _STRING.finditer(text) if _is_value(text, each)]
        if found:
            longest = max(found, key=lambda each: each.end() - each.start())
            inside = _ESCAPE.split(text[longest.start() + 1 : longest.end() - 1])
            covered = "".join(part if at % 2 else mark * len(part) for at, part in enumerate(inside))
            text = f"{text[: longest.start() + 1]}{covered}{text[longest.end() - 1 :]}"
        text = self._added.sub(lambda token: mark * len(token.group()), text)
        if mark in text:
            self._values.append((text, mark, owner))
        return json.loads(text)

    def owners(self, marked: str) -> NDArray[np.int8]:
        """Whose each character is.

        Args:
            marked: what the template made of the marked texts.

        Raises:
            PromptError: it is not the same as of the texts themselves, or lacks one.
        """
        codes, theirs = _codes(marked), _codes(self._text)
        if len(codes) != len(theirs):
            raise PromptError(_CHANGED, _OTHERWISE)
        owners = np.zeros(len(codes), dtype=np.int8)
        for text, mark, owner in self._values:
            if mark not in marked:
                raise PromptError(
                    "The checkpoint's chat template shows no tools.", "Ask without them, or another model."
                )
            owners[codes == ord(mark)] = owner
            if (start := marked.find(text)) >= 0:
                owners[start : start + len(text)] = owner
        for piece in self._pieces:
            self._own(marked, piece, owners)
        private = [ord(mark) for mark in (*(piece.mark for piece in self._pieces), *(each[1] for each in self._values))]
        if ((codes != theirs) & ~np.isin(codes, private)).any():
            raise PromptError(_CHANGED, _OTHERWISE)
        return owners

    def _own(self, marked: str, piece: _Piece, owners: NDArray[np.int8]) -> None:
        core = piece.core
        start, count = marked.find(piece.mark), marked.count(piece.mark)
        if not count and not piece.must:
            return
        end = start + len(core)
        if count != len(core) or self._text[start:end] != core:
            raise PromptError("The checkpoint's chat template does not show each text exactly once.", _OTHERWISE)
        lead, trail = piece.text.split(core, 1)[0], piece.text[piece.text.index(core) + len(core) :]
        start -= len(lead) if marked[:start].endswith(lead) else 0
        end += len(trail) if marked.startswith(trail, end) else 0
        owners[start:end] = piece.owner

    def _mark(self) -> str:
        mark = next(self._free, None)
        if mark is None:
            raise PromptError("The conversation has too many texts.", "Shorten it.")
        return mark


def _is_value(text: str, string: re.Match[str]) -> bool:
    """Whether a JSON string is a value that no template compares with something: neither a key nor a type."""
    return text[string.end() : string.end() + 1] != ":" and not text.endswith('"type": ', 0, string.start())


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
