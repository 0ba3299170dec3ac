"""How a container's process is started: as a fresh interpreter, or as a fork of one that has imported what is slow."""

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .fork_server import MESSAGE_BYTES

CONTAINER_START = Path(__file__).with_name("container_start")
LINE_BYTES = 2**16


class Process(Protocol):
    """What the stand-in needs of a process."""

    pid: int
    returncode: int | None
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    def send_signal(self, signal: int) -> None: ...

    async def wait(self) -> int: ...


async def start_interpreter(python: str, folder: Path, environment: dict[str, str]) -> Any:
    """A fresh interpreter that runs Modal's entry point."""
    return await asyncio.create_subprocess_exec(
        python,
        *("-m", "modal._container_entrypoint"),
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


class Fork:
    """A container's process that is the fork server's child."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self.ended = asyncio.Event()

    def send_signal(self, signal: int) -> None:
        os.kill(self.pid, signal)

    async def wait(self) -> int:
        await self.ended.wait()
        assert self.returncode is not None
        return self.returncode


class ForkServer:
    """The stand-in's side of `fork_server.py`.

    Args:
        packages: imported before the first fork.
        extra_env: added to the environment in which they are imported.
    """

    def __init__(self, packages: Sequence[str], extra_env: dict[str, str]) -> None:
        self._packages, self._extra_env = packages, extra_env
        self._began: deque[asyncio.Future[int]] = deque()  # in the order in which they were asked for
        self._forks: dict[int, Fork] = {}

    async def start(self, python: str, log: Any) -> None:
        """Start it; it is asked at once and answers when everything is imported."""
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        script = Path(__file__).with_name("fork_server.py")
        self._process = await asyncio.create_subprocess_exec(
            python,
            *("-I", str(script), str(its.fileno()), *self._packages),
            cwd="/",
            env=os.environ | self._extra_env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[its.fileno()],
        )
        its.close()
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    async def fork(self, folder: Path, environment: dict[str, str]) -> Fork:
        """A child that runs Modal's entry point in that folder and environment."""
        began = asyncio.get_running_loop().create_future()
        (stdout, out), (stderr, err) = os.pipe(), os.pipe()
        asked = {"folder": str(folder), "environment": environment, "start": str(CONTAINER_START)}
        self._began.append(began)
        socket.send_fds(self._socket, [json.dumps(asked).encode()], [out, err])
        os.close(out)
        os.close(err)
        readers = [await _reader(descriptor) for descriptor in (stdout, stderr)]
        pid = await began
        fork = self._forks[pid] = Fork(pid, *readers)
        return fork

    async def close(self) -> None:
        """End it; what it forked has been ended before."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        await self._process.wait()

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                message = self._socket.recv(MESSAGE_BYTES)
                if not message:  # the server has ended, which nobody asked for
                    asyncio.get_running_loop().remove_reader(self._socket)
                    while self._began:
                        self._began.popleft().set_exception(OSError("the fork server has ended"))
                    return
                said = json.loads(message)
                if "began" in said:
                    self._began.popleft().set_result(said["began"])
                else:
                    asyncio.get_running_loop().call_soon(self._end, said["ended"], said["code"])

    def _end(self, pid: int, code: int) -> None:
        fork = self._forks.pop(pid)
        fork.returncode = code
        fork.ended.set()


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(LINE_BYTES)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader
