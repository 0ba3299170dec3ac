"""A page in a process of its own, as faults meet it: how it is started, asked, looked at and ended."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests import ROOT
from tests.conftest import picture
from tests.test_start import free_port

PATIENCE = 600  # seconds until a start counts as failed, on a machine that does much else
ENDED_WITHIN = 10  # seconds, asked by SIGINT or SIGTERM


@dataclass
class Page:
    """A running page.

    Attributes:
        address: where it is, with a slash at its end.
        folder: of its log, its uploads and the faults that it meets.
        metrics: where an operator's numbers are, where somebody asked for them.
    """

    address: str
    folder: Path
    process: "subprocess.Popen[bytes]"
    metrics: str = ""

    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="surrogateescape")

    @contextlib.contextmanager
    def meeting(self, fault: str) -> Iterator[None]:
        """Let analyses meet a fault of `tests.faults.page`."""
        (self.folder / fault).touch()
        try:
            yield
        finally:
            (self.folder / fault).unlink()

    def ask(self, *, timeout: float = PATIENCE, photo: bytes | None = None, **fields: Any) -> httpx.Response:
        """Ask for an analysis over HTTP."""
        asked = {"prompt": "Describe the image.", "adapter": ["base", "find-red"], "max_new_tokens": "4"} | fields
        files = {"image": ("photo.png", photo or png())}
        return httpx.post(f"{self.address}api/analyze", files=files, data=asked, timeout=timeout)

    def answer(self, **fields: Any) -> dict[str, Any]:
        """What is answered, but for the seconds that it took."""
        response = self.ask(**fields)
        assert response.status_code == 200, response.text
        return {name: value for name, value in response.json().items() if name != "timings"}

    def press(self, button: str, data: Sequence[Any], session: str) -> Iterator[dict[str, Any]]:
        """Press a button of the page, by its id or words: the messages of Gradio's queue until it is done."""
        config = httpx.get(f"{self.address}config", timeout=PATIENCE).json()
        (pressed,) = [
            each["id"]
            for each in config["components"]
            if button in (each["props"].get("elem_id"), each["props"].get("value"))
        ]
        index = next(each["id"] for each in config["dependencies"] if [pressed, "click"] in each["targets"])
        body = {"fn_index": index, "data": list(data), "session_hash": session, "event_data": None}
        joined = httpx.post(f"{self.address}gradio_api/queue/join", json=body, timeout=PATIENCE)
        assert joined.status_code == 200, joined.text
        query = {"session_hash": session}
        with httpx.stream("GET", f"{self.address}gradio_api/queue/data", params=query, timeout=PATIENCE) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    message = json.loads(line[5:])
                    yield message
                    if message["msg"] in ("process_completed", "close_stream"):
                        return

    def upload(self, content: bytes | None = None) -> dict[str, Any]:
        """Hand a photo in, as the page's browser does."""
        sent = httpx.post(
            f"{self.address}gradio_api/upload", files={"files": ("photo.png", content or png())}, timeout=PATIENCE
        )
        assert sent.status_code == 200, sent.text
        return {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}

    def analyze(self, session: str, prompt: str = "Describe the image.", adapter: str = "find-red") -> str:
        """Press Analyze, and wait: what the page's notice says then, "" where the pictures came."""
        column = [self.upload(), prompt, "", [adapter], "base", "adapter", 4, 1, [], []]
        *_, last = self.press("go", column, session)
        assert last["success"], last
        notice = last["output"]["data"][0] or {}
        return " ".join(filter(None, (notice.get("sentence"), notice.get("hint"))))

    def end(self, number: int = signal.SIGTERM) -> float:
        """Ask it to end; the seconds that it took, of a machine that does nothing else."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return (time.monotonic() - begun) / max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def png(height: int = 64, width: int = 96, seed: int = 0) -> bytes:
    """A photo's file."""
    buffer = io.BytesIO()
    picture(height, width, seed).save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def started(
    folder: Path,
    *flags: str,
    variables: Mapping[str, str | None] | None = None,
    before: Sequence[str] = (),
    program: Sequence[str] | None = None,
    metrics: bool = False,
    **more: Any,
) -> Iterator[Page]:
    """Start a page and wait until it listens; it is ended at the end, in good order.

    Args:
        folder: see `Page`.
        flags: of its command line.
        variables: of its environment, beside this process's own; None takes one away.
        before: what stands before the program in its command, such as `unshare`.
        program: its command; None is `tests.faults.page`.
        metrics: whether an operator's numbers can be read.
        more: for `subprocess.Popen`.
    """
    (folder / "uploads").mkdir(exist_ok=True, parents=True)
    usual = {
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "PYTHONPATH": str(ROOT),
        "VISUALIZER_REQUESTS_PER_MINUTE": "9999",
    }
    chosen = os.environ | usual | dict(variables or {})
    environment = {name: value for name, value in chosen.items() if value is not None}
    command = [*before, *(program or [sys.executable, "-m", "tests.faults.page", str(folder)])]
    command += ["--port", str(free_port()), *flags]
    metrics_port = str(free_port()) if metrics else ""
    command += ["--metrics-port", metrics_port] if metrics else []
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, **more)
        page = Page("", folder, process, f"http://127.0.0.1:{metrics_port}/metrics" if metrics else "")
        try:
            until = time.monotonic() + PATIENCE
            while not (said := re.search(r"the page is on (http://\S+)", page.log())):
                assert process.poll() is None, page.log()
                assert time.monotonic() < until, page.log()
                time.sleep(0.1)
            page.address = said[1]
            yield page
            assert page.end() < ENDED_WITHIN
            assert process.returncode == 0, page.log()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
