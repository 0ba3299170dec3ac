"""Nothing is asked of the network at run time, and nothing that a visitor writes makes this machine ask."""

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import ROOT
from tests.conftest import wait_until
from tests.faults.served import PATIENCE, Page, png, started
from tests.faults.spaces import without_network

pytestmark = pytest.mark.slow


#: With a network at hand, too, with the hostile tests alone: what is asked of it is written down in either case.
OFFLINE = pytest.mark.parametrize(
    "offline",
    [pytest.param(False, id="online", marks=pytest.mark.hostile), pytest.param(True, id="without a network")],
    indirect=True,
)


@pytest.fixture
def offline(request: pytest.FixtureRequest) -> list[str]:
    """What stands before a program: nothing, or a network of its own without a way out."""
    return without_network() if request.param else []


def recorded(folder: Path, *program: str) -> list[str]:
    """A program whose connections are written down."""
    (folder / "connections").touch()
    return [sys.executable, "-m", "tests.faults.connections", str(folder / "connections"), *program]


def analyze_in_place(page: Page) -> str:
    """Ask from inside the page's own network: for its page, an analysis, and a report of it through its button."""
    script = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.faults.served import Page
page = Page({page.address!r}, Path({str(page.folder)!r}), None)
import base64, httpx
assert httpx.get(page.address).status_code == 200
print(len(page.answer(overlay="true")["maps"]))
column = [page.upload(), "Describe.", "", ["find-red"], "base", "adapter", 4, 1, [], []]
*_, done = page.press("go", column, "one")
viewer = done["output"]["data"][1]
opening = httpx.get(page.address + "visits/" + viewer["ticket"] + "/scene").json()["opening"]
*_, done = page.press("Report (HTML)", [viewer["key"], {{"choice": opening}}], "one")
saved, refused = done["output"]["data"]
print(refused, base64.b64decode(saved["source"].partition(",")[2])[:15].decode().lower())
"""
    command = [sys.executable, "-c", script]
    inside = ["nsenter", "--target", str(page.process.pid), "--user", "--net", "--preserve-credentials", *command]
    done = subprocess.run(
        inside if page.process.args[0] == "unshare" else command, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@OFFLINE
def test_the_page_an_analysis_and_a_report_ask_nothing_of_the_network(offline: list[str], tmp_path: Path):
    variables = {"HF_HUB_OFFLINE": None}  # which would forbid what must not be asked in the first place
    program = recorded(tmp_path, "app.py")
    with started(tmp_path, program=program, before=offline, variables=variables) as page:
        assert analyze_in_place(page) == "2\nNone <!doctype html>\n"
        assert "Traceback" not in page.log()
    assert (tmp_path / "connections").read_text() == ""


@OFFLINE
def test_a_batch_asks_nothing_of_the_network(offline: list[str], tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png())
    words = ["--prompt", "What?", "--adapter", "find-red", "--max-new-tokens", "2", "--report"]
    program = recorded(tmp_path, "inference.batch", str(tmp_path / "in"), *words, "--out", str(tmp_path / "out"))
    done = subprocess.run([*offline, *program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*.html"))
    assert (tmp_path / "connections").read_text() == ""


@pytest.fixture
def outside() -> Iterator[tuple[str, list[object]]]:
    """The address of a photo elsewhere, as it were, and who has asked for it."""
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, who = server.accept()
                    asked.append(who)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        socket.create_connection(server.getsockname()).close()
        wait_until(lambda: len(asked) == 1)
        asked.clear()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/photo.png", asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_an_address_that_a_visitor_names_is_asked_by_nobody(page: Page, outside: tuple[str, list[object]]):
    """Neither one nearby nor one in the world; the hook of a connection counts more than what comes of it."""
    answered = page.answer()
    with httpx.Client(base_url=page.address, timeout=PATIENCE) as visitor:  # a redirect is the browser's to follow
        for url in (outside[0], "http://elsewhere.invalid/photo.png"):
            name_everywhere(visitor, url)
    assert page.answer() == answered
    assert outside[1] == []
    assert (page.folder / "connections").read_text() == ""


def name_everywhere(visitor: httpx.Client, url: str) -> None:
    """Write an address wherever a visitor may write something."""
    events = visitor.get("config").json()["dependencies"]
    bare = {"path": url, "meta": {"_type": "gradio.FileData"}}
    for each in (bare, bare | {"url": url, "orig_name": "photo.png"}):
        for event in events:
            body = {"fn_index": event["id"], "data": [each] * len(event["inputs"]), "session_hash": "ssrf"}
            for way in ("queue/join", "run/predict"):
                visitor.post(f"gradio_api/{way}", json=body)
        for name in ("analyze", "explain"):
            call = visitor.post(f"gradio_api/call/{name}", json={"data": [each, "What?"]})
            if call.status_code == 200:
                done = visitor.get(f"gradio_api/call/{name}/{call.json()['event_id']}")
                assert "event: error" in done.text
        sent = visitor.post("api/analyze", json={"image": url})
        assert sent.status_code in (400, 415, 422), sent.text
        path = visitor.post("api/analyze", json={"image_path": url})
        assert path.status_code in (400, 422), path.text
    for way in ("file", "proxy", "stream"):
        for path in (f"gradio_api/{way}={url}", f"gradio_api/{way}/{url}", f"{way}={url}"):
            assert visitor.get(path).status_code != 200, path
    visitor.get("config", headers={"x-forwarded-host": re.sub("https?://|/.*", "", url), "x-gradio-target": url})
