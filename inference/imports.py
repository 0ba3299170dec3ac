"""How large libraries are imported in less time; it knows nothing else."""

import gc
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def heavy_imports() -> Iterator[None]:
    """While torch, transformers, PEFT or Gradio are imported: look for no garbage, nor ever in what they brought.

    They make half a million objects that stay. Python's collector would walk all of them again and again while they are
    made, a quarter of the time, and again with each full collection of the process, more than half a second in which
    nobody is answered (`gc.freeze`). Nothing is frozen where all of it was imported before.
    """
    known = len(sys.modules)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) != known:
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
