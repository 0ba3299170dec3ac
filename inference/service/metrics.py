"""What an operator counts: analyses and how they ended, what waits, what is kept; as Prometheus metrics.

They are counted where an analysis happens (`analysis.py`), in the process's life, and say nothing of what was asked: a
label is one of our own words.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from inference.errors import CancelledError, VisualizerError
from inference.logs import request_id

Work = Literal["comparison", "question"]
Outcome = Literal["answered", "kept", "cancelled"]
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600)  # upper bounds of the histogram's buckets


class Metrics:
    """Numbers of one `AnalysisService`. Every method may be called from any thread.

    Args:
        running: how many analyses are worked on now.
        waiting: how many wait for that.
        sessions: how many pages are open.
        kept_bytes: what is kept for them, in bytes.
    """

    def __init__(
        self,
        *,
        running: Callable[[], float],
        waiting: Callable[[], float],
        sessions: Callable[[], float],
        kept_bytes: Callable[[], float],
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU seconds and open files, where the system says them
        for name, words, now in (
            ("running", "Analyses that are worked on.", running),
            ("waiting", "Analyses that wait for their turn.", waiting),
            ("sessions", "Pages that are open.", sessions),
            ("kept_bytes", "Photos and results kept for open pages, in bytes.", kept_bytes),
        ):
            Gauge(f"visualizer_{name}", words, registry=self.registry).set_function(now)
        self._ended = Counter(
            "visualizer_analyses",
            "Comparisons and questions about them that were answered, found among the kept ones, or cancelled.",
            ("work", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "visualizer_analysis_seconds",
            "Seconds from the question to its answer, waiting included; kept answers are left out.",
            ("work",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "visualizer_refused", "What was refused, by its error's code.", ("reason",), registry=self.registry
        )
        self._failed = Counter(
            "visualizer_failed", "What failed on our side, by its error's code.", ("reason",), registry=self.registry
        )
        self._told: WeakKeyDictionary[VisualizerError, str] = WeakKeyDictionary()  # the request that was told it last

    @contextmanager
    def counting(self, work: Work) -> Iterator[Callable[[Outcome], None]]:
        """Count one analysis: the caller says when it is answered, or found; leaving before that cancels it."""
        begun, counted = time.monotonic(), False

        def ended(outcome: Outcome) -> None:
            nonlocal counted
            if not counted:
                self._ended.labels(work, outcome).inc()
            if not counted and outcome == "answered":
                self._seconds.labels(work).observe(time.monotonic() - begun)
            counted = True

        try:
            with self.told():
                yield ended
        except (GeneratorExit, CancelledError):
            ended("cancelled")
            raise

    @contextmanager
    def told(self) -> Iterator[None]:
        """Count the error that leaves the context."""
        try:
            yield
        except VisualizerError as error:
            self.count(error)
            raise

    def count(self, error: VisualizerError) -> None:
        """Count an error that somebody is told, once in a request, however often it passes."""
        if isinstance(error, CancelledError) or self._told.get(error) == request_id():
            return
        self._told[error] = request_id()
        (self._refused if error.status < 500 else self._failed).labels(error.code).inc()
