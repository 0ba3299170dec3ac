"""How far a long run is, on stderr: a bar on a terminal, else a plain line now and then; it knows nothing of images."""

import threading
from typing import Any, TextIO

from tqdm import tqdm

PLAIN_EVERY = 5.0  # seconds between plain lines, at least
BAR_EVERY = 0.1  # seconds between drawings of the bar, at least
_WORDS = "{n_fmt}/{total_fmt}{postfix}, {per_minute} items/min, {remaining} left, {elapsed} so far"


class ProgressBar:
    """Done of total, failures, items per minute and the time left. `step` may be called from any thread.

    Args:
        total: items of the run.
        before: how many of them are there already; they do not count for the speed.
        stream: usually `sys.stderr`.
    """

    def __init__(self, total: int, before: int, stream: TextIO) -> None:
        terminal = stream.isatty()
        self._failed = 0
        self._lock = threading.Lock()
        self._bar = _PerMinute(
            total=total,
            initial=before,
            file=stream if terminal else _Lines(stream),
            bar_format=f"[{{bar:20}}] {_WORDS}" if terminal else _WORDS,
            ascii="-#",
            mininterval=BAR_EVERY if terminal else PLAIN_EVERY,
            miniters=1,
            smoothing=0,  # the mean over the run: items differ
            dynamic_ncols=terminal,
            delay=0 if terminal else 1e-9,  # no line before the first item
            disable=total == before,
        )

    def step(self, *, failed: bool = False) -> None:
        """Count one item, and say so where it is time."""
        with self._lock:
            self._failed += failed
            if self._failed:
                self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
            self._bar.update()

    def close(self) -> None:
        """Say how it ended; nothing where nothing was to do."""
        self._bar.close()


class _PerMinute(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar whose speed is per minute: an item takes seconds."""

    monitor_interval = 0  # no thread that redraws: whoever waits sees the last state

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the format may name."""
        state: dict[str, Any] = super().format_dict
        worked = state["n"] - state["initial"]
        speed = 60 * worked / max(state["elapsed"], 1e-9)
        state["per_minute"] = f"{speed:,.0f}" if speed >= 100 else f"{speed:.2g}" if worked else "?"
        return state


class _Lines:
    """Makes lines for a log of what would redraw a bar in its place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self._last:
            self._last = line
            self._stream.write(line + "\n")

    def flush(self) -> None:
        self._stream.flush()
