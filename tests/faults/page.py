"""`python -m tests.faults.page FOLDER [flags of app.py]`: the page as `python app.py` starts it; its engine fails.

A file in FOLDER named after a fault makes each analysis meet it while the file is there.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import app
from inference.command_line import parse
from inference.logs import set_up
from inference.request import Request
from tests.faults.connections import record_connections

#: What a part of the engine may raise, with the visitor's words in it.
RAISED: dict[str, Callable[[Request], BaseException]] = {
    "exception": lambda request: ValueError(f"no such thing: {request.prompt} {request.system} {request.adapters}"),
    "memory": lambda request: MemoryError(request.prompt),
    "cuda": lambda request: _torch().OutOfMemoryError(f"CUDA out of memory. {request.prompt}"),
    "allocator": lambda request: RuntimeError(f"[enforce fail] DefaultCPUAllocator: can't allocate {request.prompt}"),
}
SLOW = 0.4  # seconds beside each token


def _torch() -> Any:
    import torch

    return torch


def break_engine(folder: Path) -> None:
    """Let the engine look into `folder` before each comparison."""
    from inference.model.engine import Engine

    compare = Engine._compare

    def failing(self: Engine, request: Request, stages: Any) -> Any:
        for name, error in RAISED.items():
            if (folder / name).exists():
                raise error(request)
        emit = stages.emit

        def slowly(event: Any) -> None:
            emit(event)
            if (folder / "slow").exists():
                time.sleep(SLOW)

        stages.emit = slowly
        return compare(self, request, stages)

    Engine._compare = failing  # type: ignore[method-assign]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    record_connections(folder / "connections")
    break_engine(folder)
    set_up(logging.INFO)
    sys.exit(app.build(parse(sys.argv[2:], os.environ)).start())
