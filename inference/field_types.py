"""Whether the fields of a record hold what their annotations say, where they come from a file; it knows no record.

A record checks what its numbers mean; that a text is text and a number a number follows from who made it. A file may
have been made by anybody.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from reprlib import repr as shortened
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np


def check_field_types(record: Any) -> None:
    """Check the fields of a dataclass, and of those in it.

    Raises:
        TypeError: a value of another type, or text that is none (half of a surrogate pair).
    """
    kind: Any = type(record)
    for name, hint in _hints(kind):
        value = getattr(record, name)
        if not _is(value, hint):
            raise TypeError(f"{name} is {shortened(value)}")


@cache
def _hints(kind: Any) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in fields(kind))


def _is(value: Any, hint: Any) -> bool:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_is(value, each) for each in inside)
    if origin is Literal:
        return isinstance(value, str) and value in inside
    if origin is tuple:
        kinds = inside[:1] * len(value) if isinstance(value, tuple) and inside[1:] == (...,) else inside
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    if origin is Mapping:
        parts = value.items() if isinstance(value, Mapping) else [(None, None)]
        return all(_is(key, inside[0]) and _is(part, inside[1]) for key, part in parts)
    if origin is np.ndarray:
        return isinstance(value, np.ndarray)
    return _is_plain(value, hint)


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is str:
        return isinstance(value, str) and _is_text(value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if isinstance(value, kind) and is_dataclass(value):
        check_field_types(value)
    return isinstance(value, kind)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
