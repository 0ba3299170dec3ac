"""What is said where this process cannot listen; it knows no server."""

import logging
import socket

_log = logging.getLogger(__name__)


def cannot_listen(which: str, host: str, port: int, error: OSError) -> int:
    """Log why this process cannot listen at an address; the exit code of one that cannot.

    Args:
        which: the prefix of the flags that name the address: "" or "metrics-".
        host, port: the address.
        error: what was raised.
    """
    reason = _why_not(host, port) or str(error)
    _log.error("cannot listen on %s:%d: %s; choose another --%shost or --%sport", host, port, reason, which, which)
    return 2


def _why_not(host: str, port: int) -> str:
    """What the system says of listening there; Gradio tells of every failure that no port is free."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed a moment ago is free
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""
