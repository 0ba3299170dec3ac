"""Who gets in, how much they may send, and whose turn it is; it knows neither model nor page.

`RateLimit` counts analyses per address, `Line` is the queue in front of the engine, `Gate` is the middleware that
guards our own routes: Gradio's `auth=` does not cover routes beside its page.
"""

import base64
import binascii
import hmac
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any

from inference.errors import BodyTooLargeError, BusyError, VisualizerError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: What a request may carry beside its image: words, options and the multipart frame, in bytes.
BODY_MARGIN = 256 * 1024


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
                )
            times.append(now)

    def _forget(self, before: float) -> None:
        for address in list(self._admitted):
            times = self._admitted[address]
            while times and times[0] <= before:
                times.popleft()
            if not times:
                del self._admitted[address]


class Ticket:
    """One place in a `Line`."""

    def __init__(self, line: "Line") -> None:
        self._line = line

    @property
    def ahead(self) -> int:
        """How many must finish before this ticket's turn; 0 when it has come."""
        return self._line.ahead(self)


class Line:
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
    def waiting(self) -> int:
        """How many wait now."""
        with self._moved:
            return max(0, len(self._tickets) - self._at_once)

    def ahead(self, ticket: Ticket) -> int:
        """How many must finish before it is this ticket's turn."""
        with self._moved:
            return max(0, self._tickets.index(ticket) - self._at_once + 1)

    @contextmanager
    def place(self) -> Iterator[Ticket]:
        """Stand in line for as long as the context lasts, before and during the work.

        Raises:
            BusyError: too many wait already.
        """
        ticket = Ticket(self)
        with self._moved:
            if len(self._tickets) - self._at_once >= self._longest:
                raise BusyError(
                    f"{self._longest} analyses are waiting already; that is the limit.", "Try again in a minute."
                )
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


class Gate:
    """ASGI middleware in front of `/api/*`, `/docs` and `/openapi.json`: who they are, and how much they send.

    Where `auth` is set, a caller shows HTTP Basic credentials or the cookie of Gradio's own login. A body that grows
    past the limit is refused while it is read, whatever its `Content-Length` says.

    Args:
        app: the application behind it.
        auth: `USER:PASSWORD`, or "" for an open door.
        max_upload_bytes: largest image; a body may have a third more (base64) and `BODY_MARGIN`.
    """

    def __init__(self, app: ASGIApp, auth: str, max_upload_bytes: int) -> None:
        self._app = app
        self._auth = auth.encode()
        self._max_upload_bytes = max_upload_bytes
        self._max_body = max_upload_bytes * 4 // 3 + BODY_MARGIN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401 or 413 for the application."""
        if scope["type"] != "http" or not _is_ours(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._auth and not self._knows(scope, headers):
            await _refuse(send, 401, "not_authenticated", "This server asks for a user name and password.", basic=True)
            return
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._max_body:
            await self._refuse_body(send)
            return
        await self._pass_measured(scope, receive, send)

    def _knows(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        kind, _, encoded = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                shown = base64.b64decode(encoded.strip(), validate=True)
            except (binascii.Error, ValueError):
                return False
            return hmac.compare_digest(shown, self._auth)
        return _has_login_cookie(scope, headers.get("cookie", ""))

    async def _pass_measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the body on piece by piece; past the limit the application is told that the caller left."""
        read, over, answered = 0, False, False

        async def measured() -> Message:
            nonlocal read, over
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body:
                over = True
                raise self._too_large()
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            if not over:
                answered = True
                await send(message)

        try:
            await self._app(scope, measured, watched)
        except BodyTooLargeError:
            if answered:
                raise
        if over and not answered:
            await self._refuse_body(send)

    async def _refuse_body(self, send: Send) -> None:
        error = self._too_large()
        await _refuse(send, error.status, error.code, error.message, hint=error.hint)

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"The request is larger than an image of {self._max_upload_bytes:,} bytes needs; that is the limit.",
            "Send a smaller image, for example as JPEG.",
        )


def error_json(error: VisualizerError) -> dict[str, dict[str, str]]:
    """The JSON that every route answers an error with."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def _is_ours(path: str) -> bool:
    first = path.strip("/").split("/", 1)[0]
    return first in {"api", "docs", "openapi.json"}


def _has_login_cookie(scope: Scope, header: str) -> bool:
    """Whether a cookie of Gradio's login is shown (`App.tokens` and `App.cookie_id`, gradio 6.31 routes.py)."""
    app = scope.get("app")
    tokens, cookie_id = getattr(app, "tokens", {}), getattr(app, "cookie_id", "")
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return False
    names = (f"access-token-{cookie_id}", f"access-token-unsecure-{cookie_id}")
    return any(name in cookies and cookies[name].value in tokens for name in names)


async def _refuse(send: Send, status: int, code: str, message: str, *, hint: str = "", basic: bool = False) -> None:
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if basic:
        headers.append((b"www-authenticate", b'Basic realm="LoRA Attention Visualizer"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
