"""How often one address may ask; it knows neither model nor page."""

import threading
import time
from collections import deque
from collections.abc import Callable

from inference.errors import BusyError


class RateLimit:
    """At most `per_minute` admissions per address within any 60 seconds.

    Args:
        per_minute: admissions per address.
        clock: seconds, never going back; tests pass their own.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._admitted: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def admit(self, address: str) -> None:
        """Count one analysis.

        Raises:
            BusyError: `address` has used up its minute.
        """
        with self._lock:
            now = self._clock()
            self._forget(now - 60.0)
            times = self._admitted.setdefault(address, deque())
            if len(times) >= self._per_minute:
                wait = times[0] + 60.0 - now
                raise BusyError(
                    f"This address asked for {len(times)} analyses within a minute; the limit is {self._per_minute}.",
                    f"Try again in {wait:.0f} s.",
                    wait,
                )
            times.append(now)

    @property
    def addresses(self) -> int:
        """How many addresses are remembered."""
        return len(self._admitted)

    def _forget(self, before: float) -> None:
        for address in list(self._admitted):
            times = self._admitted[address]
            while times and times[0] <= before:
                times.popleft()
            if not times:
                del self._admitted[address]
