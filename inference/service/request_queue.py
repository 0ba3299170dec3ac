"""Whose turn it is in front of the engine, and how many may wait; it knows neither model nor page.

The order is start-time fair queueing (Goyal, Vin and Cheng, 1996) with every request of equal cost: the second one of
an address waits behind the first one of everybody else, and the requests of one address stay in their order.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inference.errors import BusyError


class Ticket:
    """One place in a `RequestQueue`.

    Args:
        queue: that it is a place in.
        address: who waits.
        round: its turn comes after those of all earlier rounds.

    `began` is when its turn came, by `time.monotonic`; 0 before.
    """

    def __init__(self, queue: "RequestQueue", address: str, round: int) -> None:
        self._queue, self.address, self.round, self.began = queue, address, round, 0.0

    @property
    def ahead(self) -> int:
        """How many must finish before this ticket's turn, as things stand; 0 when it has come."""
        return self._queue.ahead(self)


class RequestQueue:
    """Fair turns in front of the engine, with a bound on how many may wait, and on how many of one address.

    Args:
        longest: how many may wait.
        at_once: how many are served at the same time.
    """

    def __init__(self, longest: int, at_once: int = 1) -> None:
        self._longest = longest
        self._at_once = at_once
        self._serving: list[Ticket] = []
        self._waiting: list[Ticket] = []  # in the order of their turns
        self._round = 0
        self._moved = threading.Condition(threading.RLock())

    def serve(self, at_once: int) -> None:
        """Serve so many at the same time from now on."""
        with self._moved:
            self._at_once = at_once
            self._advance()

    @property
    def running(self) -> int:
        """How many are served now."""
        return len(self._serving)

    @property
    def busy_seconds(self) -> float:
        """For how long the one that is served longest has been; 0 where none is."""
        with self._moved:
            now = time.monotonic()
            return now - min((ticket.began for ticket in self._serving), default=now)

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiting)

    @property
    def capacity(self) -> int:
        """How many may be served or wait at the same time."""
        return self._at_once + self._longest

    @property
    def share(self) -> int:
        """How many of these one address may have."""
        return max(2, self.capacity // 2)

    def full(self) -> BusyError:
        """What whoever comes too late is told."""
        return BusyError(f"{self._longest} analyses are waiting already; that is the limit.", "Try again in a minute.")

    def used_up(self) -> BusyError:
        """What an address that has its share already is told."""
        return BusyError(
            f"{self.share} requests of this address are worked on already; that is the limit.", "Wait for one."
        )

    def ahead(self, ticket: Ticket) -> int:
        """How many must finish before it is this ticket's turn."""
        with self._moved:
            return 0 if ticket in self._serving else self._waiting.index(ticket) + 1

    def check_room(self, address: str) -> None:
        """Refuse early, before anything is done for a request that would be refused at the end of the line.

        Args:
            address: who asks.

        Raises:
            BusyError: too many wait already, or too many of this address.
        """
        with self._moved:
            if len(self._waiting) >= self._longest and len(self._serving) >= self._at_once:
                raise self.full()
            if len(self._of(address)) >= self.share:
                raise self.used_up()

    @contextmanager
    def place(self, address: str) -> Iterator[Ticket]:
        """Stand in line for as long as the context lasts, before and during the work.

        Args:
            address: who waits.

        Raises:
            BusyError: see `check_room`.
        """
        with self._moved:
            self.check_room(address)
            after = max((ticket.round for ticket in self._of(address)), default=-1)
            ticket = Ticket(self, address, max(self._round, after + 1))
            self._waiting.append(ticket)
            self._waiting.sort(key=lambda each: each.round)  # stable: first come, first served within a round
            self._advance()
        try:
            yield ticket
        finally:
            with self._moved:
                (self._serving if ticket in self._serving else self._waiting).remove(ticket)
                self._advance()

    def wait(self, ticket: Ticket, seconds: float) -> bool:
        """Block until it is this ticket's turn, at most `seconds`; return whether it is."""
        with self._moved:
            return self._moved.wait_for(lambda: ticket in self._serving, seconds)

    def _of(self, address: str) -> list[Ticket]:
        return [ticket for ticket in (*self._serving, *self._waiting) if ticket.address == address]

    def _advance(self) -> None:
        """Serve those whose turn it is; the lock is held."""
        while self._waiting and len(self._serving) < self._at_once:
            ticket = self._waiting.pop(0)
            self._round = ticket.round
            self._serving.append(ticket)
            ticket.began = time.monotonic()
        self._moved.notify_all()
