"""How Gradio is imported in less time; it knows nothing else."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_stubs() -> Iterator[None]:
    """While Gradio is imported: let it write no stubs for editors.

    At every import it parses the source of each of its components anew to see whether the stub beside it is still right
    (`gradio/component_meta.py`, `create_or_modify_pyi`), which is half the time of the import. It leaves out a class
    whose file cannot be found, as a class of a notebook.
    """
    found = inspect.getfile

    def file_of(object: Any) -> str:
        if isinstance(object, type) and object.__module__.startswith("gradio."):
            raise OSError("no stub is wanted")
        return found(object)

    inspect.getfile = file_of
    try:
        yield
    finally:
        inspect.getfile = found
