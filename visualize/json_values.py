"""Decide what may stand in the JSON that a browser or a program gets."""

import math
from typing import TypeAlias

#: Plain values that survive JSON.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def finite(value: float) -> float | None:
    """The value, or None for nan and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None
