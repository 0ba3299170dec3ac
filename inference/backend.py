"""The seam: what the page may ask of an engine, wherever it runs. Opening a backend is the first heavy import."""

import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from inference.descriptions import AdapterInfo, BackendStatus, ModelInfo
from inference.errors import BackendError, VisualizerError
from inference.explanations import Explanation, ExplanationEvent
from inference.imports import heavy_imports
from inference.questions import Answer, Question
from inference.records import AnswerToken, Comparison, Event, Outcomes, Progress
from inference.request import Request
from inference.settings import AttentionMode, BackendKind, Settings

if TYPE_CHECKING:
    from inference.adapters.catalog import AdapterCatalog

_Record = TypeVar("_Record", Comparison, Explanation)
_Emit = Callable[[Progress | AnswerToken], None]
_Stop = Callable[[], bool]


class Backend(Protocol):
    """Answers requests; one request at a time, others wait their turn."""

    def model_info(self) -> ModelInfo:
        """The base model. Where it is not loaded yet, what is known of it: device and dtype say so."""

    def status(self) -> BackendStatus:
        """Which model, and on what it runs now. Never waits."""

    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters on offer now, families in step order; those that cannot be used say why in `notes`."""

    def at_once(self) -> int:
        """How many requests are worked on at the same time."""

    def warm(self) -> None:
        """A request is likely to come soon: begin what it would have to wait for. Never waits, never fails."""

    def compare(self, request: Request) -> Comparison:
        """Answer one request.

        Raises:
            VisualizerError: whatever went wrong, as the member of the tree that fits.
        """

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """Answer one request while saying what happens: `Progress` and `AnswerToken`, then exactly one `Comparison`.

        Closing the generator stops the work. Raises what `compare` raises.
        """

    def compare_many(self, requests: Iterable[Request]) -> Outcomes:
        """Answer many requests, in any order: each request's index, with its answer or with its error in its place.

        A request that fails does not stop the others. Closing the generator stops the work.

        Args:
            requests: may be lazy: it is read on as answers are taken, so that photos and answers do not pile up.

        Raises:
            Exception: what `requests` itself raises; and anything that is no `VisualizerError`, which is a bug.
        """

    def explain(self, request: Request, question: Question[Answer]) -> Answer:
        """Explain the change between a request's variants.

        Args:
            request: for most questions of exactly two variants, first and second.
            question: one of `inference.questions`; the record that answers it is named there.

        Raises:
            VisualizerError: whatever went wrong, as the member of the tree that fits.
        """

    def stream_explanation(
        self, request: Request, question: Question[Explanation]
    ) -> Generator[ExplanationEvent, None, None]:
        """The same while saying what happens: `Progress` and `AnswerToken`, then exactly one `Explanation`.

        Closing the generator stops the work. Raises what `explain` raises.
        """

    def close(self) -> None:
        """Stop the work and free the model."""


class LocalBackend:
    """The engine in this process, on one worker thread: the model sees one request at a time, whatever is thrown.

    Args:
        settings: the model, the adapters on offer, and every bound.
        adapters: name → folder or Hub id of more adapters.
        catalog: the adapters on offer, where not those of `settings` and `adapters`.
    """

    def __init__(
        self,
        settings: Settings,
        adapters: Mapping[str, str] | None = None,
        *,
        catalog: "AdapterCatalog | None" = None,
    ) -> None:
        try:
            with heavy_imports():
                from inference.adapters.catalog import AdapterCatalog
                from inference.model.engine import Engine
        except ModuleNotFoundError as error:
            raise BackendError(
                f"The engine cannot run here: {error.name} is not installed.",
                "Install the package with its requirements, or use --backend modal.",
            ) from error
        settings = replace(settings, model=settings.base_model)
        self._catalog = catalog or AdapterCatalog.from_settings(settings, adapters)
        self._engine = Engine(settings, self._catalog)
        self._model_info = self._engine.model_info
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._stops: set[threading.Event] = set()
        self._busy = False

    def model_info(self) -> ModelInfo:
        return self._model_info

    def status(self) -> BackendStatus:
        return BackendStatus(self._model_info.id, "local", self._model_info.device, self._model_info.dtype)

    def at_once(self) -> int:
        return 1

    def warm(self) -> None:
        """The model is loaded: there is nothing to begin."""

    def adapters(self) -> tuple[AdapterInfo, ...]:
        self._catalog.refresh()
        return self._catalog.describe()

    def compare(self, request: Request) -> Comparison:
        *_, comparison = self.stream(request)
        assert isinstance(comparison, Comparison)
        return comparison

    def stream(self, request: Request) -> Generator[Event, None, None]:
        return self._stream(lambda emit, stop: self._engine.compare(request, emit, stop))

    def compare_many(self, requests: Iterable[Request]) -> Outcomes:
        for index, request in enumerate(requests):
            yield index, self._outcome(request)

    def explain(self, request: Request, question: Question[Answer]) -> Answer:
        *_, explanation = self.stream_explanation(request, question)
        return cast("Answer", explanation)

    def stream_explanation(
        self, request: Request, question: Question[Explanation]
    ) -> Generator[ExplanationEvent, None, None]:
        return self._stream(lambda emit, stop: self._engine.explain(request, question, emit, stop))

    def busy(self) -> bool:
        """Whether a request is being worked on now, also one whose caller has left."""
        return self._busy

    def close(self) -> None:
        for stop in tuple(self._stops):
            stop.set()
        self._worker.shutdown(wait=True, cancel_futures=True)
        self.__dict__.pop("_engine", None)  # the model goes with it

    def _stream(
        self, work: Callable[[_Emit, _Stop], _Record]
    ) -> Generator[Progress | AnswerToken | _Record, None, None]:
        """Do something with the engine on its thread, and yield what happens; the record comes last."""
        events: SimpleQueue[Progress | AnswerToken | _Record | BaseException] = SimpleQueue()
        stop = threading.Event()

        def answer() -> None:
            self._busy = True
            try:
                self._engine.refresh_adapters()
                events.put(work(events.put, stop.is_set))
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread and raised there
                _let_go(error)
                events.put(error)
            finally:
                self._busy = False

        try:
            future = self._worker.submit(copy_context().run, answer)  # its log lines have the request's id
        except RuntimeError as error:
            raise _closed() from error
        future.add_done_callback(lambda done: events.put(_closed()) if done.cancelled() else None)
        self._stops.add(stop)
        try:
            if self._busy and not (future.running() or future.done()):
                yield Progress("queue", "waiting for the request before this one", 0.0)
            while True:
                event = events.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
                if not isinstance(event, (Progress, AnswerToken)):
                    return
        finally:
            stop.set()
            self._stops.discard(stop)
            future.cancel()

    def _outcome(self, request: Request) -> Comparison | VisualizerError:
        try:
            return self.compare(request)
        except VisualizerError as error:
            return error


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that an error and its causes came through: a traceback would hold their tensors."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _closed() -> BackendError:
    return BackendError("The engine was stopped.", "Reload the page once it is back; in Python, open it again.")


def open_backend(
    kind: BackendKind,
    *,
    model: str | None = None,
    adapters: Mapping[str, str] | None = None,
    adapters_dir: str | Path | None = None,
    attention: AttentionMode | None = None,
    device: str | None = None,
    dtype: str | None = None,
    settings: Settings | None = None,
) -> Backend:
    """Open an engine.

    Args:
        kind: "local" (in this process) or "modal".
        model: "demo" (the default), a checkpoint folder, or a Hub id such as `Qwen/Qwen3-VL-2B-Instruct`; on Modal the
            default is what was deployed.
        adapters: name → folder or Hub id.
        adapters_dir: a folder of adapters.
        attention: "eager" (upstream's matrices), "rows" (the same rows beside SDPA) or "auto" (eager while they fit).
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto", "float32", "bfloat16" or "float16".
        settings: every tunable; what is given above wins over it.

    Raises:
        InputError: an unknown kind, adapter names or folders that cannot be.
        ModelError: the model cannot be loaded.
        BackendError: the engine cannot be reached.
    """
    folder = str(adapters_dir) if adapters_dir else None
    given = {"model": model, "attention": attention, "device": device, "dtype": dtype, "adapters_dir": folder}
    named: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    chosen = replace(settings or Settings(), backend=kind, **named)
    if chosen.backend == "local":
        return LocalBackend(chosen, adapters)
    from inference.cloud.backend import ModalBackend

    return ModalBackend(chosen, adapters)
