"""The one reading of NAME=SOURCE, as flags and the environment give adapters; it looks at no file."""

from collections.abc import Iterable

from inference.descriptions import check_adapter_name
from inference.errors import InputError


def split_adapter(given: str) -> tuple[str, str]:
    """(name, source) of `NAME=SOURCE`, or (name, "") of a name alone.

    Raises:
        InputError: no name or no source around the "=", or a name that an adapter may not have.
    """
    name, equals, source = given.partition("=")
    if equals and not source:
        raise InputError(f"--adapter must be NAME=FOLDER_OR_HUB_ID; got {given!r}.")
    return check_adapter_name(name), source


def named_adapters(given: Iterable[str]) -> dict[str, str]:
    """Name → folder or Hub id of each `NAME=SOURCE`.

    Raises:
        InputError: not `NAME=FOLDER_OR_HUB_ID`, a name that an adapter may not have, or a name twice.
    """
    adapters: dict[str, str] = {}
    for each in given:
        name, source = split_adapter(each)
        if not source:
            raise InputError(f"--adapter must be NAME=FOLDER_OR_HUB_ID; got {each!r}.")
        if name in adapters:
            raise InputError(f"--adapter names {name!r} twice.", "Give each adapter its own name.")
        adapters[name] = source
    return adapters
