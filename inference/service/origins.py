"""Which pages may talk to this server from a browser: its own, under names that are its own.

A browser lets any page that a person has open send requests here, with the person's cookies, and to 127.0.0.1 from the
inside. Two headers that no page can forge tell whose they are: `Origin` (the page that asks) and `Host` (the name that
it asks for; a stranger's page whose name was pointed at this machine, "DNS rebinding", asks for its own name). Programs
send no `Origin`, and are not held up.
"""

import ipaddress
import logging
import os
import socket
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from inference.errors import ForeignOriginError
from inference.service.middleware import ASGIApp, Receive, Scope, Send, error_json
from inference.settings import Settings

_log = logging.getLogger(__name__)

#: Names that nobody can register: of this machine, and of the network that it is in.
_OWN_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_SHARED = ".gradio.live"


class OriginGuard:
    """ASGI middleware around everything, Gradio's own routes too: foreign pages and foreign names get a 403.

    Args:
        app: the application behind it.
        names: host names, without a port, under which this server is known besides those that nobody can register.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403 for the application."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        foreign = self._foreign(headers)
        if foreign is None:
            return await self._app(scope, receive, send)
        if foreign not in self._told and len(self._told) < 100:  # each once: whoever floods must not fill the log
            self._told.add(foreign)
            _log.warning("refused a request of %.80r, which is no name of this server; see --allowed-host", foreign)
        error = ForeignOriginError(
            f"This server answers its own pages only; this request is of {foreign[:80]!r}.",
            "Open it under its own address, or let the operator allow that name with --allowed-host.",
        )
        return await JSONResponse(error_json(error), error.status)(scope, receive, send)

    def _foreign(self, headers: dict[str, str]) -> str | None:
        """The name that is not ours, of the server that is asked for or of the page that asks; None where both are."""
        host = headers.get("host", "")
        if not is_own_host(host, self._names):
            return host
        origin = headers.get("origin")
        if origin is None:
            return None
        scheme, _, asked = origin.lower().partition("://")
        if scheme not in ("http", "https") or not _name(asked):
            return origin
        # a proxy may say the name in a header of its own, or leave the port out
        known = {host.lower(), headers.get("x-forwarded-host", host).lower()}
        if asked in known or (":" not in host and _name(asked) == _name(host)) or _name(asked) in self._names:
            return None
        return None if _SHARED in self._names and _name(asked).endswith(_SHARED) else origin


def is_own_host(host: str, names: Collection[str]) -> bool:
    """Whether a `Host` header asks for this server: by its address, a name that nobody can register, or one of its own.

    Args:
        host: the header, with or without a port.
        names: see `OriginGuard`.
    """
    name = _name(host)
    if "." not in name or name.endswith(_OWN_ENDINGS) or name in names:
        return True
    if _SHARED in names and name.endswith(_SHARED):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # rebinding needs a name


def names_of(settings: Settings, environ: Any = os.environ) -> frozenset[str]:
    """The names under which a process is known: its machine's, its Space's, and what its operator says."""
    found = {socket.gethostname(), environ.get("SPACE_HOST", ""), *settings.allowed_host}
    if settings.host not in ("127.0.0.1", "::1", "localhost"):
        found.add(socket.getfqdn())  # which asks a name server: nobody else is asked of a page that only we see
    if settings.share:
        found.add(_SHARED)
    return frozenset(name.lower() for name in found if name)


def _name(netloc: str) -> str:
    """A host without its port and brackets, in lower case; of what is no host something that nobody is called."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return "no.host"
