"""How often one address may ask; it knows neither model nor page."""

import threading
import time
from collections import deque
from collections.abc import Callable

from inference.errors import BusyError


class RateLimit:
    """At most so many admissions per address within any stretch of time.

    Args:
        most: admissions per address.
        clock: seconds, never going back; tests pass their own.
        seconds: the stretch.
        asked: what is admitted, for the words of a refusal.
    """

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        seconds: float = 60.0,
        asked: str = "analyses within a minute",
    ) -> None:
        self._most, self._seconds, self._asked = most, seconds, asked
        self._clock = clock
        self._admitted: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def admit(self, address: str) -> None:
        """Count one more.

        Raises:
            BusyError: `address` has used up its share.
        """
        with self._lock:
            now = self._clock()
            self._forget(now - self._seconds)
            times = self._admitted.setdefault(address, deque())
            if len(times) >= self._most:
                wait = times[0] + self._seconds - now
                raise BusyError(
                    f"This address asked for {len(times)} {self._asked}; the limit is {self._most}.",
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
