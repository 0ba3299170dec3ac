"""How the process ends: at SIGINT and SIGTERM, within ten seconds, whatever is being worked on."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds after which whatever does not end by itself is left behind.
PATIENCE = 8.0

_log = logging.getLogger(__name__)


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Set the event when this process is asked to end; asked again, it ends at once. In the main thread alone."""
    asked = threading.Event()

    def hear(number: int, frame: object) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end(*parts: Callable[[], None]) -> None:
    """End the parts side by side; from now on the process lives for `PATIENCE` seconds at most, and its code is 0."""
    last = threading.Timer(PATIENCE, os._exit, (0,))
    last.daemon = True
    last.start()
    threads = [threading.Thread(target=part, daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
