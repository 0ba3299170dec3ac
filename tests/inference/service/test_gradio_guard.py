"""What strangers send to Gradio's own routes is bounded: uploads, events, sessions; and nothing of ours goes."""

import asyncio
import gc
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.service import gradio_guard
from inference.service.gradio_guard import EVENT_BYTES, GradioGuard
from inference.service.uploads import Uploads
from inference.settings import Limits, Settings
from tests.browser.conftest import free_port
from tests.built_page import build
from tests.conftest import picture, wait_until
from tests.inference.test_photo import saved
from tests.scripted_backend import ScriptedBackend

PHOTO = saved(picture(24, 40))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `use_own_folder` makes one."""
    own = tmp_path / "lora-attention-visualizer-test"
    own.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(own))
    return own


@contextmanager
def served(**limits: Any) -> Iterator[tuple[httpx.Client, Any]]:
    """A real server, since Gradio's queue runs in no other, and its page."""
    page = build(Settings(model="scripted", port=free_port(), limits=Limits(**limits)), ScriptedBackend)

    async def launch() -> None:
        page.launch(**page.launch_options(), prevent_thread_lock=True, quiet=True)

    asyncio.run(launch())
    try:
        with httpx.Client(base_url=page.local_url, timeout=60) as client:
            yield client, page
    finally:
        page.close(verbose=False)


@contextmanager
def client_for(**limits: Any) -> Iterator[httpx.Client]:
    with served(**limits) as (client, _):
        yield client


def sent(client: httpx.Client, *files: tuple[str, bytes]) -> Any:
    return client.post("/gradio_api/upload", files=[("files", file) for file in files])


def event(client: httpx.Client, handler: str, data: list[Any], session: str = "one") -> list[Any]:
    """Run a private event as a stranger's program can, and wait for its end."""
    config = client.get("/config").json()
    number = next(each["id"] for each in config["dependencies"] if each["api_name"] == handler)
    body = {"data": data, "fn_index": number, "session_hash": session, "trigger_id": None, "event_data": None}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            said = json.loads(line.removeprefix("data:").strip() or "{}")
            if said.get("msg") == "process_completed":
                return said["output"]
    raise AssertionError("the stream ended")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_visitor_cannot_delete_what_the_page_ships(folder: Path):
    with served() as (client, page):
        shipped = [Path(path) for block in page.blocks.values() for path in block.keep_in_cache]
        assert shipped
        for path in shipped:
            assert path.exists()
            event(client, "receive", [{"path": str(path)}])
            again = sent(client, (path.name, path.read_bytes()))  # the same file under the same name
            assert Path(again.json()[0]) == path
            event(client, "receive", [{"path": str(path)}])
        own = Path(sent(client, ("own.png", PHOTO)).json()[0])
        event(client, "receive", [{"path": str(own)}])
        page.service.leave("one")
        assert not own.exists()
        for path in shipped:
            assert client.get(f"/gradio_api/file={path}").status_code == 200


def test_many_files_in_one_upload_are_too_many(folder: Path):
    with client_for(uploaded_files=20) as client:
        before = len(files(folder))
        answer = sent(client, *((f"{each}.bin", bytes([each])) for each in range(90)))
        assert answer.status_code == 200
        assert len(files(folder)) - before == 20


def test_uploads_of_an_address_are_bounded_by_their_bytes(folder: Path):
    with client_for(uploaded_bytes=100_000) as client:
        before = len(files(folder))
        for each in range(8):
            assert sent(client, ("x.bin", bytes([each]) * 30_000)).status_code == 200
        assert len(files(folder)) - before == 3


def test_an_upload_that_fails_is_swept_by_the_next(folder: Path):
    with client_for() as client:
        before = files(folder)
        for name in ("..", ".", "a\\..\\b", "x" * 300):
            answer = client.post("/gradio_api/upload", files=[("files", (name, b"x" * 10_000))])
            if answer.status_code == 200:
                assert all(Path(path).is_relative_to(folder) for path in answer.json())
        kept = files(folder)
        client.post("/gradio_api/upload", content=b"", headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert set(before) <= set(kept)
        assert not [name for name in files(folder) if name.startswith("tmp")]


def test_an_upload_that_is_too_large_leaves_nothing(folder: Path):
    with client_for(max_upload_bytes=100_000) as client:
        before = files(folder)
        answer = sent(client, *((f"{each}", b"x" * 150_000) for each in range(8)))
        assert answer.status_code == 413
        assert files(folder) == before


def test_what_an_upload_that_breaks_off_left_is_swept_by_the_next(folder: Path):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with served() as (client, page):
        before = files(folder)
        assert client.post("/gradio_api/upload", content=head + b"y" * 50_000, headers=kind).status_code < 500
        with socket.create_connection(("127.0.0.1", page.server_port)) as line:
            lines = b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\nContent-Type: "
            line.sendall(lines + kind["Content-Type"].encode() + b"\r\n\r\n" + head + b"y" * 50_000)
            wait_until(lambda: files(folder) != before)
        gc.collect()
        client.post("/gradio_api/upload", content=b"", headers=kind)
        wait_until(lambda: files(folder) == before)


def test_the_body_of_an_event_is_bounded(folder: Path):
    with client_for() as client:
        for path in ("queue/join", "run/receive", "call/analyze", "api/analyze", "cancel", "reset"):
            answer = client.post(f"/gradio_api/{path}", content=b" " * (EVENT_BYTES + 1))
            assert answer.status_code == 413
            assert "the limit" in answer.json()["error"]["message"]


def test_new_sessions_of_an_address_are_bounded(folder: Path):
    with client_for(new_sessions_per_hour=5) as client:
        codes = [
            client.post("/gradio_api/queue/join", json={"session_hash": f"s{each}"}).status_code for each in range(7)
        ]
        assert [code == 429 for code in codes] == [False] * 5 + [True] * 2
        known = client.post("/gradio_api/queue/join", json={"session_hash": "s1"})
        assert known.status_code != 429
        refused = client.post("/gradio_api/queue/join", json={"session_hash": "s9"})
        assert int(refused.headers["retry-after"]) > 0
        assert "limit is 5" in refused.json()["detail"]


def test_a_sessions_name_is_a_short_text(folder: Path):
    with client_for() as client:
        for name in ("", "x" * 65, 5, ["a"], "ü", {}):
            assert client.post("/gradio_api/queue/join", json={"session_hash": name}).status_code == 400


def test_routes_that_the_page_does_not_use_are_closed(folder: Path):
    with client_for() as client:
        for path in (
            "deep_link?session_hash=one",
            "gradio_api/deep_link?session_hash=one",
            "gradio_api/proxy=https://example.org/",
            "any/gradio_api/proxy=https://example.org/",
            "gradio_api/file=https://example.org/photo.png",
            "gradio_api/stream/a/b/1/playlist.m3u8",
            "gradio_api/vibe-code",
            "gradio_api/runs",
            "gradio_api/dev/reload",
            "monitoring",
            "gradio_api/custom_component/1/client/component/index.js",
        ):
            assert client.get("/" + path).status_code == 404
            assert client.post("/" + path).status_code in (404, 405)


def test_slow_bodies_and_many_uploads_at_once_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gradio_guard, "UPLOAD_SECONDS", 0.2)
    answers: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answers.append(message)

    async def never() -> Any:
        await asyncio.sleep(60)

    guard = GradioGuard(application, Limits(), Uploads(Limits()))

    async def ask(path: str, address: str = "a") -> None:
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": (address, 1)}
        await guard(scope, never, send)

    async def flood() -> None:
        await ask("/gradio_api/queue/join")
        assert answers.pop()["status"] == 400
        await asyncio.gather(*(ask("/gradio_api/upload") for _ in range(6)), ask("/gradio_api/upload", "b"))

    asyncio.run(flood())
    assert sorted(answer["status"] for answer in answers) == [200] * 5 + [429] * 2
