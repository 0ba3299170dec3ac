"""How large libraries are imported in less time; it knows nothing else."""

import gc
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_process = {"ours": False}


def process_is_ours() -> None:
    """Say that this process runs this program alone: what is imported from now on stays, and is never searched again.

    A full collection walks all that torch, transformers, PEFT and Gradio brought, for more than half a second in which
    nobody is answered. Where others work in the same process, as in a notebook, freezing (`gc.freeze`) would keep their
    garbage, too.
    """
    _process["ours"] = True


@contextmanager
def heavy_imports() -> Iterator[None]:
    """While large libraries are imported: look for no garbage.

    They make half a million objects that stay; Python's collector would walk all of them again and again while they are
    made, which is a quarter of the time.
    """
    known = len(sys.modules)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _process["ours"] and len(sys.modules) != known:
            gc.freeze()
        if collecting:
            gc.enable()


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
