"""The one way in which an analysis happens, for page, routes and programs alike; it knows no page and no pixels.

    limits → cache → room in the queue, rate limit → queue → backend (opened when first needed) → cache

The work itself is `worker.py`. Leaving a generator stops the work at its next event.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from inference.backend import Backend
from inference.descriptions import AdapterInfo, ModelInfo
from inference.errors import (
    InputError,
    NotFoundError,
    NotRecordedError,
)
from inference.explanations import Explanation
from inference.limits import check_limits
from inference.photo import Photo
from inference.questions import Question
from inference.recording import ExtraView
from inference.records import AnswerToken, Comparison, Progress
from inference.request import Request, digest
from inference.serialization import pack_question
from inference.service.decoder import Decoder
from inference.service.gradio_guard import LONGEST_NAME
from inference.service.lazy_backend import LazyBackend
from inference.service.metrics import Metrics
from inference.service.rate_limit import RateLimit
from inference.service.replayed_heads import all_views, has_heads, replay_of, with_heads_of
from inference.service.request_queue import RequestQueue
from inference.service.results import Explained, Result, ResultCache, same_files
from inference.service.session import Session
from inference.service.slots import Slots
from inference.service.tickets import EVERYONE, Tickets
from inference.service.uploads import Uploads
from inference.service.worker import Worker
from inference.settings import Settings


class AnalysisService:
    """Takes requests, has them answered in turn, and remembers the answers.

    Args:
        settings: bounds on queue, rate and kept results.
        open_: opens the backend, see `LazyBackend`.
    """

    def __init__(self, settings: Settings, open_: Callable[[], Backend]) -> None:
        self.settings = settings
        self.results = ResultCache(settings.result_cache_bytes)
        self.uploads = Uploads(settings.limits)
        self.tickets = Tickets()
        self.queue = RequestQueue(settings.limits.queue_length)
        self.backend = LazyBackend(lambda: self._serving(open_()))
        self.decoder = Decoder(settings.limits)
        self.slots = Slots(settings.limits.pictures_at_once)
        #: Seconds of one replay, as the last explanation took them; 0 before the first.
        self.pace = 0.0
        self._rate = RateLimit(settings.limits.requests_per_minute)
        self._worker = Worker(self.queue, self.backend, self._stamps_of, settings.backend)
        self._sessions: dict[str, Session] = {}
        self._stamps: dict[str, str] = {}
        self._lock = threading.Lock()
        self.metrics = Metrics(
            running=lambda: self.queue.running,
            waiting=lambda: self.queue.waiting,
            sessions=lambda: len(self._sessions),
            kept_bytes=lambda: self.results.nbytes,
        )

    def session(self, name: str) -> Session:
        """The session of that name, begun where it is new; where there are too many, the one idle longest ends.

        Args:
            name: as the browser says it, which may say anything; what is longer than `LONGEST_NAME` is cut.
        """
        name, idle = name[:LONGEST_NAME], None
        with self._lock:
            session = self._sessions.pop(name, None)
            if session is None:
                session = Session(name)
                self.results.begin(name)
                if len(self._sessions) >= self.settings.limits.sessions:
                    idle = next((each.id for each in self._sessions.values() if not each.busy()), None)
            self._sessions[name] = session  # last: used now
        if idle is not None:
            self.leave(idle)
        return session

    def leave(self, name: str) -> None:
        """End a session: stop its work, forget its results, delete its files."""
        name = name[:LONGEST_NAME]
        with self._lock:
            session = self._sessions.pop(name, None)
        if session is not None:
            session.stop()
        self.tickets.end(name)
        self.results.end(name)

    def photo(self, session: Session, path: Path, address: str) -> Photo:
        """The photo in an uploaded file, decoded when it is first asked for and kept for the session.

        The file goes with the session, if it came by an upload: no other is anybody's.

        Args:
            session: that it is kept for.
            path: of the file.
            address: who asks.

        Raises:
            ImageError: see `Decoder.decode`.
        """
        if path in self.uploads:
            self.results.own_file(session.id, path)
        photo = self.results.photo(session.id, path)
        if photo is None:
            photo = self.decode(path.read_bytes(), address)
            self.results.put_photo(session.id, path, photo)
        return photo

    def decode(self, content: bytes, address: str, stop: threading.Event | None = None) -> Photo:
        """The photo in a file's bytes, decoded when it is its turn.

        Args:
            content: the file's bytes.
            address: who asks; pictures of one address are not decoded in all places at once.
            stop: ends the waiting and the decoding when it is set.

        Raises:
            ImageError: see `Decoder.decode`.
            CancelledError: `stop` was set.
        """
        with self.metrics.told(), self.slots.one(address, stop):
            return self.decoder.decode(content, stop)

    def admit(self, address: str) -> None:
        """Count an analysis that an address asks for, before any work is done for it.

        Raises:
            BusyError: too many wait already, or `address` has used up its minute.
        """
        with self.metrics.told():
            self.queue.check_room(address)
            self._rate.admit(address)

    def close(self) -> None:
        """End every session and the engine's work, before the process ends; may wait for the engine."""
        for name in list(self._sessions):
            self.leave(name)
        self.decoder.close()
        self.backend.close()

    def expect(self) -> None:
        """A request is likely to come soon; do not wait."""
        if self.backend.ready():
            self.backend.wait().warm()

    def model_info(self) -> ModelInfo:
        """The base model; waits for the backend."""
        return self.backend.wait().model_info()

    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters on offer; waits for the backend. Results of one whose files were replaced are forgotten."""
        infos = self.backend.wait().adapters()
        self._stamps = {info.name: info.stamp for info in infos}
        self.results.forget_others(self._stamps)
        return infos

    def families(self) -> dict[str, tuple[str, int]]:
        """Of each adapter that is a checkpoint of a family, as far as known now: the family's name and its step."""
        infos = self.backend.wait().adapters() if self.backend.ready() else ()
        return {info.name: (info.family, info.step) for info in infos if info.family and info.step is not None}

    def answer(
        self,
        request: Request,
        *,
        address: str,
        admitted: bool = False,
        session: Session | None = None,
        written: Result | None = None,
        cancelled: threading.Event | None = None,
    ) -> Generator[Progress | AnswerToken | Result, None, None]:
        """Answer a request: what happens, then exactly one `Result`; closing the generator stops the work.

        Args:
            request: what is asked.
            address: who asks, for rate limit and turn; an answer from the cache does not count.
            admitted: it was counted before, by `admit`.
            session: whose cache to look in and to keep the result in; None keeps nothing.
            written: where an answer is given, the result in which the variants answered the same question themselves.
            cancelled: stops the work when it is set.

        Raises:
            InputError: the request is beyond a limit.
            CancelledError: `cancelled` was set.
            VisualizerError: whatever else went wrong.
        """
        key = digest(request)
        stop = cancelled or threading.Event()

        def keep(comparison: Comparison, stamps: Mapping[str, str]) -> Result:
            own = written.own if written is not None and same_files(written.stamps, stamps) else None
            return Result(key, request, comparison, stamps, written=own)

        with self.metrics.counting("comparison") as ended:
            check_limits(request, self.settings.limits)
            kept = self._still_kept(session, key) if session else None
            if kept is not None:
                stop.set()
                ended("kept")
                yield kept
                return
            if not admitted:
                self.admit(address)
            for event in self._worker.run(request, lambda backend: backend.stream(request), keep, stop, address):
                if isinstance(event, Result):
                    ended("answered")
                    if session is not None:
                        self.results.put(session.id, event)
                yield event

    def explain(
        self,
        request: Request,
        question: Question[Explanation],
        *,
        address: str,
        admitted: bool = False,
        session: Session | None = None,
        of: str = "",
        about: str = "",
        cancelled: threading.Event | None = None,
    ) -> Generator[Progress | AnswerToken | Explained, None, None]:
        """Answer a question about a change: what happens, then exactly one `Explained`; closing stops the work.

        Args:
            request: of the variants that are asked about.
            question: what is asked.
            address, admitted: see `answer`.
            session: see `answer`.
            of: the key of the result that it is asked about.
            about: see `Explained`.
            cancelled: stops the work when it is set.

        Raises:
            VisualizerError: whatever `answer` raises.
        """
        key = _question_key(request, question)
        stop = cancelled or threading.Event()

        def keep(explanation: Explanation, stamps: Mapping[str, str]) -> Explained:
            return Explained(key, of, explanation, about, stamps)

        with self.metrics.counting("question") as ended:
            check_limits(request, self.settings.limits)
            if session is not None and self.results.explained(session.id, key) is not None:
                self.adapters()  # what came of replaced files is forgotten
                kept = self.results.explained(session.id, key)
                if kept is not None:
                    stop.set()
                    ended("kept")
                    yield kept
                    return
            if not admitted:
                self.admit(address)
            for event in self._worker.run(
                request, lambda backend: backend.stream_explanation(request, question), keep, stop, address
            ):
                if isinstance(event, Explained):
                    ended("answered")
                    self.pace = event.explanation.timings.get("replays", 0.0) / max(event.explanation.replays, 1)
                    if session is not None:
                        self.results.put_explained(session.id, event)
                yield event

    def explained(
        self,
        request: Request,
        question: Question[Explanation],
        *,
        address: str,
        admitted: bool = False,
        cancelled: threading.Event | None = None,
    ) -> Explanation:
        """Answer a question without saying what happens meanwhile.

        Raises:
            VisualizerError: whatever `explain` raises.
        """
        *_, last = self.explain(request, question, address=address, admitted=admitted, cancelled=cancelled)
        assert isinstance(last, Explained)
        return last.explanation

    def result(
        self,
        request: Request,
        *,
        address: str,
        admitted: bool = False,
        session: Session | None = None,
        cancelled: threading.Event | None = None,
    ) -> Result:
        """Answer a request without saying what happens meanwhile.

        Raises:
            VisualizerError: whatever `answer` raises.
        """
        *_, last = self.answer(request, address=address, admitted=admitted, session=session, cancelled=cancelled)
        assert isinstance(last, Result)
        return last

    def kept(self, session: Session, key: object) -> Result:
        """The result that a page says it shows.

        Raises:
            InputError: it is not kept for this session, or not any more.
        """
        result = self._still_kept(session, key) if isinstance(key, str) else None
        if result is None:
            raise InputError("This result is no longer kept.", "Press Analyze to get it again.")
        return result

    def ticket(self, session: Session | None, result: Result) -> str:
        """What a result is looked at by; without a session it is a shipped one, and everyone's."""
        return self.tickets.issue(session.id if session else EVERYONE, result.key)

    def looked_at(self, ticket: str, focus: tuple[int, ...] | None = None, views: tuple[ExtraView, ...] = ()) -> Result:
        """The result that a ticket stands for, its single heads and other views those of `focus`, where given.

        Args:
            ticket: of the result, and after a point the index of the image that is looked at, where it has several.
            focus, views: see `with_heads`.

        Raises:
            SelectionError: it has no such image.
            NotFoundError: no such ticket, or its result is not kept any more.
            NotRecordedError: these tokens' heads or views are not recorded yet.
        """
        ticket, point, index = ticket.partition(".")
        if point and not (index.isascii() and index.isdigit() and len(index) < 4):
            raise NotFoundError("This is no image of a result.", "They are counted from 0.")
        image = int(index) if point else None
        session, key = self.tickets.owner(ticket) or (EVERYONE, "")
        written = self.results.get(session, key)
        if written is None:
            raise NotFoundError("This result is no longer kept.", "Press Analyze to get it again.")
        if focus is None or has_heads(written, focus, views):
            return written.showing(image)
        replayed = self._replayed(session, written, focus, views)
        if replayed is None:
            raise NotRecordedError("The heads of this token are not recorded yet.", "Choose a head to record them.")
        return with_heads_of(written, replayed).showing(image)

    def with_heads(
        self,
        session: Session,
        written: Result,
        focus: tuple[int, ...],
        views: tuple[ExtraView, ...] = (),
        *,
        address: str,
    ) -> Result:
        """The answer of `written`, replayed with the heads of other tokens recorded; from the cache where it is there.

        Args:
            session: whose result it is.
            written: the result in which the variants wrote their answers.
            focus: indices into its tokens.
            views: what else is recorded of them, see `Request.views`.
            address: who asks, for the rate limit.

        Raises:
            VisualizerError: whatever `answer` raises.
        """
        if has_heads(written, focus, views):
            return written
        replayed = self._replayed(session.id, written, focus, views)
        if replayed is not None:
            return with_heads_of(written, replayed)
        request = replay_of(written, focus, views)
        stop = session.begin("heads", digest(request))
        return with_heads_of(written, self.result(request, address=address, session=session, cancelled=stop))

    def _replayed(
        self, session: str | None, written: Result, focus: tuple[int, ...], views: tuple[ExtraView, ...]
    ) -> Result | None:
        """The kept replay that recorded these tokens' heads with these views; one that recorded more will do."""
        wanted = dict.fromkeys((views, all_views(written.comparison, focus)))
        found = (self.results.get(session, digest(replay_of(written, focus, each))) for each in wanted)
        return next((each for each in found if each is not None), None)

    def _still_kept(self, session: Session, key: str) -> Result | None:
        """A kept result, unless an adapter's files were replaced since."""
        kept = self.results.get(session.id, key)
        if kept is None or not kept.stamps:
            return kept
        self.adapters()
        return self.results.get(session.id, key)

    def _stamps_of(self, request: Request) -> dict[str, str]:
        """The adapters' stamps as last listed: one that is out of date makes work, never an old answer a new one."""
        names = {name for name in request.adapters if name is not None}
        if not names <= self._stamps.keys():
            self.adapters()
        return {name: stamp for name, stamp in self._stamps.items() if name in names}

    def _serving(self, backend: Backend) -> Backend:
        self.queue.serve(backend.at_once())
        return backend


def _question_key(request: Request, question: Question[Explanation]) -> str:
    """Name a question by everything that its answer depends on."""
    asked = json.dumps([digest(request), pack_question(question)], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()
