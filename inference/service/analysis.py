"""The one way in which an analysis happens, for page, routes and programs alike; it knows no page and no pixels.

    limits → cache → rate limit → line → backend (opened when first needed) → cache

Each analysis runs from start to end in one thread of its own: frameworks keep state per thread, and a page that reads
the events from changing threads must not disturb that. Leaving the iterator stops the work at its next event.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

from inference.backend import Backend
from inference.errors import CancelledError, UnexpectedError, VisualizerError
from inference.limits import check_limits
from inference.photo import Photo, decode_photo
from inference.records import AdapterInfo, AnswerToken, Comparison, ModelInfo, Progress
from inference.request import Request
from inference.service.rate_limit import RateLimit
from inference.service.request_queue import RequestQueue
from inference.service.results import Result, ResultCache, digest
from inference.service.session import Session
from inference.settings import Settings

POLL = 0.15  # seconds between looks at the line, the opening backend and the Stop button

_log = logging.getLogger(__name__)

Happening = Progress | AnswerToken | Result


class AnalysisService:
    """Takes requests, has them answered in turn, and remembers the answers.

    Args:
        settings: bounds on queue, rate and kept results.
        open_: opens the backend; called once, in a thread, when it is first needed or by `warm`; again after a failure.
    """

    def __init__(self, settings: Settings, open_: Callable[[], Backend]) -> None:
        self.settings = settings
        self.results = ResultCache(settings.result_cache_bytes)
        self.queue = RequestQueue(settings.limits.queue_length)
        self._rate = RateLimit(settings.limits.requests_per_minute)
        self._open = open_
        self._backend: Future[Backend] | None = None
        self._sessions: dict[str, Session] = {}
        self._stamps: dict[str, str] = {}
        self._lock = threading.Lock()

    def session(self, name: str) -> Session:
        """The session of that name, begun where it is new."""
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                session = self._sessions[name] = Session(name)
                self.results.begin(name)
            return session

    def leave(self, name: str) -> None:
        """End a session: stop its work, forget its results, delete its files."""
        with self._lock:
            session = self._sessions.pop(name, None)
        if session is not None:
            session.stop()
        self.results.end(name)

    def own_file(self, session: Session, path: Path) -> None:
        """Delete an uploaded file when the session ends."""
        self.results.own_file(session.id, path)

    def photo(self, session: Session, path: Path) -> Photo:
        """The photo in an uploaded file, decoded when it is first asked for and kept for the session.

        Raises:
            ImageError: see `decode_photo`.
        """
        photo = self.results.photo(session.id, path)
        if photo is None:
            photo = decode_photo(path.read_bytes(), self.settings.limits)
            self.results.put_photo(session.id, path, photo)
        return photo

    def warm(self) -> "Future[Backend]":
        """Begin to open the backend, where that has not begun or has failed; do not wait for it."""
        with self._lock:
            failed = self._backend is not None and self._backend.done() and self._backend.exception() is not None
            if self._backend is None or failed:
                self._backend = Future()
                threading.Thread(target=self._fill, args=(self._backend,), name="open-backend", daemon=True).start()
            return self._backend

    def ready(self) -> bool:
        """Whether the backend is open."""
        opened = self._backend
        return opened is not None and opened.done() and opened.exception() is None

    def failure(self) -> VisualizerError | None:
        """Why the backend could not be opened, if that happened."""
        opened = self._backend
        error = opened.exception() if opened is not None and opened.done() else None
        return error if isinstance(error, VisualizerError) else None

    def backend(self) -> Backend:
        """The backend, opened and waited for.

        Raises:
            VisualizerError: it cannot be opened.
        """
        return self.warm().result()

    def expect(self) -> None:
        """A request is likely to come soon; do not wait."""
        if self.ready():
            self.backend().warm()

    def model_info(self) -> ModelInfo:
        """The base model; waits for the backend."""
        return self.backend().model_info()

    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters on offer; waits for the backend. Results of one whose files were replaced are forgotten."""
        infos = self.backend().adapters()
        stamps = {info.name: info.stamp for info in infos}
        self.results.forget(name for name, stamp in self._stamps.items() if stamps.get(name, stamp) != stamp)
        self._stamps = stamps
        return infos

    def answer(
        self,
        request: Request,
        *,
        address: str,
        session: Session | None = None,
        cancelled: threading.Event | None = None,
    ) -> Iterator[Happening]:
        """Answer a request: what happens, then exactly one `Result`; closing the iterator stops the work.

        Args:
            request: what is asked.
            address: who asks, for the rate limit; an answer from the cache does not count.
            session: whose cache to look in and to keep the result in; None keeps nothing.
            cancelled: stops the work when it is set.

        Raises:
            InputError: the request is beyond a limit.
            CancelledError: `cancelled` was set.
            VisualizerError: whatever else went wrong.
        """
        check_limits(request, self.settings.limits)
        key = digest(request)
        stop = cancelled or threading.Event()
        kept = self.results.get(session.id, key) if session else None
        if kept is not None:
            stop.set()
            yield kept
            return
        self._rate.admit(address)
        events: queue.SimpleQueue[Progress | AnswerToken | Comparison | VisualizerError] = queue.SimpleQueue()
        threading.Thread(target=self._work, args=(request, events, stop), name="analysis", daemon=True).start()
        try:
            while True:
                event = self._next(events, stop)
                if isinstance(event, Comparison):
                    result = Result(key, request, event)
                    if session is not None:
                        self.results.put(session.id, result)
                    yield result
                    return
                yield event
        finally:
            stop.set()

    def result(self, request: Request, *, address: str, cancelled: threading.Event | None = None) -> Result:
        """Answer a request without saying what happens meanwhile; nothing is kept.

        Raises:
            VisualizerError: whatever `answer` raises.
        """
        for event in self.answer(request, address=address, cancelled=cancelled):
            if isinstance(event, Result):
                return event
        raise UnexpectedError("The engine ended without an answer.")

    def _fill(self, opened: "Future[Backend]") -> None:
        try:
            backend = self._open()
            self.queue.serve(backend.at_once())
            opened.set_result(backend)
        except VisualizerError as error:
            _log.warning("the backend cannot be opened: %s", error)
            opened.set_exception(error)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits gets a sentence
            opened.set_exception(_unexpected(error))

    def _next(
        self, events: "queue.SimpleQueue[Progress | AnswerToken | Comparison | VisualizerError]", stop: threading.Event
    ) -> Progress | AnswerToken | Comparison:
        while True:
            if stop.is_set():
                raise CancelledError("Stopped.")
            try:
                event = events.get(timeout=POLL)
            except queue.Empty:
                continue
            if isinstance(event, VisualizerError):
                raise event
            return event

    def _work(
        self,
        request: Request,
        events: "queue.SimpleQueue[Progress | AnswerToken | Comparison | VisualizerError]",
        stop: threading.Event,
    ) -> None:
        try:
            for event in self._events(request, stop):
                events.put(event)
        except VisualizerError as error:
            events.put(error)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits gets a sentence
            events.put(_unexpected(error))

    def _events(self, request: Request, stop: threading.Event) -> Iterator[Progress | AnswerToken | Comparison]:
        started = time.monotonic()
        with self.queue.place() as ticket:
            said = 0
            while not self.queue.wait(ticket, POLL):
                _check(stop)
                ahead = ticket.ahead
                if ahead and ahead != said:
                    said = ahead
                    yield Progress("queue", _waiting(ahead), None, time.monotonic() - started)
            opened = self.warm()
            if not opened.done():
                opening = "loading the model" if self.settings.backend == "local" else "reaching Modal"
                yield Progress("loading", opening, None, time.monotonic() - started)
            while not opened.done():
                _check(stop)
                time.sleep(POLL)
            with closing(opened.result().stream(request)) as stream:
                for event in stream:
                    _check(stop)
                    yield event


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise CancelledError("Stopped.")


def _waiting(ahead: int) -> str:
    return "Waiting: one analysis is before yours." if ahead == 1 else f"Waiting: {ahead} analyses are before yours."


def _unexpected(error: Exception) -> UnexpectedError:
    _log.error("unexpected error", exc_info=error)
    return UnexpectedError()
