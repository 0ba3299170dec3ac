"""A process that has imported what is slow to import, and becomes a container as often as it is asked: it forks.

Run as a script: `python -I fork_server.py SOCKET PACKAGE…`. Importing torch and transformers takes seconds, and a test
that kills containers needs many. A fork starts with those packages in memory and nothing else: of the app, of Modal's
client and of this repository it has seen nothing, and its environment, folder, session and output are its own. Only
what the packages read from the environment when they are imported is this server's, which has `extra_env`.
"""

import json
import os
import selectors
import socket
import sys
from importlib import import_module
from pathlib import Path

MESSAGE_BYTES = 2**18


def serve(server: socket.socket) -> tuple[dict[str, str], Path] | None:
    """Fork as often as asked, and tell of each end; in a fork return what it is to be, in the server None at last."""
    watched = selectors.DefaultSelector()
    watched.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is not server:  # a child has ended
                pid, status = os.waitpid(key.data, 0)
                watched.unregister(key.fileobj)
                os.close(key.fd)
                _tell(server, ended=pid, code=os.waitstatus_to_exitcode(status))
                continue
            message, outputs, _, _ = socket.recv_fds(server, MESSAGE_BYTES, 2)
            if not message:
                return None
            asked = json.loads(message)
            pid = os.fork()
            if pid == 0:
                _begin_anew(server, watched, asked["folder"], outputs)
                return asked["environment"], Path(asked["start"])
            for descriptor in outputs:
                os.close(descriptor)
            watched.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
            _tell(server, began=pid)


def _tell(server: socket.socket, **words: int) -> None:
    server.send(json.dumps(words).encode())


def _begin_anew(server: socket.socket, watched: selectors.BaseSelector, folder: str, outputs: list[int]) -> None:
    """Let go of what is the server's: a session, a folder, an input and two outputs of its own."""
    for key in list(watched.get_map().values()):
        if key.fileobj is not server:
            os.close(key.fd)
    watched.close()
    server.close()
    os.setsid()
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, standard in ((nothing, 0), (outputs[0], 1), (outputs[1], 2)):
        os.dup2(own, standard)
        os.close(own)


def become_container(environment: dict[str, str], start: Path) -> None:
    """What `python -m modal._container_entrypoint` does in that environment."""
    import runpy

    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = ["", *environment["PYTHONPATH"].split(os.pathsep)]
    sys.argv = ["-m"]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)
    runpy.run_path(str(start / "sitecustomize.py"))
    runpy.run_module("modal._container_entrypoint", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for package in sys.argv[2:]:
        import_module(package)
    if asked := serve(socket.socket(fileno=int(sys.argv[1]))):
        become_container(*asked)
