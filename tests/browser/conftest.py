"""A real Chromium against real servers; without a Chromium these tests are skipped and say so."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect, sync_playwright

from inference import Backend, Settings
from inference.descriptions import AdapterInfo
from inference.records import AnswerToken, Progress
from inference.request import Request
from inference.settings import Limits
from tests import ROOT
from tests.built_page import build
from tests.scripted_backend import ADAPTERS, ScriptedBackend, adapter

QUIET = "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
ARGUMENTS = f"--no-sandbox --disable-gpu {QUIET}"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first costs a fifth less
PATIENCE = 60  # seconds until a condition counts as never met; a passing test does not wait for it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("REQUIRE_BROWSER is set, but there is no Chromium")
    if path is None:
        pytest.skip(f"no Chromium: set CHROMIUM to one, or install {' or '.join(NAMES)}")
    return path


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """Closed with this package: while it is open, Playwright's event loop runs in the tests' own thread."""
    expect.set_options(timeout=PATIENCE * 1_000)
    with sync_playwright() as playwright:
        yield from _launch(playwright, chromium)


def _launch(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
    yield browser
    _IDLE.clear()
    browser.close()


#: Pages that no test has just now, by width, height, scheme and density.
_IDLE: dict[tuple[int, int, bool, int], list[Page]] = {}


@contextmanager
def borrowed_page(
    browser: Browser, width: int = 1440, height: int = 900, *, dark: bool = False, density: int = 1
) -> Iterator[Page]:
    """An empty page in a browser profile that no other test has at the same time.

    A page that a test gave back is lent again: what the browser fetched and compiled for it stays, which halves the
    time of a visit. Cookies go with it, and a test that did not end well leaves its page to nobody.
    """
    idle = _IDLE.setdefault((width, height, dark, density), [])
    if idle:
        page = idle.pop()
    else:
        viewport, scheme = {"width": width, "height": height}, "dark" if dark else "light"
        context = browser.new_context(viewport=viewport, color_scheme=scheme, device_scale_factor=density)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1_000)
    page.mouse.move(0, 0)  # over nothing, whatever it was left over
    yield page
    page.goto("about:blank")
    page.set_viewport_size({"width": width, "height": height})
    page.context.clear_cookies()
    idle.append(page)


@pytest.fixture(scope="package")
def app_address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole thing, as a person starts it: `python app.py`, its adapters on offer."""
    folder = tmp_path_factory.mktemp("app")
    port, log = free_port(), folder / "server.log"
    command = [sys.executable, "app.py", "--port", str(port)]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "HF_HUB_OFFLINE": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process, log)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(address + "/api/adapters", timeout=60):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail("the server did not start:\n" + log.read_text()[-3000:])


LONG_NAME = "qwen3-vl-8b-screens-r64-all-linear-lr2e-5.epoch-3.checkpoint-120"
UNUSABLE = AdapterInfo("broken-one", "", "unusable", 0, 0.0, (), False, 0, "", ("Its weights are missing.",))


class HeldBackend(ScriptedBackend):
    """A scripted backend that writes one word, or replays once, and then waits, for as long as a test holds it."""

    def __init__(self) -> None:
        super().__init__(offered=(UNUSABLE, *ADAPTERS, adapter(LONG_NAME)))
        self._go = threading.Event()
        self.let_go()

    def hold(self) -> None:
        """From now on answers stop after their first word."""
        self._go.clear()

    def let_go(self) -> None:
        """Answers go on."""
        self._go.set()

    def stream(self, request: Request) -> Any:
        """The script, held after an answer's first word."""
        events = super().stream(request)
        try:
            for event in events:
                yield event
                if isinstance(event, AnswerToken) and not self._go.wait(PATIENCE):
                    raise TimeoutError("a test held the backend and never let it go")
        finally:
            events.close()

    def stream_explanation(self, request: Request, question: Any) -> Any:
        """The script, held after a question's first replay."""
        events = super().stream_explanation(request, question)
        try:
            for event in events:
                yield event
                if isinstance(event, Progress) and event.stage == "replays" and not self._go.wait(PATIENCE):
                    raise TimeoutError("a test held the backend and never let it go")
        finally:
            events.close()


class ScriptedServer:
    """The page over a scripted backend, in this process: a test sees what was asked and decides when it is answered."""

    def __init__(self, backend: HeldBackend, address: str) -> None:
        self.backend, self.address = backend, address


@pytest.fixture(scope="package")
def scripted_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    """One server for all tests of the package; `scripted` hands it out with nothing asked yet."""
    backend, port = HeldBackend(), free_port()
    settings = Settings(model="scripted", port=port, limits=Limits(requests_per_minute=10_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with served(settings, lambda: backend) as page:
            page.service.backend.warm().result(PATIENCE)
            yield ScriptedServer(backend, f"http://127.0.0.1:{port}")


@contextmanager
def served(settings: Settings, open_: Callable[[], Backend]) -> Iterator[Any]:
    """A page in this process; its start runs an event loop, and so does Playwright in the thread of the tests."""

    async def launch(page: Any) -> None:
        page.launch(**page.launch_options(), prevent_thread_lock=True, quiet=True)

    with ThreadPoolExecutor(1) as thread:
        page = thread.submit(build, settings, open_).result()
        thread.submit(asyncio.run, launch(page)).result()
    try:
        yield page
    finally:
        page.close(verbose=False)


class Watched:
    """A page whose requests and complaints are written down."""

    def __init__(self, page: Page, address: str, backend: HeldBackend | None = None) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self._backend = backend
        self._listeners: dict[Any, Any] = {
            "console": self._hear,
            "pageerror": lambda error: self.complaints.append(str(error)),
            "request": lambda request: self._see(request.url),
        }
        self._listen()

    @property
    def backend(self) -> HeldBackend:
        """What answers, where that is the scripted one."""
        assert self._backend is not None
        return self._backend

    def leave(self) -> None:
        """Forget what the page kept of this visit, and hear no more of it."""
        self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        self._hear_no_more()

    def reload(self) -> None:
        """Load the page anew; that the streams of the one before break off is no complaint."""
        self._hear_no_more()
        self.page.reload()
        self._listen()

    def _listen(self) -> None:
        for event, listener in self._listeners.items():
            self.page.on(event, listener)

    def _hear_no_more(self) -> None:
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _see(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(url)


def open_page(
    browser: Browser, address: str, width: int = 1440, *, dark: bool = False, backend: HeldBackend | None = None
) -> Iterator[Watched]:
    """A first visit: nothing is kept of another one; at its end nothing was asked elsewhere, nobody complained."""
    with borrowed_page(browser, width, dark=dark) as page:
        watched = Watched(page, address, backend)
        page.goto(address)
        page.wait_for_selector(".lav-example")
        expect(page.locator(".lav-ready")).to_be_visible()  # the model is open
        expect(page.locator("#part-about")).not_to_be_empty()  # and its adapters are in the menus
        yield watched
        watched.leave()
    assert watched.elsewhere == []
    assert watched.complaints == []


@pytest.fixture
def visit(browser: Browser, app_address: str) -> Iterator[Watched]:
    """A first visit to the real page, 1,440 pixels wide."""
    yield from open_page(browser, app_address)


@pytest.fixture
def dark(browser: Browser, app_address: str) -> Iterator[Watched]:
    """The same for a person whose system is dark."""
    yield from open_page(browser, app_address, dark=True)


@pytest.fixture
def phone(browser: Browser, app_address: str) -> Iterator[Watched]:
    """The same, 390 pixels wide."""
    yield from open_page(browser, app_address, 390)


@pytest.fixture
def scripted(browser: Browser, scripted_server: ScriptedServer) -> Iterator[Watched]:
    """A first visit to the scripted page; nothing was asked of its backend yet, and nothing is held."""
    backend = scripted_server.backend
    backend.requests.clear()
    backend.questions.clear()
    yield from open_page(browser, scripted_server.address, backend=backend)
    backend.let_go()


@pytest.fixture
def scripted_phone(browser: Browser, scripted_server: ScriptedServer) -> Iterator[Watched]:
    """A first visit to the scripted page, 390 pixels wide."""
    yield from open_page(browser, scripted_server.address, 390, backend=scripted_server.backend)


@pytest.fixture
def beside(browser: Browser, scripted_server: ScriptedServer) -> Iterator[Watched]:
    """Somebody else on the scripted page."""
    yield from open_page(browser, scripted_server.address, backend=scripted_server.backend)
