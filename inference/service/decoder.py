"""Strangers' pictures are decoded in processes of their own, which may be ended; it knows no page and no queue.

A decoder cannot be stopped from within: it holds its thread, and often the interpreter, for as long as a file makes it.
A process can. It is given some time and some memory for each picture, is kept for the next one, and leaves after a
large one, whose memory goes with it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from inference import errors
from inference.errors import CancelledError, ImageError, ImageStructureError
from inference.photo import Photo
from inference.service.decode_worker import LENGTH, too_much
from inference.settings import Limits

#: Bytes that a process may have: Python with its libraries, and so many for each pixel that a picture may have.
OWN_BYTES, BYTES_PER_PIXEL = 512 * 2**20, 12
#: Pixels after which a process is not kept: its memory is given back.
LARGE = 16_000_000
WORKER = ("-s", "-m", "inference.service.decode_worker")
PATIENCE = 5.0  # seconds that a process may take to start, besides
_POLL = 0.1  # seconds between looks at the clock and at whoever waits
_LONGEST_LINE = 2**16
_ROOT = Path(__file__).parents[2]
#: Of our environment, what a process needs to run at all: no token, no name.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "PYTHONHOME")


class Decoder:
    """Decodes pictures in processes that are started when they are needed. Its methods may be called from any thread.

    Args:
        limits: of a picture: what `decode_photo` checks, and `decode_seconds`.
        worker: Python's arguments that start a process.
    """

    def __init__(self, limits: Limits, worker: tuple[str, ...] = WORKER) -> None:
        self._limits, self._worker = limits, worker
        self._memory = OWN_BYTES + BYTES_PER_PIXEL * limits.max_pixels
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    @property
    def idle(self) -> "tuple[subprocess.Popen[bytes], ...]":
        """The processes that wait for a picture."""
        with self._lock:
            return tuple(self._idle)

    def warm(self) -> None:
        """Have a process ready, so that the first picture does not wait for one."""
        self._give_back(self._take())

    def decode(self, content: bytes, stop: threading.Event | None = None) -> Photo:
        """Decode a file, see `decode_photo`; how many are decoded at once is decided by whoever calls.

        Args:
            content: the file's bytes.
            stop: ends the decoding when it is set.

        Raises:
            ImageError: see `decode_photo`; or it took too much time or memory, or broke its process.
            CancelledError: `stop` was set.
        """
        process = self._take()
        answered, ended = False, list[errors.VisualizerError]()
        try:
            with self._watched(process, stop, ended):
                try:
                    photo = _ask(process, content, self._limits)
                except ImageError:
                    answered = True
                    raise
                except (OSError, LookupError, TypeError, ValueError) as error:
                    if ended:
                        raise ended[0] from None
                    raise ImageStructureError(
                        "The process that decodes the image broke off over it.", "Save it again as PNG or JPEG."
                    ) from error
            answered = photo.pixels.size // 3 <= LARGE
        finally:
            if answered and not ended:
                self._give_back(process)
            else:
                _end(process)
        return photo

    def close(self) -> None:
        """End all processes that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def _take(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.poll() is None:
                    return process
                _end(process)
        return self._start()

    def _give_back(self, process: "subprocess.Popen[bytes]") -> None:
        with self._lock:
            self._idle.append(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, *self._worker, str(self._memory), json.dumps(asdict(self._limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # whatever a library says of a stranger's bytes
            env=environment,
        )

    @contextmanager
    def _watched(
        self, process: "subprocess.Popen[bytes]", stop: threading.Event | None, ended: list[errors.VisualizerError]
    ) -> Iterator[None]:
        """End the process when its time is over or `stop` is set; `ended` then says why."""
        done = threading.Event()

        def watch() -> None:
            until = time.monotonic() + self._limits.decode_seconds + PATIENCE
            while not done.wait(_POLL):
                if stop is not None and stop.is_set():
                    ended.append(CancelledError("Stopped."))
                elif time.monotonic() > until:
                    ended.append(too_much("time"))
                else:
                    continue
                process.kill()
                return

        watcher = threading.Thread(target=watch, name="decoding", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _ask(process: "subprocess.Popen[bytes]", content: bytes, limits: Limits) -> Photo:
    """Send a file and read what comes back, none of which is trusted.

    Raises:
        ImageError: the process refused it.
        OSError: the process is gone.
        LookupError, TypeError, ValueError: what it said is none of its answers.
    """
    source, target = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin)
    target.write(LENGTH.pack(len(content)) + content)
    target.flush()
    line = source.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("no line")
    head: dict[str, Any] = json.loads(line)
    if "error" in head:
        raise _refusal(head)
    (height, width), original = head["size"], head["original_size"]
    if not 0 < height * width <= limits.max_pixels:
        raise ValueError("no such picture was asked for")
    pixels = source.read(height * width * 3)
    if len(pixels) < height * width * 3:
        raise ValueError("no picture")
    shaped = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)  # of bytes: read-only
    return Photo(shaped, tuple(map(str, head["notes"])), (int(original[0]), int(original[1])))


def _refusal(head: dict[str, Any]) -> ImageError:
    kind = getattr(errors, str(head["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, ImageError)):
        raise ValueError("no such refusal")
    return kind(str(head["message"]), str(head["hint"]))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not written yet
                pipe.close()
    process.wait()
