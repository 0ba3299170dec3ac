"""Watching one request on Modal: what its container says meanwhile, what its silence means, and its result.

Messages come through a queue partition of the request and may be lost: the result does not depend on them.
"""

import queue
import time
from collections.abc import Generator, Mapping
from typing import Any

from inference.cloud.calls import CALL_SECONDS, TRANSFER_SECONDS, Deployment, in_time
from inference.cloud.failures import check_version, died_again, no_gpu, too_long
from inference.errors import DeadlineError, UnreachableError, VisualizerError
from inference.records import AnswerToken, Progress
from inference.settings import Cloud

POLL_SECONDS = 1.0  # longest wait for news: so often a person hears something, and so soon Stop is noticed
SILENT_SECONDS = 20.0  # a container that was not heard of for so long may be lost
SLOWEST_BYTES_PER_SECOND = 250_000  # a result gets so much longer to arrive


class Watch:
    """What is known of one request: since when it runs, in which container, what that said last.

    Args:
        cloud: how long to wait, and for how many containers.
        catalog: what the deployment says of itself, see `inference.remote.catalog`.
    """

    def __init__(self, cloud: Cloud, catalog: Mapping[str, Any]) -> None:
        self._cloud, self._catalog = cloud, catalog
        self._started = self._begun = self._heard = time.monotonic()
        self._attempts = 0
        self._last = self.reaching()
        self._unreachable_since: float | None = None
        self.packed = 0  # bytes of the result, as soon as it is announced

    @property
    def elapsed(self) -> float:
        """Seconds since the request was made."""
        return time.monotonic() - self._started

    def reaching(self) -> Progress:
        """What to tell the person until the request is on Modal."""
        return Progress("modal", "reaching Modal", self.elapsed)

    def take(self, message: Mapping[str, Any]) -> Progress | AnswerToken | None:
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
        """What to tell the person while no message comes.

        Raises:
            NoGpuError: no container said anything in time.
            DeadlineError: a container had its time.
        """
        now = time.monotonic()
        if self._attempts == 0:
            if self.elapsed > self._cloud.modal_start_seconds:
                raise no_gpu(self._cloud, self._catalog["gpu"])
            if self.elapsed > 1.5 * POLL_SECONDS:
                sentence = f"starting a GPU, usually 40–60 s ({self.elapsed:.0f} s so far)"
                self._last = Progress("gpu", sentence, self.elapsed)
            return self._last
        if now - self._begun > self._catalog["timeout"] + self._cloud.modal_start_seconds:
            raise too_long(self._catalog["timeout"])
        if now - self._heard > SILENT_SECONDS:
            sentence = f"the GPU machine is silent for {now - self._heard:.0f} s; if it is lost, Modal starts another"
            return Progress("silent", sentence, self.elapsed)
        return self._last

    @property
    def is_reachable(self) -> bool:
        """Whether Modal answered when it was last asked."""
        return self._unreachable_since is None

    def reached(self) -> None:
        """Modal answered."""
        self._unreachable_since = None

    def unreachable(self, error: VisualizerError) -> None:
        """Bear it for a while that Modal itself cannot be asked.

        Raises:
            VisualizerError: it has lasted too long.
        """
        now = time.monotonic()
        self._unreachable_since = self._unreachable_since or now
        if now - self._unreachable_since > 3 * CALL_SECONDS:
            raise error

    def _begin(self) -> Progress | None:
        self._attempts += 1
        self._begun = time.monotonic()
        if self._attempts > self._cloud.modal_attempts:
            raise died_again(self._cloud)
        if self._attempts == 1:
            return None
        sentence = f"the GPU machine was taken away; another one begins anew (attempt {self._attempts})"
        self._last = Progress("restarted", sentence, self.elapsed)
        return self._last


def follow(
    deployment: Deployment, watch: Watch, call: Any, channel: str
) -> Generator[Progress | AnswerToken, None, bytes]:
    """Yield what happens to a spawned call, and return its result.

    Args:
        deployment: what was called.
        watch: what is known of the request.
        call: the spawned call.
        channel: the queue partition that its container writes to.

    Raises:
        VisualizerError: the work ended otherwise, or nothing was heard for too long.
    """
    while not watch.packed:
        messages = _messages(deployment, watch, channel)
        for message in messages:
            event = watch.take(message)
            if event is not None:
                yield event
        if not messages:
            yield watch.silence()
            result = _result_if_there(deployment, watch, call) if watch.is_reachable else None
            if result is not None:
                return result
    yield Progress("receiving", f"receiving the result ({watch.packed / 1e6:,.1f} MB)", watch.elapsed)
    return _received(deployment, call, TRANSFER_SECONDS + watch.packed / SLOWEST_BYTES_PER_SECOND)


def _messages(deployment: Deployment, watch: Watch, channel: str) -> list[dict[str, Any]]:
    """What was said since; nothing after a while of silence."""
    get_many = deployment.handles.events.get_many
    messages: list[dict[str, Any]] = []
    try:
        messages = in_time(CALL_SECONDS, lambda: get_many(100, timeout=POLL_SECONDS, partition=channel))
    except queue.Empty:
        pass
    except Exception as error:  # noqa: BLE001 - the network's faults are of many classes
        watch.unreachable(deployment.translated(error))
        time.sleep(POLL_SECONDS)
        return []
    watch.reached()
    return messages


def _result_if_there(deployment: Deployment, watch: Watch, call: Any) -> bytes | None:
    """The result, where it came without being announced."""

    def poll() -> bytes | None:
        try:
            return bytes(call.get(timeout=0))
        except TimeoutError:
            return None  # not there yet

    try:
        return in_time(TRANSFER_SECONDS, poll)
    except Exception as error:
        failure = deployment.translated(error)
        if not isinstance(failure, UnreachableError):
            raise failure from error
        watch.unreachable(failure)
        return None


def _received(deployment: Deployment, call: Any, seconds: float) -> bytes:
    try:
        return bytes(in_time(seconds, call.get))
    except TimeoutError as error:
        raise DeadlineError(
            f"The result did not arrive within {seconds:.0f} s.", "Check the network, or ask for less at once."
        ) from error
    except Exception as error:
        raise deployment.translated(error) from error
