"""One piece of work on the engine: its turn in the queue, a thread of its own, what it says, and what comes of it.

Each runs from start to end in one thread: frameworks keep state per thread, and a page that reads the events from
changing threads must not disturb that.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import TypeAlias, TypeVar

from inference.backend import Backend
from inference.errors import UnexpectedError, VisualizerError
from inference.explanations import Explanation
from inference.records import AnswerToken, Comparison, Progress
from inference.request import Request
from inference.service.lazy_backend import LazyBackend
from inference.service.request_queue import RequestQueue
from inference.service.results import Explained, Result
from inference.service.slots import check_stop
from inference.settings import BackendKind

POLL = 0.15  # seconds between looks at the queue, the opening backend and the Stop button

_log = logging.getLogger(__name__)
Kept = TypeVar("Kept", Result, Explained)
Said: TypeAlias = Progress | AnswerToken | Kept  # of the work, in this order
Stamps = Mapping[str, str]
Answer = Comparison | Explanation
#: Asks the backend, and makes of its last event what is kept, with the stamps of the adapters' files.
Ask = Callable[[Backend], Generator[Progress | AnswerToken | Answer, None, None]]
Make: TypeAlias = Callable[[Answer, Stamps], Kept]
_Events: TypeAlias = queue.SimpleQueue[Progress | AnswerToken | Kept | VisualizerError]


class Worker:
    """Runs work on one backend.

    Args:
        queue: whose turn it is.
        backend: opened when it is first needed.
        stamps_of: the stamps of a request's adapters, as they are when it is their turn.
        kind: of backend, for the words while it opens.
    """

    def __init__(
        self, queue: RequestQueue, backend: LazyBackend, stamps_of: Callable[[Request], Stamps], kind: BackendKind
    ) -> None:
        self._queue, self._backend, self._stamps_of, self._kind = queue, backend, stamps_of, kind

    def run(
        self, request: Request, ask: Ask, make: Make[Kept], stop: threading.Event
    ) -> Generator[Said[Kept], None, None]:
        """Work in a thread of its own, and say what happens; what was made comes last. Closing it stops the work.

        Args:
            request: that is worked on.
            ask: asks the backend.
            make: makes of its last event what is kept.
            stop: stops the work when it is set; it is set when the work is over, too.

        Raises:
            CancelledError: `stop` was set.
            VisualizerError: whatever else went wrong.
        """
        events: _Events[Kept] = queue.SimpleQueue()
        work = threading.Thread(
            target=self._work, args=(request, ask, make, events, stop), name="analysis", daemon=True
        )
        work.start()
        try:
            while True:
                event = _next(events, stop)
                yield event
                if isinstance(event, (Result, Explained)):
                    return
        finally:
            stop.set()

    def _work(self, request: Request, ask: Ask, make: Make[Kept], events: _Events[Kept], stop: threading.Event) -> None:
        try:
            for event in self._events(request, ask, make, stop):
                events.put(event)
        except VisualizerError as error:
            events.put(error)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits gets a sentence
            _log.error("an analysis failed", exc_info=error)
            events.put(UnexpectedError())

    def _events(self, request: Request, ask: Ask, make: Make[Kept], stop: threading.Event) -> Iterator[Said[Kept]]:
        started, made = time.monotonic(), None
        with self._queue.place() as ticket:
            told = 0
            while not self._queue.wait(ticket, POLL):
                check_stop(stop)
                ahead = ticket.ahead
                if ahead and ahead != told:
                    told = ahead
                    yield Progress("queue", _waiting(ahead), time.monotonic() - started)
            opened = self._backend.warm()
            if not opened.done():
                opening = "loading the model" if self._kind == "local" else "reaching Modal"
                yield Progress("loading", opening, time.monotonic() - started)
            while not opened.done():
                check_stop(stop)
                time.sleep(POLL)
            backend, stamps = opened.result(), self._stamps_of(request)
            with closing(ask(backend)) as stream:
                for event in stream:
                    check_stop(stop)
                    if isinstance(event, (Progress, AnswerToken)):
                        yield event
                    else:
                        made = make(event, stamps)
        if made is None:
            raise UnexpectedError("The engine ended without an answer.")
        yield made  # with its place given back: whoever shows it may say who waits now


def _next(events: _Events[Kept], stop: threading.Event) -> Said[Kept]:
    while True:
        check_stop(stop)
        try:
            event = events.get(timeout=POLL)
        except queue.Empty:
            continue
        if isinstance(event, VisualizerError):
            raise event
        return event


def _waiting(ahead: int) -> str:
    return "Waiting: one analysis is before yours." if ahead == 1 else f"Waiting: {ahead} analyses are before yours."
