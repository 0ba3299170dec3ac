"""Whose turn it is in front of the engine, and how many may wait; it knows neither model nor page."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inference.errors import BusyError


class Ticket:
    """One place in a `RequestQueue`."""

    def __init__(self, queue: "RequestQueue") -> None:
        self._queue = queue

    @property
    def ahead(self) -> int:
        """How many must finish before this ticket's turn; 0 when it has come."""
        return self._queue.ahead(self)


class RequestQueue:
    """First come, first served in front of the engine, with a bound on how many may wait.

    Args:
        longest: how many may wait.
        at_once: how many are served at the same time.
    """

    def __init__(self, longest: int, at_once: int = 1) -> None:
        self._longest = longest
        self._at_once = at_once
        self._tickets: list[Ticket] = []
        self._moved = threading.Condition()

    def serve(self, at_once: int) -> None:
        """Serve so many at the same time from now on."""
        with self._moved:
            self._at_once = at_once
            self._moved.notify_all()

    @property
    def running(self) -> int:
        """How many are served now."""
        with self._moved:
            return min(len(self._tickets), self._at_once)

    @property
    def waiting(self) -> int:
        """How many wait now."""
        with self._moved:
            return max(0, len(self._tickets) - self._at_once)

    @property
    def capacity(self) -> int:
        """How many may be served or wait at the same time."""
        with self._moved:
            return self._at_once + self._longest

    def full(self) -> BusyError:
        """What whoever comes too late is told."""
        return BusyError(f"{self._longest} analyses are waiting already; that is the limit.", "Try again in a minute.")

    def ahead(self, ticket: Ticket) -> int:
        """How many must finish before it is this ticket's turn."""
        with self._moved:
            return max(0, self._tickets.index(ticket) - self._at_once + 1)

    def check_room(self) -> None:
        """Refuse early, before anything is done for a request that would be refused at the end of the line.

        Raises:
            BusyError: too many wait already.
        """
        with self._moved:
            if len(self._tickets) - self._at_once >= self._longest:
                raise self.full()

    @contextmanager
    def place(self) -> Iterator[Ticket]:
        """Stand in line for as long as the context lasts, before and during the work.

        Raises:
            BusyError: too many wait already.
        """
        ticket = Ticket(self)
        with self._moved:
            self.check_room()
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()

    def wait(self, ticket: Ticket, seconds: float) -> bool:
        """Block until it is this ticket's turn, at most `seconds`; return whether it is."""
        with self._moved:
            return self._moved.wait_for(lambda: self._tickets.index(ticket) < self._at_once, seconds)
