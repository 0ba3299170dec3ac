"""What may be asked: one question or conversation about photos, to be answered by some variants of one model.

A request is checked for being well formed when it is made, and holds its photo decoded. How much of it an operator
allows is not known here: `inference.limits` says that, at the doors.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from reprlib import repr as shortened
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.conversation import Conversation
from inference.descriptions import check_adapter_name
from inference.errors import InputError, PromptError, SelectionError
from inference.focus import WORDS, FocusWord
from inference.messages import check_text, prompt_json, read_prompt
from inference.photo import Photo, upright_rgb
from inference.recording import ExtraView

Picture = Photo | Image.Image | NDArray[np.uint8]

MAX_SCALE = 4.0
#: Fields that hold pictures.
IMAGES = ("image", "more_images")
NEW_TOKENS = 32  # most tokens of an answer, where nobody says how many; at every door


@dataclass(frozen=True, slots=True, init=False)
class Request:
    """One question about one image.

    Args:
        image: a `Photo`, a PIL image, or an array `(height, width, 3)` uint8; becomes a `Photo`. Of several, a list:
            the first becomes `image`, the others `more_images`.
        prompt: the person's words, always plain text: a `<|image_pad|>` in it is just characters; or a conversation,
            also as the messages of a training set (a list or an object, see `inference.messages`).
        system: system text or None; a conversation has its own.
        adapters: variants in order; None is the base model; each at most once.
        answer_from: whose answer is replayed through all variants: one of `adapters`, or `"own"` (each its own). The
            default "" is the first that is not base, else base.
        answer: text or token ids to replay instead of generating.
        focus: indices into `Comparison.tokens` that `by_head` averages, or a word that names them, see
            `inference.focus`; None is the digits of the points and boxes that the answer says, else its first token.
        max_new_tokens: most answer tokens.
        max_image_tokens: most image tokens, checked after the processor's resizing; None is the operator's limit.
        scale: strength of the adapters, 0–4, 1 as trained.
        modules: names of target modules that stay on (`"q_proj"`, `"visual"`, …); None is all.
        vision_tower: also record what each patch receives inside the vision tower.
        views: what else is recorded of the tokens in `focus`: `"relative"`, `"gradient"`, `"named"`; see `Recording`.
            Of one image only.
        more_images: the images after the first, each as `image`.

    Raises:
        InputError: whatever is wrong, as the member of the tree that fits.
    """

    image: Photo
    prompt: str | Conversation
    system: str | None
    adapters: tuple[str | None, ...]
    answer_from: str | None
    answer: str | tuple[int, ...] | None
    focus: tuple[int, ...] | FocusWord | None
    max_new_tokens: int
    max_image_tokens: int | None
    scale: float
    modules: tuple[str, ...] | None
    vision_tower: bool
    views: tuple[ExtraView, ...]
    more_images: tuple[Photo, ...]

    def __init__(
        self,
        image: Picture | Sequence[Picture],
        prompt: str | Conversation | Sequence[object] | Mapping[str, object],
        system: str | None = None,
        adapters: Sequence[str | None] = (None,),
        answer_from: str | None = "",
        answer: str | Sequence[int] | None = None,
        focus: Sequence[int] | FocusWord | None = None,
        max_new_tokens: int = NEW_TOKENS,
        max_image_tokens: int | None = None,
        scale: float = 1.0,
        modules: Sequence[str] | None = None,
        vision_tower: bool = False,
        views: Sequence[ExtraView] = (),
        more_images: Sequence[Picture] = (),
    ) -> None:
        variants = _variants(adapters)
        photos = _photos(image, more_images)
        checked = {
            "image": photos[0],
            "more_images": photos[1:],
            "prompt": _prompt(prompt, len(photos)),
            "system": None if system is None else _system(system, prompt),
            "adapters": variants,
            "answer_from": _answer_from(answer_from, variants),
            "answer": None if answer is None else _answer(answer),
            "focus": None if focus is None else _focus(focus),
            "max_new_tokens": _whole("max_new_tokens", max_new_tokens, 1),
            "max_image_tokens": None if max_image_tokens is None else _whole("max_image_tokens", max_image_tokens, 1),
            "scale": _scale(scale),
            "modules": None if modules is None else _modules(modules),
            "vision_tower": bool(vision_tower),
            "views": _views(views, len(photos)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # as the generated __init__ of a frozen class does

    @property
    def conversation(self) -> Conversation:
        """What is asked, in the one form that an engine reads: plain words are one turn about the image."""
        if isinstance(self.prompt, Conversation):
            return self.prompt
        return Conversation.of(self.prompt, self.system, len(self.images))

    @property
    def images(self) -> tuple[Photo, ...]:
        """All images, in the order of their places in the prompt; of plain words, before these."""
        return (self.image, *self.more_images)


def digest(request: Request) -> str:
    """Name a request by everything that its answer depends on: the photo with its notes, and every option.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    options = {each.name: getattr(request, each.name) for each in fields(request) if each.name not in IMAGES}
    options["prompt"] = prompt_json(request.prompt)
    content = [[[photo.digest, photo.notes] for photo in request.images], options]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def _photos(image: Picture | Sequence[Picture], more: Sequence[Picture]) -> tuple[Photo, ...]:
    first: list[Picture] = [*image] if isinstance(image, (list, tuple)) else [cast("Picture", image)]
    if not first:
        raise InputError("There is no image.", "Give one, or one per place in the messages.")
    others = cast("Sequence[Picture]", _sequence("more_images", more, "a sequence of images"))
    return tuple(each if isinstance(each, Photo) else upright_rgb(each) for each in (*first, *others))


def _prompt(prompt: object, images: int) -> str | Conversation:
    read = read_prompt(prompt)
    if isinstance(read, str):
        if not read.strip():
            raise PromptError("The prompt is empty.", "Ask something about the image.")
        return check_text(read, "The prompt")
    if read.images != images:
        raise PromptError(
            f"The conversation has places for images: {read.images}; images that came: {images}.",
            "Send the others, too, in the order of their places."
            if images < read.images
            else 'Each needs its own: write <image> into a turn of the user, or the part {"type": "image"}.',
        )
    return read


def _system(system: object, prompt: object) -> str:
    if system and not isinstance(prompt, str):
        raise PromptError(
            "A conversation brings its own system text; there is another beside it.", "Make it the first of its turns."
        )
    return check_text(system, "The system text")


def _variants(adapters: object) -> tuple[str | None, ...]:
    names = _sequence("adapters", adapters, "a sequence of names or None, not empty")
    if not names:
        raise InputError(
            f"adapters must be a sequence of names or None, not empty; got {shortened(adapters)}.", "None is the base."
        )
    variants = tuple(None if name is None else check_adapter_name(name) for name in names)
    if len(set(variants)) != len(variants):
        raise InputError(f"Each variant may appear once; got {_named(variants)}.", "Leave out the one that is twice.")
    return variants


def _answer_from(answer_from: str | None, variants: tuple[str | None, ...]) -> str | None:
    if answer_from == "":
        return next((name for name in variants if name is not None), None)
    if answer_from != "own" and answer_from not in variants:
        raise InputError(
            f"answer_from must be one of the variants asked ({_named(variants)}) or own; not {shortened(answer_from)}.",
            "Ask that variant too, or replay another's answer.",
        )
    return answer_from


def _named(variants: tuple[str | None, ...]) -> str:
    return ", ".join(name or "base" for name in variants[:8]) + (", …" if len(variants) > 8 else "")


def _answer(answer: object) -> str | tuple[int, ...]:
    given: str | tuple[int, ...]
    if isinstance(answer, str):
        given = check_text(answer, "The answer")
    else:
        ids = _sequence("answer", answer, "text or token ids")
        given = tuple(_whole("a token id of answer", token, 0) for token in ids)
    if not given:
        raise InputError("answer is empty.", "Pass None to let the model write it.")
    return given


def _focus(focus: object) -> tuple[int, ...] | FocusWord:
    for word in WORDS:
        if isinstance(focus, str) and focus == word:
            return word
    indices = _sequence("focus", focus, f"a sequence of token indices, or one of {', '.join(WORDS)}")
    chosen = tuple(_whole("an index of focus", index, 0) for index in indices)
    if not chosen or len(set(chosen)) != len(chosen):
        raise SelectionError(
            f"focus must hold different token indices, at least one; got {shortened(chosen)}.",
            "Leave it out for the digits of what the answer says of places, or its first token.",
        )
    return chosen


def _scale(scale: object) -> float:
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 <= scale <= MAX_SCALE:
        raise InputError(
            f"scale must be a number from 0 to {MAX_SCALE:g}; not {shortened(scale)}.", "1 is the strength as trained."
        )
    return float(scale)


def _modules(modules: object) -> tuple[str, ...]:
    given = _sequence("modules", modules, "a sequence of module names")
    names = tuple(name for name in given if isinstance(name, str) and name)
    if len(names) != len(given):
        raise InputError(
            f"modules must be a sequence of module names; got {shortened(modules)}.",
            'For example ("q_proj", "v_proj").',
        )
    return names


def _views(views: object, images: int) -> tuple[ExtraView, ...]:
    given = _sequence("views", views, "a sequence of views")
    known = get_args(ExtraView)
    if any(each not in known for each in given):
        raise InputError(f"views may hold {', '.join(known)}; got {shortened(views)}.", "Every other view is there.")
    if given and images > 1:
        raise InputError("Views beside attention are recorded of one image; there are several.", "Leave views out.")
    return tuple(view for view in known if view in given)  # in one order, each once


def _sequence(what: str, value: object, expected: str) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise InputError(f"{what} must be {expected}; got {shortened(value)}.", "Put a single one in a list.")
    return value


def _whole(what: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(
            f"{what} must be a whole number, {least} or more; not {shortened(value)}.", "Write it without a fraction."
        )
    return int(value)
