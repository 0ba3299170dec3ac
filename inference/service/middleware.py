"""Who reaches our own routes, and how much they may send: Gradio's `auth=` does not cover routes beside its page."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.responses import JSONResponse

from inference.errors import BodyTooLargeError, NotAuthenticatedError, VisualizerError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: What a request may carry beside its image: words, options and the multipart frame, in bytes.
BODY_MARGIN = 256 * 1024


class RouteGuard:
    """ASGI middleware around the application of our routes.

    Where `auth` is set, a caller shows HTTP Basic credentials or the cookie of Gradio's own login. A body that grows
    past the limit is refused while it is read, whatever its `Content-Length` says: `BodyTooLargeError` is then raised
    where the application reads it, which answers as with every error.

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
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get("content-length", "")
        if self._auth and not self._knows(scope, headers):
            error = NotAuthenticatedError("This server asks for a user name and password.")
            challenge = {"www-authenticate": 'Basic realm="LoRA Attention Visualizer"'}
            await JSONResponse(error_json(error), error.status, challenge)(scope, receive, send)
        elif length.isdigit() and int(length[:20]) > self._max_body:
            too_large = self._too_large()
            await JSONResponse(error_json(too_large), too_large.status)(scope, receive, send)
        else:
            await self._app(scope, self._measured(receive), send)

    def _knows(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        kind, _, encoded = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                shown = base64.b64decode(encoded.strip(), validate=True)
            except (binascii.Error, ValueError):
                return False
            return hmac.compare_digest(shown, self._auth)
        return _has_login_cookie(scope, headers.get("cookie", ""))

    def _measured(self, receive: Receive) -> Receive:
        read = 0

        async def measured() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body:
                raise self._too_large()
            return message

        return measured

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"The request is larger than images of {self._max_upload_bytes:,} bytes in all need; that is the limit.",
            "Send a smaller image, for example as JPEG.",
        )


def error_json(error: VisualizerError) -> dict[str, dict[str, str]]:
    """The JSON that every route answers an error with."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


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
