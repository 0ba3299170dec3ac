"""Calls of what is deployed on Modal, each with a deadline of its own; what the answers mean is not known here.

A call runs in a thread of its own, since nothing else bounds it: the deadline ends the waiting, and what comes later is
dropped, or cancelled where it is work.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import modal
import modal.exception

from inference.cloud.failures import check_version, translated
from inference.errors import VisualizerError
from inference.settings import Cloud

CALL_SECONDS = 10.0  # deadline of a call that only asks or tells
TRANSFER_SECONDS = 120.0  # deadline of sending a photo or fetching a result
LEAVING_SECONDS = 2.0  # how long whoever leaves waits for a call to be cancelled; the cancelling goes on

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Handles:
    """What is deployed: an instance of the class, the CPU function `catalog`, and the queue of events."""

    engine: Any
    catalog: Any
    events: Any


class Deployment:
    """One deployed app, for one base model.

    Args:
        cloud: its name, and how long to wait.
        model: the base model where it is another than the deployment's, else "".
        handles: what to call; None looks the app up.

    Attributes:
        catalog: what the app last said of itself, see `inference.remote.catalog`.

    Raises:
        BackendError: Modal cannot be reached, or nothing fitting is deployed.
    """

    def __init__(self, cloud: Cloud, model: str, handles: Handles | None = None) -> None:
        self.cloud, self._model = cloud, model
        self.handles = handles or look_up(cloud, model)
        self.catalog: dict[str, Any] = {}

    def call(self, call: Callable[[Handles], _T], seconds: float, late: Callable[[_T], None] | None = None) -> _T:
        """Call something deployed; where it is not there any more, look it up anew and call it once again.

        Args:
            call: what to call.
            seconds: longest wait.
            late: takes a result that came after the deadline.

        Raises:
            VisualizerError: see `inference.cloud.failures`.
        """
        try:
            return in_time(seconds, lambda: call(self.handles), late)
        except modal.exception.NotFoundError:
            self.handles = look_up(self.cloud, self._model)
        except Exception as error:
            raise self.translated(error) from error
        try:
            return in_time(seconds, lambda: call(self.handles), late)
        except Exception as error:
            raise self.translated(error) from error

    def refresh_catalog(self, seconds: float) -> None:
        """Ask the app again what it is and offers.

        Raises:
            VersionMismatchError: it is another version of this package.
            VisualizerError: see `call`.
        """
        arguments = (self._model,) if self._model else ()
        catalog: dict[str, Any] = self.call(lambda handles: handles.catalog.remote(*arguments), seconds)
        check_version(catalog["version"])
        self.catalog = catalog

    def cancel(self, call: Any) -> None:
        """End the work on Modal, not only the waiting for it; whoever leaves is held up for a moment at most."""

        def cancel() -> None:
            try:
                call.cancel()
            except Exception as error:  # noqa: BLE001 - the person has left: the log is who is told
                _log.warning("a call could not be cancelled on Modal: %s", type(error).__name__)

        with contextlib.suppress(TimeoutError):
            in_time(LEAVING_SECONDS, cancel)

    def translated(self, error: BaseException) -> VisualizerError:
        """What a person reads of a failure of this app."""
        return translated(error, self.cloud, self.catalog.get("timeout"))


def look_up(cloud: Cloud, model: str) -> Handles:
    """Find what is deployed, within the probe's time.

    Raises:
        BackendError: see `inference.cloud.failures`.
    """

    def look() -> Handles:
        client = modal.Client.from_env()
        engine = modal.Cls.from_name(cloud.modal_app, "RemoteEngine", client=client).hydrate()
        catalog = modal.Function.from_name(cloud.modal_app, "catalog", client=client).hydrate()
        events = modal.Queue.from_name(f"{cloud.modal_app}-events", create_if_missing=True, client=client).hydrate()
        return Handles(engine(model=model) if model else engine(), catalog, events)

    try:
        return in_time(cloud.modal_probe_seconds, look)
    except Exception as error:
        raise translated(error, cloud) from error


def begin(call: Callable[[], _T]) -> "Future[_T]":
    """Call in a thread of its own, which does not keep the process alive; its outcome or its error is the future's."""
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            outcome.set_exception(error)

    threading.Thread(target=run, name="modal-call", daemon=True).start()
    return outcome


def in_time(seconds: float, call: Callable[[], _T], late: Callable[[_T], None] | None = None) -> _T:
    """Call in a thread of its own and wait for it at most so long.

    Args:
        seconds: longest wait.
        call: what to call; it runs on after the deadline, and its outcome is dropped.
        late: takes a result that came after the deadline.

    Raises:
        TimeoutError: it took longer.
    """
    outcome = begin(call)
    try:
        return outcome.result(seconds)
    except TimeoutError:
        if late is not None:
            outcome.add_done_callback(lambda done: late(done.result()) if done.exception() is None else None)
        raise
