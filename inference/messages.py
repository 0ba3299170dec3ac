"""How a conversation is read from the messages that training sets hold; a text that is none stays words.

Three forms are read, as JSON text or as what JSON makes of it:

- OpenAI's: `[{"role": "user", "content": [{"type": "image_url", …}, {"type": "text", "text": "…"}]}]`, with turns of
  `tool` and `tool_calls`; or an object of `messages` and `tools`.
- Qwen's: the same with `{"type": "image"}`; and its training script's object of `image` and `conversations`, whose
  user's texts lose the spaces around them, as they do there.
- LLaMA-Factory's and ShareGPT's: `{"conversations": [{"from": "human", "value": "<image>…"}], "system": "…", "tools":
  "[…]"}`, with `function_call` and `observation`; tools become functions there, unless they are.

An image is a place in a turn: its file, address or bytes are not read here, the picture comes beside the words. Keys of
an object that are not named here are a training set's own affair. It knows no model, no template and no limit of an
operator's.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from reprlib import repr as shortened
from typing import Any, cast

from inference.conversation import SEES, Conversation, Speaker, Turn
from inference.errors import PromptError

MOST_TURNS, MOST_TOOLS = 256, 128
MOST_PARTS = 1_024  # texts, images and calls of all turns
MOST_DEPTH = 32  # of a tool or of a call's arguments
MOST_JSON = 2_000_000  # characters of JSON text
#: Keys of an object that hold its turns.
TURNS = ("messages", "conversations")

_SPEAKERS: Mapping[str, Speaker] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
}
#: Of a turn beside who says what: they change nothing of what the model reads.
_BESIDE = frozenset({"id", "name", "tool_call_id", "loss", "loss_weight", "weight"})
_IMAGES = ("image", "image_url", "input_image")
_OTHER_MEDIA = ("video", "videos", "audio", "audios")
_MARK = re.compile("(<image>)")
_LOOKS_LIKE = re.compile(r'\s*(\[\s*\{\s*"(role|from)"|\{\s*"(messages|conversations)")\s*:')
_FORMS = 'Write [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "…"}]}].'


def read_messages(value: object) -> Conversation:
    """Read messages in one of the forms.

    Args:
        value: JSON text, a list of turns, or an object of turns and tools.

    Raises:
        PromptError: what is wrong, where, what was expected, what to do.
    """
    if isinstance(value, str):
        value = _json(value, "The messages")
    whole = dict(value) if isinstance(value, Mapping) else {"messages": value}
    for name in _OTHER_MEDIA:
        if whole.get(name):
            raise PromptError(f"The messages hold {name}; only images and text can be read.", "Leave it out.")
    given = [name for name in TURNS if whole.get(name) is not None]
    if len(given) != 1:
        raise PromptError(f"The messages must be a list of turns; got {shortened(value)}.", _FORMS)
    rows = _list(whole[given[0]], "The messages", "turns", MOST_TURNS)
    trained_by_qwen = given[0] == "conversations" and "image" in whole
    turns = [_turn(row, f"Turn {index}", strip=trained_by_qwen) for index, row in enumerate(rows, 1)]
    parts = sum(len(turn.parts) + len(turn.calls) for turn in turns)
    if parts > MOST_PARTS:
        raise PromptError(f"The messages hold {parts:,} parts; at most {MOST_PARTS} are read.", "Join texts.")
    system = whole.get("system")
    if system not in (None, ""):
        turns.insert(0, Turn("system", (check_text(system, "The system text"),)))
    wrap = any(isinstance(row, Mapping) and "from" in row for row in rows)
    return Conversation(tuple(turns), _tools(whole.get("tools"), wrap=wrap))


def as_prompt(text: str) -> str | Conversation:
    """What a person wrote into a place for a prompt: messages where it is their JSON, else the words themselves.

    Raises:
        PromptError: it begins as messages do and is none.
    """
    if text.lstrip()[:1] not in ("[", "{") or len(text) > MOST_JSON:
        return text
    if not _LOOKS_LIKE.match(text):
        try:
            value = _json(text, "The messages")
        except PromptError:
            return text
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, Mapping) or not {"role", "from", *TURNS} & first.keys():
            return text
    return read_messages(text)


def prompt_json(prompt: str | Conversation) -> str | dict[str, Any]:
    """A prompt as JSON values: words as they are, messages as an object."""
    return prompt if isinstance(prompt, str) else prompt.json()


def check_text(value: object, what: str) -> str:
    """A text as it is.

    Args:
        value: whatever came in its place.
        what: it is, as a sentence about it begins.

    Raises:
        PromptError: it is none, or holds half of a surrogate pair, which cannot be sent.
    """
    if not isinstance(value, str):
        raise PromptError(f"{what} must be text; got {shortened(value)}.", "Put it in quotes.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(
            f"{what} holds half of a surrogate pair: it is not text.", "Leave that character out."
        ) from error
    return value


def prompt_text(prompt: str | Conversation) -> str:
    """A prompt as text that `as_prompt` reads back: words as they are, messages as JSON."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt.json(), ensure_ascii=False)


def read_prompt(value: object) -> str | Conversation:
    """The prompt of JSON values, or of what is one already; words stay words.

    Raises:
        PromptError: neither words nor messages.
    """
    if isinstance(value, (str, Conversation)):
        return value
    if isinstance(value, (list, tuple, Mapping)):
        return read_messages(value)
    raise PromptError(f"The prompt must be text or messages; got {type(value).__name__}.", "Put text in quotes.")


def image_names(value: object) -> tuple[str, ...]:
    """What the images in messages are called, in order; `()` where those that stand in the turns have no names.

    Args:
        value: messages as `read_messages` takes them, as values.

    Raises:
        PromptError: images are listed beside the turns, and one of them has no name.
    """
    whole = value if isinstance(value, Mapping) else {"messages": value}
    listed, rows = whole.get("images") or whole.get("image"), whole.get("messages")
    if not listed:
        parts = [part for row in rows for part in _parts(row)] if isinstance(rows, list) else []
        names = [_name(part) for part in parts if _is_image(part)]
        return tuple(str(name) for name in names) if all(isinstance(name, str) for name in names) else ()
    names = [
        _name(each) if isinstance(each, Mapping) else each
        for each in (listed if isinstance(listed, list) else [listed])
    ]
    if not all(isinstance(name, str) for name in names):
        raise PromptError(f"The images must be file names; got {shortened(listed)}.", 'Write "images": ["a.png"].')
    return tuple(map(str, names))


def _name(part: Mapping[str, object]) -> object:
    found = next((part[key] for key in ("image", "image_url", "url", "path") if part.get(key)), None)
    return found.get("url") if isinstance(found, Mapping) else found


def _parts(row: object) -> list[Mapping[str, object]]:
    content = row.get("content") if isinstance(row, Mapping) else None
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _is_image(part: Mapping[str, object]) -> bool:
    return part.get("type") in _IMAGES or any(part.get(key) is not None for key in _IMAGES)


def _turn(row: object, place: str, *, strip: bool) -> Turn:
    if not isinstance(row, Mapping):
        raise PromptError(f"{place} of the messages must be an object; got {shortened(row)}.", _FORMS)
    who, said = ("from", "value") if "from" in row else ("role", "content")
    name = row.get(who)
    speaker = _SPEAKERS.get(name) if isinstance(name, str) else None
    if speaker is None:
        raise PromptError(f"{place} is said by {shortened(name)}; known are {', '.join(_SPEAKERS)}.", _FORMS)
    unknown = sorted(str(key) for key in row.keys() - {who, said, "tool_calls"} - _BESIDE if row[key] is not None)
    if unknown:
        raise PromptError(f"{place} has a key {unknown[0][:40]!r}, which is not read.", "Leave it out.")
    content = row.get(said)
    if name == "function_call":
        return Turn(speaker, (), _calls(_json(check_text(content, place), place), place))
    calls = () if not row.get("tool_calls") else _calls(row["tool_calls"], place)
    if calls and speaker != "assistant":
        raise PromptError(f"{place} calls tools; only an assistant's turn may.", "Leave tool_calls out.")
    if content is None and calls:
        return Turn(speaker, (), calls)
    parts = tuple(_content(content, place, strip=strip and speaker == "user"))
    if None in parts and speaker not in SEES:
        raise PromptError(f"{place}: an image may stand in a turn of the user or of a tool.", "Put it there.")
    if not any(parts) and None not in parts and not calls:
        raise PromptError(f"{place} of the messages is empty.", "Leave it out, or write something.")
    return Turn(speaker, parts, calls)


def _content(content: object, place: str, *, strip: bool) -> Iterator[str | None]:
    if isinstance(content, str):
        if len(content) > MOST_JSON or content.count("<image>") > MOST_PARTS:
            raise PromptError(f"{place} of the messages is too long, or has too many images.", "Shorten it.")
        for piece in _MARK.split(check_text(content, place)):
            text = piece.strip() if strip else piece
            if piece == "<image>":
                yield None
            elif text:
                yield text
        return
    for index, part in enumerate(_list(content, f"The content of {place[0].lower()}{place[1:]}", "parts", MOST_PARTS)):
        words = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(part, Mapping) and _is_image(part):
            yield None
        elif not isinstance(words, str):
            raise PromptError(f"{place}: part {index} must be text or an image; got {shortened(part)}.", _FORMS)
        elif words:
            yield check_text(words, place)


def _calls(value: object, place: str) -> tuple[str, ...]:
    rows = _list([value] if isinstance(value, Mapping) else value, f"The calls of {place}", "calls", MOST_TOOLS)
    for row in rows:
        call = row.get("function", row) if isinstance(row, Mapping) else None
        if not isinstance(call, Mapping) or not isinstance(call.get("name"), str) or not call["name"]:
            raise PromptError(
                f"{place}: a call must name its tool; got {shortened(row)}.",
                'Write {"name": "…", "arguments": {…}}.',
            )
    return tuple(_written(row, f"{place}: a call") for row in rows)


def _tools(value: object, *, wrap: bool) -> tuple[str, ...]:
    if value in (None, "", []):
        return ()
    rows = _list(_json(value, "tools") if isinstance(value, str) else value, "tools", "tools", MOST_TOOLS)
    tools = []
    for index, row in enumerate(rows, 1):
        about = row.get("function", row) if isinstance(row, Mapping) else None
        if not isinstance(about, Mapping) or not isinstance(about.get("name"), str) or not about["name"]:
            raise PromptError(
                f"Tool {index} has no name; got {shortened(row)}.",
                'Write {"type": "function", "function": {"name": "…", "parameters": {…}}}.',
            )
        whole = row if not wrap or row.get("type") == "function" else {"type": "function", "function": row}
        tools.append(_written(whole, f"Tool {index}"))
    return tuple(tools)


def _written(value: object, place: str) -> str:
    """JSON text of a value, in the order of its keys."""
    if _depth(value) > MOST_DEPTH:
        raise PromptError(f"{place} is nested more than {MOST_DEPTH} deep.", "Make it flatter.")
    try:
        return check_text(json.dumps(value, ensure_ascii=False, allow_nan=False), place)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{place} holds what is no JSON.", "Use text, numbers, lists and objects.") from error


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level and depth <= MOST_DEPTH:
        inside = [(each.values() if isinstance(each, Mapping) else each) for each in level if _holds(each)]
        level, depth = [part for parts in inside for part in cast("Sequence[object]", parts)], depth + 1
    return depth


def _holds(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _json(text: str, place: str) -> Any:
    if len(text) > MOST_JSON:
        raise PromptError(f"{place}: {len(text):,} characters of JSON; at most {MOST_JSON:,} are read.", "Shorten it.")
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise PromptError(
            f"{place}: this is not JSON from line {error.lineno}, column {error.colno} on ({error.msg}).",
            "Paste one whole list or object; of a file of lines, one line.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise PromptError(
            f"{place}: this JSON cannot be read.", "NaN, huge numbers and deep nesting are not."
        ) from error


def _no_number(name: str) -> None:
    raise ValueError(name)


def _list(value: object, place: str, what: str, most: int) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)) or not value:
        or_text = "text or " if what == "parts" else ""
        raise PromptError(f"{place} must be {or_text}a list of {what}, not empty; got {shortened(value)}.", _FORMS)
    if len(value) > most:
        raise PromptError(f"{place}: {len(value):,} {what}; at most {most} are read.", "Leave some out.")
    return value
