"""How much strangers may send to Gradio's own routes, which ask for no measure; it knows no page.

Gradio writes an upload to disk while it comes, reads the body of an event whole, and keeps some 200 kB for every name
of a session that it has not heard before. Routes that this page never uses are closed.
"""

import asyncio
import json
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse

from inference.errors import BadBodyError, BodyTooLargeError, BusyError, NotFoundError, VisualizerError
from inference.service.middleware import ASGIApp, Message, Receive, Scope, Send, error_json
from inference.service.rate_limit import RateLimit
from inference.service.slots import counted
from inference.service.uploads import Uploads
from inference.settings import Limits

_UPLOAD = "/gradio_api/upload"
#: Of Gradio's routes (read in gradio 6.31, routes.py), those that write files, fetch addresses or run what we have not.
_CLOSED = (
    "/gradio_api/deep_link",
    "/gradio_api/stream/",
    "/gradio_api/component_server",
    "/gradio_api/process_recording",
    "/gradio_api/custom_component/",
    "/gradio_api/vibe",
    "/gradio_api/undo-vibe",
    "/gradio_api/run-history",
    "/gradio_api/runs",
    "/gradio_api/profiling",
    "/gradio_api/dev",
    "/gradio_api/mcp",
    "/monitoring",
    "/svelte",
)
_FETCHING = ("/proxy=", "/file=http", "/file/http")  # under whatever prefix: Gradio would fetch the address behind them
EVENT_BYTES = 512 * 1024  # the body of an event: words, names and choices
UPLOADS_AT_ONCE, ALL_UPLOADS_AT_ONCE = 4, 24  # of one address, and in all
UPLOAD_SECONDS = 120.0  # that an upload may take: who sends it drop by drop holds a place meanwhile
LONGEST_NAME = 64  # characters of a session's name; Gradio's own have 11


class GradioGuard:
    """ASGI middleware around everything: bounds what comes to Gradio's routes, and remembers whose uploads are whose.

    Args:
        app: the application behind it.
        limits: `max_upload_bytes`, `new_sessions_per_hour`, `sessions`.
        uploads: where uploaded files are remembered.
    """

    def __init__(self, app: ASGIApp, limits: Limits, uploads: Uploads) -> None:
        self._app, self._limits, self._uploads = app, limits, uploads
        self._sending: Counter[str] = Counter()
        self._names: OrderedDict[str, None] = OrderedDict()
        self._new = RateLimit(limits.new_sessions_per_hour, seconds=3_600, asked="new pages within an hour")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer for the application."""
        path = str(scope.get("path", ""))
        closed = path.startswith(_CLOSED) or any(each in path for each in _FETCHING)
        if scope["type"] != "http" or not (closed or path.startswith("/gradio_api/")):
            return await self._app(scope, receive, send)
        address = str((scope.get("client") or ("unknown",))[0])
        try:
            if closed:
                raise NotFoundError("This server has no such route.", "GET /docs lists the routes.")
            if scope["method"] != "POST":
                await self._app(scope, receive, send)
            elif path.rstrip("/") == _UPLOAD:
                await self._upload(address, scope, receive, send)
            else:
                body = await _whole(_measured(receive, EVENT_BYTES))
                self._check_session(address, body)
                await self._app(scope, _again(body, receive), send)
        except VisualizerError as error:
            said = error_json(error) | {"detail": str(error)}  # where Gradio's own page and client look for it
            after = {"Retry-After": str(math.ceil(error.after))} if isinstance(error, BusyError) else None
            await JSONResponse(said, error.status, after)(scope, receive, send)

    async def _upload(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        most = 2 * self._limits.max_upload_bytes + EVENT_BYTES  # so far the refusal is a sentence of ours
        answer = b""

        async def remembering(message: Message) -> None:
            nonlocal answer
            answer += message.get("body", b"")
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._uploads.add(address, _paths(answer))  # before the page knows of them
            await send(message)

        with self._place(address):
            self._uploads.sweep()  # what is left of one that failed may be open for some moments after it
            await self._app(scope, _or_left(_measured(receive, most)), remembering)

    @contextmanager
    def _place(self, address: str) -> Iterator[None]:
        """Count an upload while it comes; called in the event loop alone.

        Raises:
            BusyError: too many come already, of this address or in all.
        """
        if self._sending[address] >= UPLOADS_AT_ONCE or self._sending.total() >= ALL_UPLOADS_AT_ONCE:
            raise BusyError(
                f"{self._sending[address]} uploads of this address and {self._sending.total()} in all come already; "
                f"the limits are {UPLOADS_AT_ONCE} and {ALL_UPLOADS_AT_ONCE}.",
                "Try again in a moment.",
                5.0,
            )
        with counted(self._sending, address):
            yield

    def _check_session(self, address: str, body: bytes) -> None:
        """Count a session's name that was not heard before.

        Raises:
            BadBodyError: no JSON object, or a name that is none.
            BusyError: this address opened too many.
        """
        try:
            sent = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise BadBodyError("The body is not JSON.") from error
        name = sent.get("session_hash") if isinstance(sent, dict) else None
        if name is None:
            return  # whoever needs one says so
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isascii():
            raise BadBodyError(f"A session's name is text of at most {LONGEST_NAME} characters.")
        if name not in self._names:
            self._new.admit(address)
            if len(self._names) >= self._limits.sessions:
                self._names.popitem(last=False)
        self._names[name] = None
        self._names.move_to_end(name)


def _paths(answer: bytes) -> list[Path]:
    """Where the files of an upload lie, as Gradio's answer says; none of one that failed."""
    try:
        said = json.loads(answer)
    except ValueError:
        return []
    return [Path(each) for each in said if isinstance(each, str)] if isinstance(said, list) else []


def _measured(receive: Receive, most: int) -> Receive:
    """Read a body of so many bytes at most, in `UPLOAD_SECONDS` at most."""
    read, ended, until = 0, False, time.monotonic() + UPLOAD_SECONDS

    async def measured() -> Message:
        nonlocal read, ended
        if ended:
            return await receive()  # whether whoever asked is still there
        try:
            message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
        except TimeoutError:
            late = f"The body did not come within {UPLOAD_SECONDS:.0f} seconds."
            raise BadBodyError(late, "Send it again.") from None
        read += len(message.get("body", b""))
        ended = not message.get("more_body", False)
        if read > most:
            raise BodyTooLargeError(f"The body has more than {most:,} bytes; that is the limit.", "Send less.")
        return message

    return measured


def _or_left(receive: Receive) -> Receive:
    """Have Gradio's parser delete what it wrote of an upload that breaks off: it does so for its own error alone."""

    async def read() -> Message:
        try:
            message = await receive()
        except VisualizerError as error:
            raise MultiPartException(f"{error} (maximum allowed size or time)") from error
        if message["type"] == "http.disconnect":
            raise MultiPartException("The upload broke off.")
        return message

    return read


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """What was read comes again, then whatever comes after it."""
    bodies = iter([body])

    async def again() -> Message:
        for each in bodies:
            return {"type": "http.request", "body": each, "more_body": False}
        return await receive()

    return again
