"""Many requests at once through Modal's map, whose failures do not say whose they are."""

import contextlib
import queue
import threading
from typing import Any
from uuid import uuid4

from inference.cloud.calls import CALL_SECONDS, Deployment
from inference.cloud.failures import look_into_the_log
from inference.cloud.watch import POLL_SECONDS
from inference.errors import CrashedError, DeadlineError, VisualizerError
from inference.records import Outcomes
from inference.serialization import photos_of, unpack_comparison

STOP_KEPT_SECONDS = 3_600  # so long whatever works on the requests can see that it shall stop


def answer_all(deployment: Deployment, first: int, packed: list[bytes]) -> Outcomes:
    """Answer a handful of requests in any order, each with its index; closing it ends the work on Modal.

    Args:
        deployment: what answers.
        first: index of the first request.
        packed: see `inference.serialization.pack_request`.
    """
    channel, missing = uuid4().hex, set(range(first, first + len(packed)))
    failure: VisualizerError = CrashedError("Modal gave no answer.", look_into_the_log(deployment.cloud))
    inputs = [(first + offset, request, channel) for offset, request in enumerate(packed)]
    answers: queue.Queue[Any] = queue.Queue(maxsize=2 * int(deployment.catalog["max_containers"]))  # the rest waits
    left = threading.Event()
    threading.Thread(target=_map, args=(deployment, inputs, answers, left), name="map", daemon=True).start()
    try:
        while missing:
            try:
                answer = answers.get(timeout=deployment.cloud.modal_start_seconds + deployment.catalog["timeout"])
            except queue.Empty:
                failure = DeadlineError("Modal answered none of the waiting requests in time.", "Try again.")
                break
            if answer is None:
                break
            if isinstance(answer, BaseException):
                failure = deployment.translated(answer)
                continue
            index, outcome = answer
            missing.discard(index)
            if isinstance(outcome, bytes):
                outcome = unpack_comparison(outcome, *photos_of(packed[index - first]))
            yield index, outcome
    finally:
        left.set()
        if missing:  # whatever works on them looks into this partition, and ends
            with contextlib.suppress(VisualizerError):
                _tell_to_stop(deployment, channel)
    for index in sorted(missing):
        yield index, failure


def _map(
    deployment: Deployment, inputs: list[tuple[int, bytes, str]], answers: "queue.Queue[Any]", left: threading.Event
) -> None:
    """Hand over what Modal's map gives, an exception where it ends with one, and None at the end."""

    def hand_over(answer: Any) -> None:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                answers.put(answer, timeout=POLL_SECONDS)
                return

    options = {"order_outputs": False, "return_exceptions": True}
    try:
        for answer in deployment.handles.engine.compare_item.starmap(inputs, **options):
            hand_over(answer)
            if left.is_set():
                return
    except Exception as error:  # noqa: BLE001 - carried to the caller's thread and translated there
        hand_over(error)
    hand_over(None)


def _tell_to_stop(deployment: Deployment, channel: str) -> None:
    options = {"partition": channel, "partition_ttl": STOP_KEPT_SECONDS}
    deployment.call(lambda handles: handles.events.put("stop", **options), CALL_SECONDS)
