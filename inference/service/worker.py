"""One piece of work on the engine: its turn in the queue, a thread of its own, what it says, and what comes of it.

Each runs from start to end in one thread: frameworks keep state per thread, and a page that reads the events from
changing threads must not disturb that.
"""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar, cast

from inference.backend import Backend
from inference.errors import VisualizerError
from inference.explanations import Explanation
from inference.records import AnswerToken, Comparison, Progress
from inference.request import Request
from inference.service.failures import unforeseen
from inference.service.lazy_backend import LazyBackend
from inference.service.request_queue import RequestQueue
from inference.service.results import Explained, Result
from inference.service.slots import check_stop
from inference.settings import BackendKind

POLL = 0.15  # seconds between looks at the queue, the opening backend and the Stop button

Kept = TypeVar("Kept", Result, Explained)
_Said = Progress | AnswerToken | Result | Explained  # of the work, in this order
_Events = queue.SimpleQueue[_Said | VisualizerError]
#: Asks the backend, whose record comes last.
Ask = Callable[[Backend], Generator[Progress | AnswerToken | Comparison | Explanation, None, None]]
#: Makes a record with the adapters' stamps what is kept.
Keep = Callable[[Any, Mapping[str, str]], Kept]


class Worker:
    """Runs work on one backend.

    Args:
        waiting: whose turn it is.
        backend: opened when it is first needed.
        stamps_of: the stamps of a request's adapters, as they are when it is their turn.
        kind: of backend, for the words while it opens.
    """

    def __init__(
        self,
        waiting: RequestQueue,
        backend: LazyBackend,
        stamps_of: Callable[[Request], Mapping[str, str]],
        kind: BackendKind,
    ) -> None:
        self._queue, self._backend, self._stamps_of, self._kind = waiting, backend, stamps_of, kind

    def run(
        self, request: Request, ask: Ask, keep: Keep[Kept], stop: threading.Event, address: str
    ) -> Generator[Progress | AnswerToken | Kept, None, None]:
        """Have something done when it is its turn, in a thread of its own; what is kept comes last.

        Args:
            request: that is worked on.
            ask: asks the backend.
            keep: makes of its record what is kept.
            stop: stops the work when it is set; it is set when the work is over, too.
            address: for whom, which decides when it is its turn.

        Raises:
            CancelledError: `stop` was set.
            VisualizerError: whatever else went wrong.
        """
        events: _Events = queue.SimpleQueue()
        work = partial(self._work, request, ask, keep, events, stop, address)
        context = copy_context()  # with the request's id
        threading.Thread(target=context.run, args=(work,), name="analysis", daemon=True).start()
        try:
            while True:
                event = cast("Progress | AnswerToken | Kept", _next(events, stop))
                yield event
                if isinstance(event, (Result, Explained)):
                    return
        finally:
            stop.set()

    def _work(
        self, request: Request, ask: Ask, keep: Keep[Kept], events: _Events, stop: threading.Event, address: str
    ) -> None:
        try:
            for event in self._events(request, ask, keep, stop, address):
                events.put(event)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits gets a sentence
            events.put(unforeseen(error, "an analysis failed"))

    def _events(
        self, request: Request, ask: Ask, keep: Keep[Kept], stop: threading.Event, address: str
    ) -> Iterator[_Said]:
        started, answer = time.monotonic(), None
        with self._queue.place(address) as ticket:
            told = ""
            while not self._queue.wait(ticket, POLL):
                check_stop(stop)
                ahead = ticket.ahead
                sentence = _waiting(ahead, self._queue.running, self._queue.busy_seconds)
                if ahead and sentence != told:
                    told = sentence
                    yield Progress("queue", sentence, time.monotonic() - started)
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
                    if isinstance(event, (Comparison, Explanation)):
                        answer = keep(event, stamps)
                    else:
                        yield event
        if answer is None:
            raise RuntimeError("the engine ended without an answer")
        yield answer  # with its place given back: whoever shows it may say who waits now


def _next(events: _Events, stop: threading.Event) -> _Said:
    while True:
        check_stop(stop)
        try:
            event = events.get(timeout=POLL)
        except queue.Empty:
            continue
        if isinstance(event, VisualizerError):
            raise event
        return event


def _waiting(ahead: int, running: int, busy: float) -> str:
    """Who waits behind something long reads for how long already, in steps of ten seconds, then of minutes."""
    seconds = int(busy // 10) * 10
    since = f"{seconds} s" if seconds < 90 else f"{seconds // 60} min"
    at_work = f"; the {'one' if running == 1 else 'longest'} at work began {since} ago" if seconds else ""
    return f"Waiting: {'one analysis is' if ahead == 1 else f'{ahead} analyses are'} before yours{at_work}."
