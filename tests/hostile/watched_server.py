"""The page over the scripted backend in a process of its own, with its memory and its other visitors watched.

`python -m tests.hostile.watched_server --port N` is that process; `WatchedServer` starts it. What is sent there, and
what of it is allowed, is not known here.
"""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import httpx

from tests import ROOT

MIB = 2**20
LOOK = 0.02  # seconds between looks at the memory
ASK = 0.2  # seconds between questions of the other visitor


class WatchedServer:
    """A server that is looked at: memory of it and of its children, and how long `/api/adapters` takes meanwhile.

    Args:
        folder: for its log and its uploads.
        port: free.
        variables: more of its environment.

    Attributes:
        slowest: longest that the other visitor waited for an answer, in seconds.
        unanswered: how often there was none, or another than 200.
    """

    def __init__(self, folder: Path, port: int, variables: dict[str, str] | None = None) -> None:
        self.address, self.log = f"http://127.0.0.1:{port}", folder / "server.log"
        self.slowest, self.unanswered = 0.0, 0
        self._peak, self._over = 0, threading.Event()
        usual = {
            "GRADIO_TEMP_DIR": str(folder / "uploads"),
            "HF_HUB_OFFLINE": "1",
            "VISUALIZER_REQUESTS_PER_MINUTE": "1000000",
            "VISUALIZER_NEW_SESSIONS_PER_HOUR": "1000000",  # each file is handed in by a visitor of its own
        }
        command = [sys.executable, "-m", "tests.hostile.watched_server", "--port", str(port)]
        with self.log.open("w") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | usual | (variables or {}), stdout=output, stderr=output
            )

    def __enter__(self) -> "WatchedServer":
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        for work in (self._look, self._ask):
            threading.Thread(target=work, daemon=True).start()
        return self

    def _wait(self) -> None:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(self.address + "/api/adapters", timeout=60):
                    break
            except OSError:
                assert self._process.poll() is None, self.log.read_text()[-3_000:]
                assert time.monotonic() < until, "the server did not start:\n" + self.log.read_text()[-3_000:]
                time.sleep(0.1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._over.set()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def memory(self) -> int:
        """Bytes that the process and its children have resident now; what they share counts for each."""
        return _resident(self._process.pid)

    @contextmanager
    def growth(self) -> Iterator[list[int]]:
        """Yields a list that holds, after the block, how many bytes the memory rose at most while it lasted."""
        before = self._peak = self.memory()
        found: list[int] = []
        yield found
        found.append(max(self._peak, self.memory()) - before)

    def complaints(self) -> list[str]:
        """Lines of the log that only a fault of ours writes; Pillow's readers log what they do not like themselves."""
        words = ("Traceback", "CRITICAL", "ERROR")
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith(words) and not line.startswith("ERROR PIL.")]

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            self._peak = max(self._peak, self.memory())

    def _ask(self) -> None:
        while not self._over.wait(ASK):
            begun = time.monotonic()
            try:  # on a connection of its own: one that waits idle is closed by the server when it likes
                there = httpx.get(self.address + "/api/adapters", timeout=120).status_code == 200
            except httpx.HTTPError:
                there = False
            if self._over.is_set():
                return
            self.unanswered += not there
            self.slowest = max(self.slowest, time.monotonic() - begun)


def _resident(number: int) -> int:
    """Of a process and those below it, as the kernel tells it: quick enough to be asked all the time; 0 of none."""
    try:
        pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
        below = [each.read_text().split() for each in Path(f"/proc/{number}/task").glob("*/children")]
    except (OSError, IndexError):
        return 0  # it ended between the two looks
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(child)) for children in below for child in children)


def main() -> int:
    """Serve until the process is ended."""
    import logging

    from app import build
    from inference.command_line import parse
    from tests.scripted_backend import ScriptedBackend

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    return int(build(parse(sys.argv[1:], os.environ), ScriptedBackend).start())


if __name__ == "__main__":
    sys.exit(main())
