"""A real Chromium against a real server process; without a Chromium these tests are skipped and say so."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests import ROOT

QUIET = "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
ARGUMENTS = f"--no-sandbox --disable-gpu {QUIET}"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed with this package: while it is open, Playwright's event loop runs in the tests' own thread."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("REQUIRE_BROWSER is set, but there is no Chromium")
    if path is None:
        pytest.skip(f"no Chromium: set CHROMIUM to one, or install {' or '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS.split())
        yield browser
        browser.close()


def serve(command: list[str], folder: Path) -> Iterator[str]:
    """Start a server, yield its address when it answers, stop it."""
    port = free_port()
    log = folder / "server.log"
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "HF_HUB_OFFLINE": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(port)], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process, log)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(address + "/api/health", timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    pytest.fail("the server did not start:\n" + log.read_text()[-3000:])


@pytest.fixture(scope="package")
def app_address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole thing, as a person starts it: `python app.py`."""
    yield from serve(["app.py"], tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="package")
def scripted_address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same page over the scripted backend: slow, and with hostile words."""
    yield from serve(["-m", "tests.browser.scripted_page"], tmp_path_factory.mktemp("scripted"))


class Watched:
    """A page whose requests and complaints are written down."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._see(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _see(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(url)


def _open(browser: Browser, address: str, width: int) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": width, "height": 900})
    watched = Watched(context.new_page(), address)
    watched.page.set_default_timeout(20_000)
    watched.page.goto(address)
    watched.page.wait_for_selector(".lav-example")
    yield watched
    context.close()
    assert watched.elsewhere == []
    assert watched.complaints == []


@pytest.fixture
def visit(browser: Browser, app_address: str) -> Iterator[Watched]:
    """A first visit to the real page, 1,440 pixels wide."""
    yield from _open(browser, app_address, 1440)


@pytest.fixture
def phone(browser: Browser, app_address: str) -> Iterator[Watched]:
    """The same, 390 pixels wide."""
    yield from _open(browser, app_address, 390)


@pytest.fixture
def scripted(browser: Browser, scripted_address: str) -> Iterator[Watched]:
    """A first visit to the scripted page."""
    yield from _open(browser, scripted_address, 1440)
