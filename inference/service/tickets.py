"""Decide who may look at a result by its address: whoever holds its ticket, while the visit lasts; it knows no page.

A ticket is drawn at random and is no digest of anything, so that nobody finds a result by guessing or by having the
same photo. It belongs to one result of one session and ends with the session; a shipped result's is everyone's.
"""

import secrets
import threading
from typing import Final

_BYTES = 24  # 192 bits

#: In the place of a session for shipped results: no name that a visitor could give, and it never ends.
EVERYONE: Final = None


class Tickets:
    """Tickets of results. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str | None, str]] = {}
        self._tickets: dict[tuple[str | None, str], str] = {}
        self._lock = threading.Lock()

    def issue(self, session: str | None, key: str) -> str:
        """The ticket of a session's (or everyone's) result, the same as long as it lives: 32 URL-safe characters."""
        with self._lock:
            ticket = self._tickets.setdefault((session, key), secrets.token_urlsafe(_BYTES))
            self._owners[ticket] = session, key
            return ticket

    def owner(self, ticket: str) -> tuple[str | None, str] | None:
        """The session and the result's key that a ticket stands for; None where there is no such ticket."""
        with self._lock:
            return self._owners.get(ticket)

    def end(self, session: str) -> None:
        """Forget the tickets of a session."""
        with self._lock:
            for pair in [pair for pair in self._tickets if pair[0] == session]:
                del self._owners[self._tickets.pop(pair)]
