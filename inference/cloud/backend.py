"""The caller of `inference/remote.py`: a backend whose engine runs on Modal; it loads no torch.

Every call has a deadline of its own, and every way in which the cloud can fail becomes one member of the error tree. A
request is spawned, not called: leaving a call of Modal's ends only the waiting, cancelling a spawned one ends the work.
What happens meanwhile is read from a queue partition of the request; the result is the call's own output.
"""

import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from uuid import uuid4

import modal
import modal.exception
from modal.config import config

from inference.backend import Outcomes
from inference.errors import (
    BackendError,
    CancelledError,
    CrashedError,
    CredentialsError,
    DeadlineError,
    InputError,
    ModelLoadError,
    NoGpuError,
    NotDeployedError,
    ResultSizeError,
    UnreachableError,
    VersionMismatchError,
    VisualizerError,
)
from inference.records import AdapterInfo, AnswerToken, BackendStatus, Comparison, Event, ModelInfo, Progress
from inference.request import Request
from inference.serialization import pack_request, photo_of, unpack_comparison
from inference.settings import Cloud, Settings
from inference.version import VERSION

POLL_SECONDS = 1.0  # longest wait for news: so often a person hears something, and so soon Stop is noticed
CALL_SECONDS = 10.0  # deadline of a call that only asks or tells
CATALOG_SECONDS = 60.0  # deadline of the list of adapters: its CPU container may have to start
LEAVING_SECONDS = 2.0  # how long whoever leaves waits for a call to be cancelled; the cancelling goes on
TRANSFER_SECONDS = 120.0  # deadline of sending a photo or fetching a result
SILENT_SECONDS = 20.0  # a container that was not heard of for so long may be lost
REFRESH_SECONDS = 20.0  # … where there is an older one already
SLOWEST_BYTES_PER_SECOND = 250_000  # a result gets so much longer to arrive
CATALOG_AGE_SECONDS = 10.0  # a list of adapters that old is asked for again
WINDOW_PER_CONTAINER = 16  # of many requests, how many are on their way at once

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Handles:
    """What is deployed: an instance of the class, the CPU function `catalog`, and the queue of events."""

    engine: Any
    catalog: Any
    events: Any


class ModalBackend:
    """The engine on Modal.

    Args:
        settings: names and waits, and the base model where it is another than the deployment's.
        adapters: none: with Modal adapters live on the deployment's volume.
        handles: what to call; None looks the deployment up.

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
        self._cloud, self._model = settings.cloud, settings.model
        self._handles = handles or _look_up(settings.cloud, self._model)
        self._loaded: ModelInfo | None = None
        self._warming: Any = None
        self._warmed = -float(self._cloud.modal_scaledown_window)
        self._listing = threading.Lock()
        self._catalog = self._ask_catalog(CATALOG_SECONDS)
        self._listed = time.monotonic()

    def model_info(self) -> ModelInfo:
        if self._loaded is not None:
            return self._loaded
        known = self._catalog["model"]
        if isinstance(known, str):
            raise ModelLoadError(known, "Deploy with another VISUALIZER_MODEL.")
        return ModelInfo(**known)

    def status(self) -> BackendStatus:
        if self._loaded is not None:
            return BackendStatus(self._loaded.id, "modal", self._loaded.device, self._loaded.dtype)
        return BackendStatus(str(self._catalog["name"]), "modal", gpus=tuple(self._catalog["gpu"]))

    def at_once(self) -> int:
        return int(self._catalog["max_containers"])

    def adapters(self) -> tuple[AdapterInfo, ...]:
        old = time.monotonic() - self._listed > CATALOG_AGE_SECONDS
        if old and self._listing.acquire(blocking=False):  # whoever comes meanwhile gets the last list
            try:
                self._catalog = self._ask_catalog(REFRESH_SECONDS)
            except VersionMismatchError:
                raise
            except VisualizerError as error:
                _log.warning("the adapters could not be listed anew: %s", error)
            finally:
                self._listed = time.monotonic()
                self._listing.release()
        return tuple(AdapterInfo(**_with_tuples(each)) for each in self._catalog["adapters"])

    def warm(self) -> None:
        now = time.monotonic()
        if self._cloud.modal_prewarm and now - self._warmed > self._cloud.modal_scaledown_window / 2:
            self._warmed = now
            threading.Thread(target=self._start_a_gpu, name="warm", daemon=True).start()

    def compare(self, request: Request) -> Comparison:
        *_, comparison = self.stream(request)
        assert isinstance(comparison, Comparison)
        return comparison

    def stream(self, request: Request) -> Generator[Event, None, None]:
        watch = _Watch(self._cloud, self._catalog)
        yield Progress("modal", "reaching Modal", None, 0.0)
        packed, channel = pack_request(request), uuid4().hex
        self._stop_warming()
        call = self._call(lambda its: its.engine.compare.spawn(packed, channel), TRANSFER_SECONDS, late=self._cancel)
        result = None
        try:
            while result is None and not watch.packed:
                heard = self._hear(channel, watch)
                for message in heard or ():
                    event = watch.hear(message)
                    if event is not None:
                        yield event
                if not heard:
                    yield watch.silence()
                    if watch.unreachable_since is None:
                        result = self._result_if_there(call, watch)
            if result is None:
                yield Progress("receiving", f"receiving the result ({watch.packed / 1e6:,.1f} MB)", None, watch.elapsed)
                result = self._received(call, TRANSFER_SECONDS + watch.packed / SLOWEST_BYTES_PER_SECOND)
        finally:
            if result is None:
                self._cancel(call)
        comparison = unpack_comparison(result, request.image.pixels)
        self._loaded = comparison.model
        yield comparison

    def compare_many(self, requests: Iterable[Request]) -> Outcomes:
        waiting, first = iter(requests), 0
        window = WINDOW_PER_CONTAINER * self._cloud.modal_max_containers
        while taken := [pack_request(request) for request in islice(waiting, window)]:
            yield from self._window(first, taken)
            first += len(taken)

    def close(self) -> None:
        """Nothing is held here: containers stop by themselves when nobody asks for them."""

    def _window(self, first: int, packed: list[bytes]) -> Outcomes:
        """Answer some of many requests through Modal's map, whose failures do not say whose they are."""
        channel, missing = uuid4().hex, set(range(first, first + len(packed)))
        failure: VisualizerError = CrashedError("Modal gave no answer.", _look_into_the_log(self._cloud))
        inputs = [(first + offset, each, channel) for offset, each in enumerate(packed)]
        answers: queue.Queue[Any] = queue.Queue(maxsize=2 * self.at_once())  # what is not taken waits on Modal
        left = threading.Event()
        threading.Thread(target=self._map, args=(inputs, answers, left), name="map", daemon=True).start()
        try:
            while missing:
                try:
                    answer = answers.get(timeout=self._cloud.modal_start_seconds + self._catalog["timeout"])
                except queue.Empty:
                    failure = DeadlineError("Modal answered none of the waiting requests in time.", "Try again.")
                    break
                if answer is None:
                    break
                if isinstance(answer, BaseException):
                    failure = self._translated(answer)
                    continue
                index, outcome = answer
                missing.discard(index)
                if isinstance(outcome, bytes):
                    outcome = unpack_comparison(outcome, photo_of(packed[index - first]))
                yield index, outcome
        finally:
            left.set()
            if missing:  # whatever works on them looks into this partition, and ends
                with contextlib.suppress(VisualizerError):
                    self._asked(lambda: self._handles.events.put("stop", partition=channel, partition_ttl=3_600))
        for index in sorted(missing):
            yield index, failure

    def _map(self, inputs: list[tuple[int, bytes, str]], answers: "queue.Queue[Any]", left: threading.Event) -> None:
        def hand_over(answer: Any) -> None:
            while not left.is_set():
                with contextlib.suppress(queue.Full):
                    answers.put(answer, timeout=POLL_SECONDS)
                    return

        options = {"order_outputs": False, "return_exceptions": True}
        try:
            for answer in self._handles.engine.compare_item.starmap(inputs, **options):
                hand_over(answer)
                if left.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread and translated there
            hand_over(error)
        hand_over(None)

    # one call

    def _call(self, call: Callable[[Handles], _T], seconds: float, late: Callable[[_T], None] | None = None) -> _T:
        """Call something deployed; where it is not there any more, look it up anew and call it once again."""
        try:
            return _in_time(seconds, lambda: call(self._handles), late)
        except modal.exception.NotFoundError:
            self._handles = _look_up(self._cloud, self._model)
            return self._asked(lambda: call(self._handles), seconds, late)
        except Exception as error:
            raise self._translated(error) from error

    def _asked(
        self, call: Callable[[], _T], seconds: float = CALL_SECONDS, late: Callable[[_T], None] | None = None
    ) -> _T:
        try:
            return _in_time(seconds, call, late)
        except Exception as error:
            raise self._translated(error) from error

    def _hear(self, channel: str, watch: "_Watch") -> list[dict[str, Any]] | None:
        """What was said since; None after a while of silence."""
        get_many = self._handles.events.get_many
        heard: list[dict[str, Any]] | None = None
        try:
            heard = _in_time(CALL_SECONDS, lambda: get_many(100, timeout=POLL_SECONDS, partition=channel))
        except queue.Empty:
            pass
        except Exception as error:  # noqa: BLE001 - the network's faults are of many classes
            watch.deaf(self._translated(error))
            time.sleep(POLL_SECONDS)
            return None
        watch.unreachable_since = None
        return heard

    def _result_if_there(self, call: Any, watch: "_Watch") -> bytes | None:
        """The result, where it came without being announced.

        Raises:
            VisualizerError: the work ended otherwise.
        """

        def poll() -> bytes | None:
            try:
                return bytes(call.get(timeout=0))
            except TimeoutError:
                return None  # not there yet

        try:
            return _in_time(TRANSFER_SECONDS, poll)
        except Exception as error:
            said = self._translated(error)
            if not isinstance(said, UnreachableError):
                raise said from error
            watch.deaf(said)
            return None

    def _received(self, call: Any, seconds: float) -> bytes:
        try:
            return bytes(_in_time(seconds, call.get))
        except TimeoutError as error:
            raise DeadlineError(
                f"The result did not arrive within {seconds:.0f} s.", "Check the network, or ask for less at once."
            ) from error
        except Exception as error:
            raise self._translated(error) from error

    def _cancel(self, call: Any) -> None:
        """End the work on Modal, not only the waiting for it; whoever leaves is held up for a moment at most."""

        def cancel() -> None:
            try:
                call.cancel()
            except Exception as error:  # noqa: BLE001 - the person has left: the log is who is told
                _log.warning("a call could not be cancelled on Modal: %s", type(error).__name__)

        with contextlib.suppress(TimeoutError):
            _in_time(LEAVING_SECONDS, cancel)

    def _start_a_gpu(self) -> None:
        try:
            self._warming = _in_time(CALL_SECONDS, lambda: self._handles.engine.warm.spawn(), self._cancel)
        except Exception as error:  # noqa: BLE001 - the request that follows will say what is wrong
            _log.warning("no GPU could be started beforehand: %s", type(error).__name__)

    def _stop_warming(self) -> None:
        """Make room: a container takes one call at a time, and a waiting request would start a second one."""
        warming, self._warming = self._warming, None
        if warming is not None:
            self._cancel(warming)

    def _ask_catalog(self, seconds: float) -> dict[str, Any]:
        arguments = (self._model,) if self._model else ()
        catalog: dict[str, Any] = self._call(lambda its: its.catalog.remote(*arguments), seconds)
        check_version(catalog["version"])
        return catalog

    def _translated(self, error: BaseException) -> VisualizerError:
        if isinstance(error, modal.exception.FunctionTimeoutError):
            return _too_long(self._catalog["timeout"])
        return translated(error, self._cloud)


class _Watch:
    """What is known of one request on Modal: since when, which container, what it said last."""

    def __init__(self, cloud: Cloud, catalog: Mapping[str, Any]) -> None:
        self._cloud, self._catalog = cloud, catalog
        self._started = self._begun = self._heard = time.monotonic()
        self._attempts = 0
        self._last = Progress("modal", "reaching Modal", None, 0.0)
        self.packed = 0  # bytes of the result, as soon as it is announced
        self.unreachable_since: float | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def hear(self, message: Mapping[str, Any]) -> Event | None:
        """Take a message of the container.

        Raises:
            VersionMismatchError: it runs another version of this package.
            CrashedError: it is the container's successor's successor.
        """
        self._heard = time.monotonic()
        kind, values = message["kind"], {name: value for name, value in message.items() if name != "kind"}
        if kind == "hello":
            check_version(values["version"])
            return self._begin()
        self._attempts = self._attempts or 1  # its hello was lost on the way
        if kind == "token":
            return AnswerToken(**values)
        if kind == "progress":
            self._last = Progress(**values | {"elapsed": self.elapsed})
            return self._last
        if kind == "packed":
            self.packed = int(values["bytes"])
        return None

    def silence(self) -> Progress:
        """What to say while nothing is heard.

        Raises:
            NoGpuError: no container said anything in time.
            DeadlineError: a container had its time.
        """
        now = time.monotonic()
        if self._attempts == 0:
            if self.elapsed > self._cloud.modal_start_seconds:
                raise _no_gpu(self._cloud, self._catalog["gpu"])
            if self.elapsed > 1.5 * POLL_SECONDS:
                sentence = f"starting a GPU, usually 40–60 s ({self.elapsed:.0f} s so far)"
                self._last = Progress("gpu", sentence, None, self.elapsed)
            return self._last
        if now - self._begun > self._catalog["timeout"] + self._cloud.modal_start_seconds:
            raise _too_long(self._catalog["timeout"])
        if now - self._heard > SILENT_SECONDS:
            sentence = f"the GPU machine is silent for {now - self._heard:.0f} s; if it is lost, Modal starts another"
            return Progress("silent", sentence, None, self.elapsed)
        return self._last

    def deaf(self, error: VisualizerError) -> None:
        """Bear it for a while that Modal itself cannot be asked.

        Raises:
            VisualizerError: it has lasted too long.
        """
        now = time.monotonic()
        self.unreachable_since = self.unreachable_since or now
        if now - self.unreachable_since > 3 * CALL_SECONDS:
            raise error

    def _begin(self) -> Progress | None:
        self._attempts += 1
        self._begun = time.monotonic()
        if self._attempts > self._cloud.modal_attempts:
            raise CrashedError(
                f"{self._cloud.modal_attempts} GPU containers died over this analysis, one after another.",
                "Try a smaller image; " + _look_into_the_log(self._cloud),
            )
        if self._attempts == 1:
            return None
        sentence = f"the GPU machine was taken away; another one begins anew (attempt {self._attempts})"
        self._last = Progress("restarted", sentence, None, self.elapsed)
        return self._last


def check_version(deployed: object) -> None:
    """Compare what is deployed with this process.

    Raises:
        VersionMismatchError: they differ; it says which to redeploy.
    """
    if deployed == VERSION:
        return
    older = _order(str(deployed)) < _order(VERSION)
    raise VersionMismatchError(
        f"On Modal runs version {str(deployed)[:40]} of this tool, here {VERSION}.",
        "Deploy again: modal deploy -m inference.remote." if older else "Update this app, and start it again.",
    )


def translated(error: BaseException, cloud: Cloud) -> VisualizerError:
    """What a person reads of a failure of Modal; nothing of Modal's own words, which may hold a token, is in it."""
    if isinstance(error, VisualizerError):
        return error
    known = modal.exception
    if isinstance(error, known.AuthError):
        if not (config.get("token_id") and config.get("token_secret")):
            return CredentialsError(
                "There is no Modal token here.",
                "Run modal setup, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET; or use --backend local.",
            )
        return CredentialsError("Modal does not take this token.", "Run modal setup again, or check both variables.")
    if isinstance(error, known.PermissionDeniedError):
        return CredentialsError("This Modal token may not use the app.", "Use a token of the workspace that deployed.")
    if isinstance(error, known.NotFoundError):
        return NotDeployedError(
            f"The app {cloud.modal_app!r} is not deployed on Modal.", "Deploy it: modal deploy -m inference.remote."
        )
    if isinstance(error, known.RequestSizeError | known.ResourceExhaustedError):
        return ResultSizeError(
            "Modal refused the request or its result: it is too large, or a limit of the account is reached.",
            "Reduce the image, the number of adapters or the answer's length.",
        )
    if isinstance(error, known.FunctionTimeoutError):
        return _too_long(None)
    if isinstance(error, known.VersionError):
        return BackendError("Modal no longer takes this version of its client.", "Update the package modal.")
    if isinstance(error, known.InternalFailure):
        return CrashedError("The GPU container died over this analysis.", "Try again; " + _look_into_the_log(cloud))
    if isinstance(error, known.RemoteError):
        if "cancel" in str(error).lower():
            return CancelledError("The analysis was cancelled on Modal.", "Try again.")
        return CrashedError(
            "Modal ended the analysis before it was finished: the app was stopped, or its machine ran out of memory.",
            "Try again; " + _look_into_the_log(cloud),
        )
    if isinstance(error, known.InternalError | known.ConflictError | known.ClientClosed | known.DataLossError):
        return UnreachableError("Modal has a fault of its own.", "Look at status.modal.com, and try again.")
    if isinstance(error, known.ConnectionError | known.ServiceError | TimeoutError | known.TimeoutError | OSError):
        return UnreachableError("Modal does not answer.", "Check the network and status.modal.com, and try again.")
    _log.error("unexpected failure on Modal", exc_info=error)
    why = _look_into_the_log(cloud)
    return CrashedError(f"The engine failed on Modal ({type(error).__name__}).", why[:1].upper() + why[1:])


def _look_up(cloud: Cloud, model: str) -> Handles:
    """Find what is deployed, within the probe's time.

    Raises:
        BackendError: see `translated`.
    """

    def look() -> Handles:
        client = modal.Client.from_env()
        engine = modal.Cls.from_name(cloud.modal_app, "RemoteEngine", client=client).hydrate()
        catalog = modal.Function.from_name(cloud.modal_app, "catalog", client=client).hydrate()
        events = modal.Queue.from_name(f"{cloud.modal_app}-events", create_if_missing=True, client=client).hydrate()
        return Handles(engine(model=model) if model else engine(), catalog, events)

    try:
        return _in_time(cloud.modal_probe_seconds, look)
    except Exception as error:
        raise translated(error, cloud) from error


def _in_time(seconds: float, call: Callable[[], _T], late: Callable[[_T], None] | None = None) -> _T:
    """Call in a thread of its own and wait for it at most so long.

    Args:
        seconds: longest wait.
        call: what to call; it runs on after the deadline, and its outcome is dropped.
        late: takes a result that came after the deadline.

    Raises:
        TimeoutError: it took longer.
    """
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            outcome.set_exception(error)

    threading.Thread(target=run, name="modal-call", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        if late is not None:
            outcome.add_done_callback(lambda done: late(done.result()) if done.exception() is None else None)
        raise


def _no_gpu(cloud: Cloud, gpus: Sequence[str]) -> NoGpuError:
    return NoGpuError(
        f"No GPU ({', '.join(gpus)}) was ready within {cloud.modal_start_seconds:.0f} s.",
        "Try again later, or let the operator name more GPU types; if it stays so, " + _look_into_the_log(cloud),
    )


def _too_long(seconds: int | None) -> DeadlineError:
    limit = "Modal's time limit" if seconds is None else f"{seconds} s"
    return DeadlineError(
        f"The analysis took longer than {limit} and was ended.",
        "Reduce the image, the number of adapters or the answer's length.",
    )


def _look_into_the_log(cloud: Cloud) -> str:
    return f"the operator's modal app logs {cloud.modal_app} says why."


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
