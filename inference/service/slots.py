"""How many pictures are decoded or drawn at once: each may take seconds and hundreds of MB. It knows no page."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inference.errors import CancelledError

_POLL = 0.15  # seconds between looks at whether the person who waits is still there


class Slots:
    """So many at once; the others wait.

    Args:
        at_once: how many.
    """

    def __init__(self, at_once: int) -> None:
        self._free = threading.Semaphore(at_once)

    @contextmanager
    def one(self, stop: threading.Event | None = None) -> Iterator[None]:
        """Have a slot for as long as the context lasts.

        Args:
            stop: ends the waiting when it is set.

        Raises:
            CancelledError: it was set.
        """
        while not self._free.acquire(timeout=_POLL):
            check_stop(stop)
        try:
            yield
        finally:
            self._free.release()


def check_stop(stop: threading.Event | None) -> None:
    """Go on, unless `stop` is set.

    Raises:
        CancelledError: it is.
    """
    if stop is not None and stop.is_set():
        raise CancelledError("Stopped.")
