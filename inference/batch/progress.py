"""How far a long run is, on stderr: a bar on a terminal, else a plain line now and then; it knows nothing of images."""

import shutil
import threading
import time
from collections.abc import Callable
from typing import TextIO

PLAIN_EVERY = 5.0  # seconds between plain lines, at least
BAR_EVERY = 0.1  # seconds between drawings of the bar, at least
_BAR = 20


class ProgressBar:
    """Done of total, failures, items per minute and the time left. `step` may be called from any thread.

    Args:
        total: items of the run.
        before: how many of them are there already; they do not count for the speed.
        stream: usually `sys.stderr`.
        clock: seconds, never going back; tests pass their own.
    """

    def __init__(self, total: int, before: int, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._before, self._stream, self._clock = total, before, stream, clock
        self._answered = self._failed = 0
        self._started = self._said = clock()
        self._terminal = stream.isatty()
        self._lock = threading.Lock()

    def step(self, *, failed: bool = False) -> None:
        """Count one item, and say so where it is time."""
        with self._lock:
            self._answered += not failed
            self._failed += failed
            now = self._clock()
            if now - self._said >= (BAR_EVERY if self._terminal else PLAIN_EVERY):
                self._said = now
                self._write()

    def close(self) -> None:
        """Say how it ended; nothing where nothing was to do."""
        with self._lock:
            if self._answered + self._failed:
                self._write()
                if self._terminal:
                    self._stream.write("\n")

    def line(self) -> str:
        """The present state in words: `12/50 · 1 failed · 96 items/min · 24 s left`."""
        worked = self._answered + self._failed
        seconds = max(self._clock() - self._started, 1e-9)
        left = self._total - self._before - worked
        parts = [f"{self._before + self._answered}/{self._total}"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if worked:
            parts.append(f"{worked * 60 / seconds:.3g} items/min")
        parts.append(f"{duration(left * seconds / worked)} left" if worked and left else duration(seconds))
        return " · ".join(parts)

    def _write(self) -> None:
        if not self._terminal:
            self._stream.write(self.line() + "\n")
        else:
            full = _BAR * (self._before + self._answered) // max(self._total, 1)
            text = f"[{'#' * full}{'-' * (_BAR - full)}] {self.line()}"
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{text[:width]}\x1b[K")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds in words, to two units: `8 s`, `2 min 10 s`, `1 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
