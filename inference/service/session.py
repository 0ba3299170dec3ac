"""What the server remembers of one open page beside its results: what was asked, what runs."""

import threading

from inference.request import Request


class Session:
    """One open page. Every method may be called from any thread.

    Args:
        id: the session's name.

    Attributes:
        asked: the request that was analyzed last, or is being analyzed; None before the first.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.asked: Request | None = None
        self._work: dict[str, tuple[str, threading.Event]] = {}
        self._lock = threading.Lock()

    def begin(self, work: str, key: str) -> threading.Event:
        """Begin work of a kind, on the request `key`, and stop what ran of that kind.

        Returns:
            What stops the new work when it is set; it is set when the work is over, too.
        """
        with self._lock:
            if work in self._work:
                self._work[work][1].set()
            stop = threading.Event()
            self._work[work] = (key, stop)
            return stop

    def runs(self, work: str, key: str | None = None) -> bool:
        """Whether work of that kind runs (on the request `key`): begun, and neither stopped nor finished."""
        begun, stop = self._work.get(work, ("", None))
        return stop is not None and not stop.is_set() and key in (None, begun)

    def busy(self) -> bool:
        """Whether work of any kind runs."""
        with self._lock:
            return any(not stop.is_set() for _, stop in self._work.values())

    def stop(self, work: str | None = None) -> None:
        """Stop all work, or that of one kind."""
        with self._lock:
            for kind, (_, stop) in self._work.items():
                if work in (None, kind):
                    stop.set()
