"""A machine that lacks something: it starts, or says what is wrong; it answers, and the next answer is right."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import ROOT
from tests.faults.conftest import FIVE_TIMES, TIMES
from tests.faults.served import PATIENCE, Page, png, started
from tests.faults.spaces import memory_of, mounting, nobody

pytestmark = pytest.mark.slow  # most start the page, in a machine of its own kind

APP = [sys.executable, "app.py"]
#: MB of memory in which the page starts with the embedded model, analyzes, and answers again.
LEAST = 1_024


@pytest.fixture(scope="module")
def right(page: Page) -> dict[str, Any]:
    """What a machine answers that lacks nothing."""
    return page.answer(prompt="Où est-ce ?", overlay="true")


def is_right(page: Page, right: dict[str, Any]) -> None:
    """It answers as an ordinary machine does, over HTTP and on the page, and has nothing else to say."""
    assert page.answer(prompt="Où est-ce ?", overlay="true") == right
    assert page.analyze("one", "Où est-ce ?") == ""
    assert "Traceback" not in page.log()
    assert "ERROR" not in page.log()


GONE = {"XDG_CONFIG_HOME": None, "XDG_CACHE_HOME": None, "HF_HOME": None, "MPLCONFIGDIR": None}
READ_ONLY_HOME, NO_FONTS = "-t tmpfs -o ro tmpfs {folder}/home", "-t tmpfs tmpfs /usr/share"
DISK = "-t tmpfs -o size=12m tmpfs {folder}/disk"
NO_UTF8 = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NO_HOME = {"HOME": None, "USER": None, "LOGNAME": None}

#: What stands before the program, given its folder, and what its environment has.
LACKING: dict[str, tuple[Callable[[Path], list[str]], dict[str, str | None]]] = {
    "a home that cannot be written to": (lambda folder: mounting(READ_ONLY_HOME.format(folder=folder)), {}),
    "no home, a user without a name": (lambda folder: nobody(), NO_HOME),
    "LANG=C, no UTF-8": (lambda folder: [], NO_UTF8),
    "no fonts": (lambda folder: mounting(NO_FONTS), {}),
}


def is_right_without(
    folder: Path, right: dict[str, Any], before: list[str], variables: dict[str, str | None], times: int
) -> None:
    """It starts so many times on a machine that lacks something, and answers right, twice."""
    usual = {"HOME": str(folder / "home")} | GONE | variables
    for _ in range(times):
        with started(folder, program=APP, before=before, variables=usual) as page:
            is_right(page, right)
            is_right(page, right)


@FIVE_TIMES
@pytest.mark.parametrize("fault", LACKING)
def test_it_works_on_a_machine_that_lacks_something(
    tmp_path: Path, right: dict[str, Any], saw: Callable[..., None], times: int, fault: str
):
    (tmp_path / "home").mkdir()
    before, variables = LACKING[fault]
    is_right_without(tmp_path, right, before(tmp_path), variables, times)
    saw(fault, "the page, as ever", times)


@FIVE_TIMES
def test_it_works_in_little_memory(tmp_path: Path, right: dict[str, Any], saw: Callable[..., None], times: int):
    with memory_of(LEAST) as before:
        is_right_without(tmp_path, right, before, {}, times)
    saw(f"{LEAST:,} MB of memory", "the page, as ever", times)


def test_it_works_without_a_home_to_write_to_fonts_and_utf8_and_meets_a_full_disk(
    tmp_path: Path, right: dict[str, Any], saw: Callable[..., None]
):
    (tmp_path / "home").mkdir()
    (tmp_path / "disk").mkdir()
    before = mounting(READ_ONLY_HOME.format(folder=tmp_path), NO_FONTS, DISK.format(folder=tmp_path))
    variables = {"HOME": str(tmp_path / "home")} | GONE | NO_UTF8 | on_disk(tmp_path)
    with started(tmp_path, program=APP, before=before, variables=variables) as page:
        is_right(page, right)
        is_right(page, right)
        meets_a_full_disk(page, saw, times=1)


def test_it_works_without_a_home_and_a_name_in_little_memory_at_once(tmp_path: Path, right: dict[str, Any]):
    with memory_of(LEAST) as memory:
        is_right_without(tmp_path, right, [*memory, *nobody()], NO_HOME, times=1)


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(2**16)):
            pass


def on_disk(folder: Path) -> dict[str, str]:
    """The variables of a page that writes to the disk in a folder alone."""
    return {"GRADIO_TEMP_DIR": f"{folder}/disk/uploads", "TMPDIR": f"{folder}/disk"}


def meets_a_full_disk(page: Page, saw: Callable[..., None], times: int) -> None:
    """What does not fit is refused in a sentence, and answered once there is room."""
    own = Path(f"/proc/{page.process.pid}/root{page.folder}/disk")
    large = png(1_000, 1_500)
    assert len(large) > 2**20  # what is smaller never gets to the disk
    right = page.answer(photo=large)
    for _ in range(times):
        fill(own / "fill")
        refused = page.ask(photo=large)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (503, "no_storage"), error
        handed_in = httpx.post(f"{page.address}gradio_api/upload", files={"files": ("a.png", large)}, timeout=PATIENCE)
        assert handed_in.status_code == 503
        assert handed_in.json()["error"] == error
        (own / "fill").unlink()
        assert page.answer(photo=large) == right
        assert page.analyze("one") == ""
    assert "Traceback" not in page.log()
    saw("the disk is full", f"{error['message']} {error['hint']}", times)


@FIVE_TIMES
def test_a_full_disk_is_a_sentence_and_nothing_more_once_there_is_room(
    tmp_path: Path, saw: Callable[..., None], times: int
):
    (tmp_path / "disk").mkdir()
    before = mounting(DISK.format(folder=tmp_path))
    with started(tmp_path, program=APP, before=before, variables=on_disk(tmp_path)) as page:
        meets_a_full_disk(page, saw, times)


@TIMES
def test_a_batch_on_a_full_disk_says_so_and_goes_on_once_there_is_room(
    tmp_path: Path, saw: Callable[..., None], times: int
):
    """A file may have no more than so many bytes: as a disk with no more room does, and every user may set it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png())
    command = ["-m", "inference.batch", str(tmp_path / "in"), "--prompt", "What?", "--max-new-tokens", "2"]
    for run in range(times):
        whole = [sys.executable, *command, "--out", str(tmp_path / f"out{run}")]
        full = subprocess.run(
            ["prlimit", "--fsize=2048", *whole], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
        assert full.returncode == 2, full.stderr
        assert "Traceback" not in full.stderr
        (sentence,) = re.findall(r"^Stopped, since it cannot go on: (.*)", full.stderr, re.MULTILINE) or [full.stderr]
        again = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        assert again.returncode == 0, again.stderr
        assert "1 of 1 item are there, 0 failed" in again.stderr
    saw("the disk is full, under a batch", sentence.replace(str(tmp_path), "…"), times)


@FIVE_TIMES  # once: tests/test_start.py
def test_a_port_that_is_taken_is_a_sentence_and_a_code(saw: Callable[..., None], times: int):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags in (["--port", port], ["--port", "0", "--metrics-port", port]):
            for _ in range(times):
                done = subprocess.run(
                    [*APP, *flags], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=PATIENCE
                )
                which = flags[-2].removesuffix("port")
                (line,) = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
                assert done.returncode == 2
                assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another {which}host" in line
                assert "Traceback" not in done.stderr
    saw(
        "the port is taken",
        line.partition(": ")[2].replace(port, "7860").replace("metrics-", "") + " (exit code 2)",
        times,
    )
