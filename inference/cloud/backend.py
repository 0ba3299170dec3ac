"""The caller of `inference/remote.py`: a backend whose engine runs on Modal; it loads no torch.

Every call has a deadline of its own (`calls.py`), and every way in which the cloud can fail becomes one member of the
error tree (`failures.py`). A request is spawned, not called: leaving a call of Modal's ends only the waiting,
cancelling a spawned one ends the work. What happens meanwhile is read from a queue partition of the request
(`watch.py`); the result is the call's own output. A folder of images goes through Modal's map (`many.py`).
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, wait
from itertools import islice
from typing import Any, cast
from uuid import uuid4

from inference.cloud.calls import CALL_SECONDS, TRANSFER_SECONDS, Deployment, Handles, begin
from inference.cloud.many import answer_all
from inference.cloud.watch import POLL_SECONDS, Watch, follow
from inference.descriptions import AdapterInfo, BackendStatus, ModelInfo
from inference.errors import InputError, ModelLoadError, VersionMismatchError, VisualizerError
from inference.explanations import Explanation, ExplanationEvent
from inference.questions import Answer, Question
from inference.records import AnswerToken, Comparison, Event, Outcomes, Progress
from inference.request import Request
from inference.serialization import pack_question, pack_request, unpack_comparison, unpack_explanation
from inference.settings import Settings

CATALOG_SECONDS = 60.0  # deadline of the list of adapters: its CPU container may have to start
REFRESH_SECONDS = 20.0  # … where there is an older one already
CATALOG_AGE_SECONDS = 10.0  # a list of adapters that old is asked for again
WINDOW_PER_CONTAINER = 16  # of many requests, how many are on their way at once

_log = logging.getLogger(__name__)


class ModalBackend:
    """The engine on Modal.

    Args:
        settings: names and waits, and the base model where it is another than the deployment's.
        adapters: none: with Modal adapters live on the deployment's volume.
        handles: what to call; None looks the deployment up.

    Attributes:
        deployment: what is called.

    Raises:
        InputError: adapters of this machine.
        BackendError: Modal cannot be reached, or nothing fitting is deployed.
    """

    def __init__(
        self, settings: Settings, adapters: Mapping[str, str] | None = None, *, handles: Handles | None = None
    ) -> None:
        if adapters or settings.adapters_dir:
            raise InputError(
                "On Modal, adapters are those of the deployment, not of this machine.",
                f"Upload a folder: modal volume put {settings.cloud.modal_adapters_volume} FOLDER NAME.",
            )
        self._cloud = settings.cloud
        self.deployment = Deployment(settings.cloud, settings.model, handles)
        self._loaded: ModelInfo | None = None
        self._warming: Future[Any] | None = None
        self._warmed = -float(self._cloud.modal_scaledown_window)
        self._listing = threading.Lock()
        self.deployment.refresh_catalog(CATALOG_SECONDS)
        self._listed = time.monotonic()

    def model_info(self) -> ModelInfo:
        if self._loaded is not None:
            return self._loaded
        known = self.deployment.catalog["model"]
        if isinstance(known, str):
            raise ModelLoadError(known, "Deploy with another VISUALIZER_MODEL.")
        return ModelInfo(**known)

    def status(self) -> BackendStatus:
        if self._loaded is not None:
            return BackendStatus(self._loaded.id, "modal", self._loaded.device, self._loaded.dtype)
        catalog = self.deployment.catalog
        return BackendStatus(str(catalog["name"]), "modal", gpus=tuple(catalog["gpu"]))

    def at_once(self) -> int:
        return int(self.deployment.catalog["max_containers"])

    def adapters(self) -> tuple[AdapterInfo, ...]:
        old = time.monotonic() - self._listed > CATALOG_AGE_SECONDS
        if old and self._listing.acquire(blocking=False):  # whoever comes meanwhile gets the last list
            try:
                self.deployment.refresh_catalog(REFRESH_SECONDS)
            except VersionMismatchError:
                raise
            except VisualizerError as error:
                _log.warning("the adapters could not be listed anew: %s", error)
            finally:
                self._listed = time.monotonic()
                self._listing.release()
        return tuple(AdapterInfo(**_with_tuples(adapter)) for adapter in self.deployment.catalog["adapters"])

    def warm(self) -> None:
        now = time.monotonic()
        if self._cloud.modal_prewarm and now - self._warmed > self._cloud.modal_scaledown_window / 2:
            self._warmed = now
            self._warming = begin(self._start_a_gpu)

    def compare(self, request: Request) -> Comparison:
        *_, comparison = self.stream(request)
        assert isinstance(comparison, Comparison)
        return comparison

    def stream(self, request: Request) -> Generator[Event, None, None]:
        def spawn(handles: Handles, packed: bytes, channel: str) -> Any:
            return handles.engine.compare.spawn(packed, channel)

        comparison = unpack_comparison(
            (yield from self._spawned(request, spawn)), *(photo.pixels for photo in request.images)
        )
        self._loaded = comparison.model
        yield comparison

    def explain(self, request: Request, question: Question[Answer]) -> Answer:
        *_, explanation = self.stream_explanation(request, question)
        return cast("Answer", explanation)

    def stream_explanation(
        self, request: Request, question: Question[Explanation]
    ) -> Generator[ExplanationEvent, None, None]:
        def spawn(handles: Handles, packed: bytes, channel: str) -> Any:
            return handles.engine.explain.spawn(packed, pack_question(question), channel)

        explanation = unpack_explanation((yield from self._spawned(request, spawn)))
        self._loaded = explanation.model
        yield explanation

    def compare_many(self, requests: Iterable[Request]) -> Outcomes:
        waiting, first = iter(requests), 0
        window = WINDOW_PER_CONTAINER * self.at_once()
        while taken := [pack_request(request) for request in islice(waiting, window)]:
            yield from answer_all(self.deployment, first, taken)
            first += len(taken)

    def close(self) -> None:
        """Nothing is held here: containers stop by themselves when nobody asks for them."""

    def _spawned(
        self, request: Request, spawn: Callable[[Handles, bytes, str], Any]
    ) -> Generator[Progress | AnswerToken, None, bytes]:
        """Spawn a call with the packed request and a channel, yield what it says, and return its result."""
        deployment, watch = self.deployment, Watch(self._cloud, self.deployment.catalog)
        yield watch.reaching()
        packed, channel = pack_request(request), uuid4().hex
        yield from self._stop_warming(watch)
        call = deployment.call(
            lambda handles: spawn(handles, packed, channel), TRANSFER_SECONDS, late=deployment.cancel
        )
        result = None
        try:
            result = yield from follow(deployment, watch, call, channel)
        finally:
            if result is None:
                deployment.cancel(call)
        return result

    def _start_a_gpu(self) -> Any:
        """Spawn a call that needs a GPU, and return it; None where that failed."""

        def warm(handles: Handles) -> Any:
            return handles.engine.warm.spawn()

        try:
            return self.deployment.call(warm, CALL_SECONDS, self.deployment.cancel)
        except VisualizerError as error:  # the request that follows will say what is wrong
            _log.warning("no GPU could be started beforehand: %s", type(error).__name__)
            return None

    def _stop_warming(self, watch: Watch) -> Generator[Progress, None, None]:
        """Make room: a container takes one call at a time, and a waiting request would start a second one.

        A call that is still being spawned is waited for, since the request would else meet it on its way.
        """
        warming = self._warming
        if warming is None:
            return
        while not wait([warming], POLL_SECONDS).done:
            yield watch.reaching()
        self._warming = None
        if warming.exception() is None and (call := warming.result()) is not None:
            self.deployment.cancel(call)


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
