"""What a program asks over HTTP: form fields or JSON become a `Request` and a choice of what to return.

It knows no web framework and no engine. A visitor names the operator's adapters, never a path and never a Hub id.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inference.errors import InputError, NotAnImageError, SelectionError
from inference.photo import decode_photo
from inference.request import Request
from inference.settings import Limits

#: Fields that only the seed's JSON body had: they say where an image lies on the server.
_PATHS = ("image_path", "image_url", "path", "url")
_FIELDS = [
    "image",
    "prompt",
    "system",
    "adapter",
    "adapter_name",
    "answer_from",
    "layer",
    "head",
    "token",
    "view",
    "overlay",
    "max_new_tokens",
    "scale",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """One analysis over HTTP.

    Attributes:
        request: what the engine is asked.
        layer: 0-based, None for the middle layer.
        head: "mean", "max" or a 0-based index.
        token: index into the answer's `tokens`, "answer" (mean over the answer), None for the first answer token.
        view: a view's name, unchecked.
        overlay: whether pictures are wanted.
    """

    request: Request
    layer: int | None = None
    head: int | Literal["mean", "max"] = "mean"
    token: int | Literal["answer"] | None = None
    view: str = "raw"
    overlay: bool = False


def read(fields: Mapping[str, Any], image: bytes | None, limits: Limits) -> Asked:
    """Check the fields of one analysis.

    Args:
        fields: names to texts, numbers or (`adapter`) lists of texts, as a form or JSON gives them.
        image: the file's bytes; None takes them from `fields["image"]` as base64, also as a `data:` URL.
        limits: bounds on the image; those on words and answer are checked by whoever answers.

    Raises:
        InputError: whatever is wrong, as the member of the tree that fits.
    """
    for name in _PATHS:
        if fields.get(name):
            raise InputError(
                f"{name} is refused: this server reads no paths and fetches nothing for a visitor.",
                "Send the image's bytes as the form field 'image', or base64 in JSON.",
            )
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise InputError(f"Unknown field {unknown[0][:40]!r}; known are {', '.join(_FIELDS)}.")
    photo = decode_photo(image if image is not None else _decoded(fields.get("image")), limits)
    token, head = _token(fields.get("token")), _head(fields.get("head"))
    if head != "mean" and token == "answer":
        raise SelectionError(
            "Single heads are recorded for one token; 'answer' is a mean of several.", "Choose one token."
        )
    names = _adapters(fields)
    options: dict[str, Any] = {"focus": (token,)} if isinstance(token, int) else {}
    if fields.get("answer_from") not in (None, ""):
        options["answer_from"] = _variant(_text(fields, "answer_from", ""))
    request = Request(
        image=photo,
        prompt=_text(fields, "prompt", "Describe the image."),
        system=_text(fields, "system", "") or None,
        adapters=names,
        max_new_tokens=_whole(fields, "max_new_tokens", 32),
        scale=_number(fields, "scale", 1.0),
        **options,
    )
    layer = None if fields.get("layer") in (None, "") else _whole(fields, "layer", 0)
    return Asked(request, layer, head, token, _text(fields, "view", "raw"), _flag(fields))


def _decoded(value: object) -> bytes:
    if value is None or value == "":
        raise InputError("There is no image.", "Send it as the form field 'image', or base64 in JSON.")
    if not isinstance(value, str):
        raise NotAnImageError("The field 'image' must hold base64 text.", "Encode the file's bytes.")
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAnImageError("The field 'image' is not base64.", "Encode the file's bytes, not its name.") from error


def _adapters(fields: Mapping[str, Any]) -> tuple[str | None, ...]:
    given: list[object] = []
    for name in ("adapter", "adapter_name"):
        value = fields.get(name)
        given += [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    named = [each for each in given if each not in (None, "")]
    for each in named:
        if not isinstance(each, str):
            raise InputError(f"An adapter is named by text; got {type(each).__name__}.")
    return tuple(_variant(str(each)) for each in named) or (None,)


def _variant(name: str) -> str | None:
    return None if name == "base" else name


def _token(value: object) -> int | Literal["answer"] | None:
    if value in (None, ""):
        return None
    if value == "answer":
        return "answer"
    return _index("token", value, "a 0-based index into the answer's tokens, or 'answer'")


def _head(value: object) -> int | Literal["mean", "max"]:
    if value in (None, "", "mean"):
        return "mean"
    if value == "max":
        return "max"
    return _index("head", value, "a 0-based index, 'mean' or 'max'")


def _index(name: str, value: object, expected: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise SelectionError(f"{name} must be {expected}; not {str(value)[:40]!r}.")


def _text(fields: Mapping[str, Any], name: str, default: str) -> str:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise InputError(f"{name} must be text; got {type(value).__name__}.")
    return value


def _whole(fields: Mapping[str, Any], name: str, default: int) -> int:
    value = fields.get(name)
    return default if value in (None, "") else _index(name, value, "a whole number, 0 or more")


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name)
    if value in (None, ""):
        return default
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        return float(str(value)[:40])
    except ValueError as error:
        raise InputError(f"{name} must be a number; not {str(value)[:40]!r}.") from error


def _flag(fields: Mapping[str, Any]) -> bool:
    value = fields.get("overlay", False)
    text = str(value).lower()
    if text not in {"true", "false", "1", "0", ""}:
        raise InputError(f"overlay must be true or false; not {text[:40]!r}.")
    return text in {"true", "1"}
