"""What a container says while it works, on its way to the caller; it knows no request and no engine."""

import logging
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

ALIVE_SECONDS = 5.0  # so often a container says that it is there
EVENTS_KEPT_SECONDS = 3_600

_log = logging.getLogger(__name__)


class EventSender:
    """Puts what happens into a queue partition, from a thread of its own: whoever sends an event never waits.

    What is sent while a message is under way travels together with the next. A message that cannot be delivered is
    dropped: the result does not depend on it.

    Args:
        events: Modal's queue.
        channel: the partition of it that is told.
    """

    def __init__(self, events: Any, channel: str) -> None:
        self._events = events
        self._channel = channel
        self._waiting: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._deliver, name="events", daemon=True)

    def __enter__(self) -> "EventSender":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting.put(None)
        self._thread.join(timeout=2)

    def send(self, kind: str, **values: Any) -> None:
        """Send a plain dictionary of `values` with its `kind`; returns at once."""
        self._waiting.put({"kind": kind, **values})

    def _deliver(self) -> None:
        while True:
            try:
                messages = [self._waiting.get(timeout=ALIVE_SECONDS)]
            except Empty:
                messages = [{"kind": "alive"}]
            while not self._waiting.empty():
                messages.append(self._waiting.get())
            words = [message for message in messages if message is not None]
            try:
                if words:
                    self._events.put_many(words, timeout=5, partition=self._channel, partition_ttl=EVENTS_KEPT_SECONDS)
            except Exception:  # noqa: BLE001 - the network's faults, of many classes; the caller polls the result too
                _log.warning("a message could not be delivered", exc_info=True)
            if len(words) < len(messages):
                return
