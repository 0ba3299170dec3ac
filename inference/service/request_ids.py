"""An id for every HTTP request: in its log lines and its answer's `X-Request-ID`; a caller's own counts nothing."""

from inference.logs import begin_request
from inference.service.middleware import ASGIApp, Message, Receive, Scope, Send


class RequestIds:
    """ASGI middleware around everything, Gradio's own routes too.

    Args:
        app: the application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, under an id of its own."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        name = begin_request().encode()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", name)]
            await send(message)

        return await self._app(scope, receive, named)
