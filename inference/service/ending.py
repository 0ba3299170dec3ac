"""How the process ends: at SIGINT and SIGTERM, within ten seconds, whatever is being worked on."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

#: Seconds after which whatever does not end by itself is left behind.
PATIENCE = 8.0


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


def end(*parts: Callable[[], None]) -> NoReturn:
    """End the parts side by side, and the process with code 0, after `PATIENCE` seconds at the latest.

    The interpreter is not taken down: that would wait for every thread, whether anybody still asks for its work or not.
    """
    last = threading.Timer(PATIENCE, os._exit, (0,))
    last.daemon = True
    last.start()
    threads = [threading.Thread(target=part, daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logging.shutdown()
    os._exit(0)
