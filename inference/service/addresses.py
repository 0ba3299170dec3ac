"""Files that a visitor names by an address: nobody fetches them. It knows no widget.

Gradio fetches whatever an event's value names as `{"path": "http://…"}`, before any handler sees it, and asks a name
server of its own choice whether the address is a public one.
"""

from inference.errors import InputError


def refuse_addresses(values: object) -> None:
    """Look through what a browser sent for files that are somewhere else.

    Args:
        values: JSON.

    Raises:
        InputError: there is one.
    """
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and "://" in path:
                raise InputError("Files are not fetched from an address.", "Hand the file itself in.")
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
