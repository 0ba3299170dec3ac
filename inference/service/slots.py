"""How many pictures are decoded or drawn at once: each may take seconds and hundreds of MB. It knows no page."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from inference.errors import CancelledError

_POLL = 0.15  # seconds between looks at whether the person who waits is still there


class Slots:
    """So many at once, and one less for one address; the others wait.

    Args:
        at_once: how many.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._taken: Counter[str] = Counter()
        self._moved = threading.Condition()

    @contextmanager
    def one(self, address: str, stop: threading.Event | None = None) -> Iterator[None]:
        """Have a slot for as long as the context lasts.

        Args:
            address: for whom.
            stop: ends the waiting when it is set.

        Raises:
            CancelledError: it was set.
        """
        own = max(1, self._at_once - 1)
        with self._moved:
            while not self._moved.wait_for(
                lambda: self._taken.total() < self._at_once and self._taken[address] < own, _POLL
            ):
                check_stop(stop)
            self._taken[address] += 1
        try:
            yield
        finally:
            with self._moved:
                self._taken[address] -= 1
                self._taken += Counter()  # forgets whom nothing is counted of
                self._moved.notify_all()


@contextmanager
def counted(taken: Counter[str], address: str) -> Iterator[None]:
    """Count one more of an address for as long as the context lasts; whom nothing is counted of is forgotten.

    Args:
        taken: how many each address has; changed by one thread at a time.
        address: whose.
    """
    taken[address] += 1
    try:
        yield
    finally:
        taken[address] -= 1
        if not taken[address]:
            del taken[address]


def check_stop(stop: threading.Event | None) -> None:
    """Go on, unless `stop` is set.

    Raises:
        CancelledError: it is.
    """
    if stop is not None and stop.is_set():
        raise CancelledError("Stopped.")
