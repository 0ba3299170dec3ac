"""A prompt as the model was trained on it: what was said, by whom, with which tools, and where the image stands.

It holds words and JSON, and knows neither the forms in which messages are written (`inference.messages`) nor a chat
template, a model or an operator's limits.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inference.errors import PromptError

Speaker = Literal["system", "user", "assistant", "tool"]
#: Whose turns may hold an image.
SEES: tuple[Speaker, ...] = ("user", "tool")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says.

    Attributes:
        speaker: system, user, assistant or tool.
        parts: texts, and None where an image stands.
        calls: tools that an assistant calls, each as JSON text; see `Conversation.messages`.
    """

    speaker: Speaker
    parts: tuple[str | None, ...]
    calls: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Its texts, joined."""
        return "".join(part for part in self.parts if part is not None)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns and tools.

    Attributes:
        turns: in order; only the first may be the system's.
        tools: each as JSON text.
        literal: whether every special or added token in its texts is characters, as in a prompt of plain words; else
            those that are not special, such as `<think>`, are one token each, as the model was trained. Special ones
            are characters always.

    Raises:
        PromptError: turns in an order that no one was trained on, or without any words.
    """

    turns: tuple[Turn, ...]
    tools: tuple[str, ...] = ()
    literal: bool = False

    def __post_init__(self) -> None:
        if not any(turn.speaker == "user" for turn in self.asked) or self.asked[-1].speaker not in SEES:
            raise PromptError(
                "The messages must end with a turn of the user or of a tool, or with one answer to it.",
                "Leave out what follows the question.",
            )
        if any(turn.speaker == "system" for turn in self.turns[1:]):
            raise PromptError("A system text may only come first, and once.", "Put all of it into the first turn.")
        if not any(text.strip() for turn in self.asked for text in turn.parts if text):
            raise PromptError("The messages hold no words.", "Ask something about the image.")

    @classmethod
    def of(cls, words: str, system: str | None, images: int = 1) -> "Conversation":
        """One user turn: the images, then a person's words."""
        turn = Turn("user", (*[None] * images, words))
        return cls((Turn("system", (system,)), turn) if system else (turn,), literal=True)

    @property
    def asked(self) -> tuple[Turn, ...]:
        """The turns that the model reads: an answer at the end, which a training set has, is not among them."""
        return self.turns[:-1] if self.answered else self.turns

    @property
    def answered(self) -> bool:
        """Whether it ends with an answer."""
        return self.turns[-1].speaker == "assistant"

    @property
    def images(self) -> int:
        """How many images stand in what is asked."""
        return sum(part is None for turn in self.asked for part in turn.parts)

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the model reads of it, tools and calls as their JSON, in order."""
        first, rest = (self.asked[:1], self.asked[1:]) if self.asked[0].speaker == "system" else ((), self.asked)
        return (*_texts(first), *self.tools, *_texts(rest))

    @property
    def after_image(self) -> tuple[str, ...]:
        """The texts after the last image: each of their tokens is recorded."""
        last, end = self._last_image()
        rest = Turn(self.asked[last].speaker, self.asked[last].parts[end:])
        return tuple(_texts((rest, *self.asked[last + 1 :])))

    @property
    def summary(self) -> str:
        """What it holds: `system, 2 tools, 3 turns, 1 image`."""
        said = [turn for turn in self.asked if turn.speaker != "system"]
        counts = (("tool", len(self.tools)), ("turn", len(said)), ("image", self.images))
        counted = [f"{count} {what}{'s' * (count != 1)}" for what, count in counts if count]
        return ", ".join([*(["system"] if len(said) < len(self.asked) else []), *counted])

    @property
    def note(self) -> str:
        """A sentence on how it was read."""
        left = " The answer at its end is left to the model." if self.answered else ""
        return f"The prompt is a conversation: {self.summary}.{left}"

    def instead(self, words: str) -> "Conversation":
        """The same up to the last image, and these words in place of all that follows it."""
        last, end = self._last_image()
        kept = Turn(self.asked[last].speaker, (*self.asked[last].parts[:end], words))
        return Conversation((*self.asked[:last], kept), self.tools, self.literal)

    def messages(self) -> list[dict[str, Any]]:
        """What is asked, as chat templates take it: new lists and dictionaries on each call."""
        return [_message(turn) for turn in self.asked]

    def json(self) -> dict[str, Any]:
        """All of it as JSON values, which `inference.messages` reads."""
        values: dict[str, Any] = {"messages": [_message(turn) for turn in self.turns]}
        return values | ({"tools": [json.loads(tool) for tool in self.tools]} if self.tools else {})

    def __str__(self) -> str:
        """Its last words and what it holds, on what shows one line of a prompt."""
        words = next((turn.text.strip() for turn in reversed(self.asked) if turn.text.strip()), "")
        return f"{words} ({self.summary})".strip()

    def _last_image(self) -> tuple[int, int]:
        """Which turn holds the last image, and how many of its parts come up to it."""
        last = max(at for at, turn in enumerate(self.asked) if None in turn.parts)
        parts = self.asked[last].parts
        return last, len(parts) - parts[::-1].index(None)


def _texts(turns: Sequence[Turn]) -> Iterator[str]:
    for turn in turns:
        yield from (part for part in turn.parts if part is not None)
        yield from turn.calls


def _message(turn: Turn) -> dict[str, Any]:
    content: str | list[dict[str, str]]
    if len(turn.parts) == 1 and turn.parts[0] is not None and "<image>" not in turn.parts[0]:
        content = turn.parts[0]  # where it would be read as an image, it stays one of several parts
    else:
        content = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in turn.parts]
    message: dict[str, Any] = {"role": turn.speaker, "content": content or ""}
    return message | ({"tool_calls": [json.loads(call) for call in turn.calls]} if turn.calls else {})
