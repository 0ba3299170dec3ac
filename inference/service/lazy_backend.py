"""The backend, opened in a thread of its own when it is first needed; it knows neither requests nor pages."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from inference.backend import Backend
from inference.errors import VisualizerError
from inference.service.failures import told

_log = logging.getLogger(__name__)


class LazyBackend:
    """A backend that whoever needs it waits for. Every method may be called from any thread.

    Args:
        open_: opens it; called once, in a thread, when it is first needed or by `warm`; again after a failure.
    """

    def __init__(self, open_: Callable[[], Backend]) -> None:
        self._open = open_
        self._opened: Future[Backend] | None = None
        self._lock = threading.Lock()

    def warm(self) -> "Future[Backend]":
        """Begin to open it, where that has not begun or has failed; do not wait for it."""
        with self._lock:
            failed = self._opened is not None and self._opened.done() and self._opened.exception() is not None
            if self._opened is None or failed:
                self._opened = Future()
                threading.Thread(target=self._fill, args=(self._opened,), name="open-backend", daemon=True).start()
            return self._opened

    def wait(self) -> Backend:
        """The backend, opened and waited for.

        Raises:
            VisualizerError: it cannot be opened.
        """
        return self.warm().result()

    def ready(self) -> bool:
        """Whether it is open."""
        opened = self._opened
        return opened is not None and opened.done() and opened.exception() is None

    def close(self) -> None:
        """Stop its work, where it is open."""
        if self.ready():
            self.wait().close()

    def failure(self) -> VisualizerError | None:
        """Why it could not be opened, if that happened."""
        opened = self._opened
        error = opened.exception() if opened is not None and opened.done() else None
        return error if isinstance(error, VisualizerError) else None

    def _fill(self, opened: "Future[Backend]") -> None:
        try:
            opened.set_result(self._open())
        except VisualizerError as error:
            _log.warning("the backend cannot be opened: %s", error)
            opened.set_exception(error)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits gets a sentence
            _log.error("the backend cannot be opened: %s", error, exc_info=error)  # no visitor's words are in it
            opened.set_exception(told(error))
