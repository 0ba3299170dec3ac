"""What a batch asks: the lines of the prompts file, the images of a folder, and the file name of each item's answer.

It opens images' files but decodes none, and knows no engine. One line of the prompts file is one JSON object:

| key | meaning |
|---|---|
| `prompt` | the person's words |
| `image` | file within the images' folder; without it the prompt is asked of every image |
| `system` | system text |
| `answer` | text that is replayed through all variants, instead of an answer they write |
| `id` | a label for the summary, text or a whole number |
| `target` | where the answer should be: a box `[top, left, bottom, right]` or a point `[x, y]`, or several of these, |
| | in pixels of the upright photo |
| `box` | the same, of boxes alone |

In place of `prompt` and `system` it may hold `messages` or `conversations`, as a training set's line does, with its
`tools` (see `inference.messages`). The images are then those that `image`, `images` or the turns name; its other keys
are a training set's own affair.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from inference.batch.target import NOWHERE, Target, as_target
from inference.boxes import as_boxes
from inference.conversation import Conversation
from inference.errors import ImageError, ImageTooLargeError, InputError, PromptError, SelectionError
from inference.messages import TURNS, check_text, image_names, read_messages
from inference.settings import Limits

#: A file with another ending is no image of the folder; a prompt line may name it all the same.
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp"})
_TEXTS = ("prompt", "image", "system", "answer", "id")
_KEYS = (*_TEXTS, "target", "box")
_STEM, _DIGITS = 60, 16
#: Part of every name: to be raised when the same request begins to mean something else.
_MEANING = "batch/2"


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One line of the prompts file.

    Attributes:
        prompt: the person's words, or a conversation.
        image: path relative to the images' folder, with `/`; None is every image. Of several, the first.
        more_images: the paths of the others, in order.
        system: system text or None.
        answer: text to replay, or None.
        label: the line's `id`, or "".
        target: where to measure beside the rest; the photo is not known yet.
        place: where it stands, for messages: `prompts.jsonl, line 3`.
    """

    prompt: str | Conversation
    image: str | None = None
    system: str | None = None
    answer: str | None = None
    label: str = ""
    target: Target = NOWHERE
    place: str = "--prompt"
    more_images: tuple[str, ...] = ()


class Item(NamedTuple):
    """One image (relative path, with `/`) and one prompt (index of its line)."""

    image: str
    line: int


def read_lines(path: Path) -> tuple[PromptLine, ...]:
    """Read a prompts file: UTF-8, one JSON object per line, empty lines left out.

    Raises:
        InputError: it cannot be read, holds no prompt, or a line is wrong; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"The prompts file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The prompts file {path.name!r} is not UTF-8 text.", "Save it as UTF-8.") from error
    rows = enumerate(text.split("\n"), start=1)  # not splitlines: JSON text may hold U+2028 as it is
    lines = tuple(_line(row, f"{path.name}, line {number}") for number, row in rows if row.strip())
    if not lines:
        raise InputError(f"The prompts file {path.name!r} holds no prompt.", 'Write lines such as {"prompt": "…"}.')
    return lines


def list_images(folder: Path) -> tuple[str, ...]:
    """The images in a folder and its sub-folders by their endings, sorted; hidden ones are left out.

    Returns:
        Paths relative to `folder`, with `/`.

    Raises:
        InputError: no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"The images' folder {str(folder)!r} is not a folder.")
    found = []

    def refuse(error: OSError) -> None:
        raise InputError(f"The folder {str(error.filename)!r} cannot be read: {error.strerror}.") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(place).relative_to(folder)
        names = [name for name in files if not name.startswith(".") and PurePath(name).suffix.lower() in SUFFIXES]
        found += [(inside / name).as_posix() for name in names]
    return tuple(sorted(found))


def items_of(lines: Sequence[PromptLine], images: Sequence[str]) -> tuple[Item, ...]:
    """Every image with every prompt that is asked of it: image by image, then in the order of the lines.

    An image that a line names comes where it is listed, one that is not there at the end.
    """
    of_all = [index for index, line in enumerate(lines) if line.image is None]
    of_one: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        if line.image is not None:
            of_one.setdefault(line.image, []).append(index)
    listed = frozenset(images)
    items = [Item(image, index) for image in images for index in sorted(of_all + of_one.get(image, []))]
    return (*items, *(Item(image, index) for image in of_one if image not in listed for index in of_one[image]))


def read_image(folder: Path, image: str, limits: Limits) -> bytes:
    """The bytes of an image's file.

    Raises:
        ImageError: there is no such file, it cannot be read, or it is larger than `max_upload_bytes`.
    """
    path = folder / image
    try:
        if not path.is_file():
            raise ImageError(f"There is no file {shown(image)!r} in the images' folder.", "Check its name.")
        size = path.stat().st_size
        if size > limits.max_upload_bytes:
            raise ImageTooLargeError(
                f"The image file has {size:,} bytes; the limit is {limits.max_upload_bytes:,}.",
                "Save it smaller, or raise VISUALIZER_MAX_UPLOAD_BYTES.",
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"The file {shown(image)!r} cannot be read: {error.strerror}.") from error


def file_name(image: str, content: bytes, rest: str) -> str:
    """Name the file of an item's answer by all that the answer depends on.

    Args:
        image: relative path; its stem, made safe, is the name's first part.
        content: the image's bytes.
        rest: digest of everything else.

    Returns:
        `photo-0123456789abcdef.npz`: ASCII letters, digits, `.`, `_` and `-`, at most 81 of them.
    """
    whole = [_MEANING, hashlib.sha256(content).hexdigest(), rest]
    return f"{safe_stem(image)}-{hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:_DIGITS]}.npz"


def safe_stem(image: str) -> str:
    """What of an image's name may stand in a file name: letters, digits, `.`, `_`, `-`; `image` where none is left."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(image).stem)[:_STEM]
    return stem.strip("._-") or "image"


def shown(name: str) -> str:
    """A file name as text that can be written: bytes that are no UTF-8 become `�`."""
    return os.fsencode(name).decode("utf-8", "replace")


def _line(row: str, place: str) -> PromptLine:
    try:
        given = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: this is not JSON.", 'Write one object per line: {"prompt": "…"}.') from error
    if not isinstance(given, dict):
        raise InputError(f"{place}: expected a JSON object; got {type(given).__name__}.")
    talk = _conversation(given, place)
    unknown = sorted(set(given) - set(_KEYS)) if talk is None else []
    if unknown:
        raise InputError(f"{place}: unknown key {unknown[0][:40]!r}; known are {', '.join(_KEYS)}.")
    if isinstance(given.get("id"), int) and not isinstance(given["id"], bool):
        given["id"] = str(given["id"])
    texts = {key: None if (value := given.get(key)) is None else check_text(value, f"{place}: {key}") for key in _TEXTS}
    prompt = texts["prompt"] if talk is None else talk
    if prompt is None:
        raise InputError(f"{place}: there is no prompt.", 'Add "prompt": "…".')
    return PromptLine(
        prompt=prompt,
        image=None if texts["image"] is None else _inside(texts["image"], place),
        system=texts["system"],
        answer=texts["answer"],
        label=texts["id"] or "",
        target=_target(given, place),
        place=place,
        more_images=tuple(_inside(name, place) for name in given.get("images", ()) if talk is not None),
    )


def _conversation(given: dict[str, Any], place: str) -> Conversation | None:
    """The conversation of a line that holds one, system text and all; `image` and `images` are then what it names."""
    if not any(given.get(key) is not None for key in TURNS):
        return None
    if given.get("prompt") is not None:
        raise InputError(f"{place}: there are a prompt and a conversation.", "Leave one of them out.")
    try:
        talk, names = read_messages(given), image_names(given)
    except PromptError as error:
        raise InputError(f"{place}: {error.message}", error.hint) from error
    if len(names) != talk.images and (names or talk.images > 1):
        raise InputError(
            f"{place}: {len(names)} images are named; the conversation has places for {talk.images}.",
            'Name each, in order: "images": ["a.png", "b.png"].',
        )
    given |= {"system": None, "image": names[0] if names else None, "images": names[1:]}
    return talk


def _target(given: dict[str, Any], place: str) -> Target:
    target, box = given.get("target"), given.get("box")
    if target is not None and box is not None:
        raise InputError(f"{place}: a line has a target or a box, not both.", "Put all of it into target.")
    try:
        return Target(() if box is None else as_boxes(box)) if target is None else as_target(target)
    except SelectionError as error:
        raise InputError(f"{place}: {error.message}", error.hint) from error


def _inside(image: str, place: str) -> str:
    """The path of an image within its folder; nothing else of this machine is read."""
    path = PurePath(image)
    if not path.name or path.anchor or ".." in path.parts or "\0" in image:
        raise InputError(
            f"{place}: image must name a file within the images' folder; not {image[:80]!r}.",
            "Give its path from there, without '..'.",
        )
    return path.as_posix()
