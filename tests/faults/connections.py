"""What a process asks of the network: every connection to another machine, every name that it looks up, as a line.

`python -m tests.faults.connections FILE MODULE_OR_SCRIPT [arguments]` runs a program so.
"""

import ipaddress
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

_ASKED = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
_NAMED = ("socket.gethostbyaddr", "socket.getnameinfo")


def record_connections(path: Path) -> None:
    """Write down, from now on and for good, whatever this process asks of another machine."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _ASKED or event in _NAMED:
            host = _host(event, arguments)
            if host is not None and not _is_here(host):
                os.write(descriptor, f"{event} {host!r}\n".encode())

    sys.addaudithook(hear)


def _host(event: str, arguments: tuple[Any, ...]) -> object:
    """Who is asked, or about whom; None where the address is none of the network's."""
    address = arguments[0] if event.startswith(("socket.getadd", "socket.gethost", "socket.getname")) else arguments[1]
    if isinstance(arguments[0], socket.socket) and arguments[0].family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return address[0] if isinstance(address, tuple) else address


def _is_here(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback or ipaddress.ip_address(str(host)).is_unspecified
    except ValueError:
        return False


if __name__ == "__main__":
    record_connections(Path(sys.argv[1]))
    target, sys.argv = sys.argv[2], sys.argv[2:]
    if target.endswith(".py"):
        sys.path.insert(0, str(Path(target).parent.absolute()))
        runpy.run_path(target, run_name="__main__")
    else:
        runpy.run_module(target, run_name="__main__", alter_sys=True)
