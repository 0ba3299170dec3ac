"""Where an operator's Prometheus reads the numbers: a listener of its own, never the port that visitors use."""

import socket
import threading
from collections.abc import Callable, Collection, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from inference.service.origins import is_own_host

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(registry: CollectorRegistry, host: str, port: int, names: Collection[str]) -> None:
    """Answer `GET /metrics` in a thread of its own, for as long as the process lives.

    Args:
        registry: what is answered.
        host: address to listen on.
        port: port to listen on.
        names: see `OriginGuard`; no page of a stranger may read the numbers through a browser of this machine.

    Raises:
        OSError: it cannot listen there.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    server = type("_Server", (_Server,), {"address_family": family})
    listening: WSGIServer = make_server(host, port, _only_metrics(registry, names), server, _Quiet)
    threading.Thread(target=listening.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without asking a name server who we are, as `WSGIServer` does."""
        socket.socket.bind(self.socket, self.server_address)
        self.server_name, self.server_port = map(str, self.socket.getsockname()[:2])  # type: ignore[assignment]
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds that a silent caller holds a thread

    def address_string(self) -> str:
        """Who asks, as a number: no name server is asked."""
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: it is asked several times a minute."""


def _only_metrics(registry: CollectorRegistry, names: Collection[str]) -> Application:
    metrics: Application = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if not is_own_host(environ.get("HTTP_HOST", ""), names):
            return _refused(start, "403 Forbidden")
        if environ.get("PATH_INFO") != "/metrics" or environ.get("REQUEST_METHOD") != "GET":
            return _refused(start, "404 Not Found")
        return metrics(environ, start)

    return application


def _refused(start: Callable[..., Any], status: str) -> list[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Here is GET /metrics alone.\n"]
