"""Pages of other servers, and names that are not this server's."""

import asyncio
import json
import logging
from typing import Any

import pytest

from inference.service.analysis import AnalysisService
from inference.service.origins import OriginGuard, names_of
from inference.service.request_ids import RequestIds
from inference.service.routes import guarded_lifespan
from inference.settings import Settings
from tests.scripted_backend import ScriptedBackend

OPERATORS = ("viz.example.org",)


def status(headers: dict[str, str], names: tuple[str, ...] = OPERATORS, kind: str = "http") -> int:
    """What a request with these headers is answered: 200 by the application, or the guard's refusal."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {"type": kind, "method": "POST", "path": "/", "headers": raw}
        await OriginGuard(application, names)(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    if sent[0]["status"] == 403:
        assert json.loads(sent[1]["body"])["error"]["code"] == "foreign_origin"
        assert not [name for name, _ in sent[0]["headers"] if b"access-control" in name]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:7860", "127.0.0.1:7860", "[::1]:7860", "10.1.2.3", "[fe80::1]", "", "gpu-box:7860"),
        *(
            "box.local",
            "box.lan:1",
            "a.b.internal",
            "x.localhost",
            "viz.example.org",
            "VIZ.example.org:443",
            "localhost.",
        ),
    ],
)
def test_programs_ask_under_every_name_that_nobody_can_register(host: str):
    assert status({"host": host}) == 200


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:7860", "evil.com.", "127.0.0.1.nip.io", "localhost.evil.com", "a@evil.com", "1.2.3"]
)
def test_a_strangers_name_for_this_machine_is_refused(host: str):
    assert status({"host": host}) == 403
    assert status({"host": host, "origin": f"http://{host}"}) == 403


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("127.0.0.1:7860", "http://127.0.0.1:7860", 200),
        ("localhost:7860", "http://localhost:7860", 200),
        ("viz.example.org", "https://viz.example.org", 200),
        ("viz", "http://viz:8080", 200),  # a proxy that leaves the port out
        ("127.0.0.1:7860", "https://viz.example.org", 200),  # a proxy that puts its own name in its place
        ("127.0.0.1:7860", "https://evil.com", 403),
        ("127.0.0.1:7860", "http://127.0.0.1:3000", 403),
        ("127.0.0.1:7860", "http://localhost:7860", 403),
        ("viz.example.org", "https://evil.com", 403),
        ("viz.example.org", "https://viz.example.org.evil.com", 403),
        ("viz.example.org", "https://evil-viz.example.org", 403),
        ("localhost:7860", "null", 403),
        ("localhost:7860", "", 403),
        ("localhost:7860", "file://", 403),
        ("localhost:7860", "http://[", 403),
        ("localhost:7860", "https://abc.gradio.live", 403),
    ],
)
def test_only_pages_of_the_same_origin_ask(host: str, origin: str, expected: int):
    for kind in ("http", "websocket"):
        assert status({"host": host, "origin": origin}, kind=kind) == expected


def test_a_proxy_may_say_the_name_in_a_header_of_its_own():
    asked = {"host": "127.0.0.1:7860", "origin": "https://viz.corp.example"}
    assert status(asked) == 403
    assert status(asked | {"x-forwarded-host": "viz.corp.example"}) == 200


def test_a_share_link_is_known_where_one_was_asked_for():
    names = tuple(names_of(Settings(share=True), {}))
    for host in ("abc123.gradio.live", "127.0.0.1:7860"):
        assert status({"host": host, "origin": "https://abc123.gradio.live"}, names) == 200
    assert status({"host": "abc123.gradio.live"}, tuple(names_of(Settings(), {}))) == 403
    assert status({"host": "gradio.live.evil.com"}, names) == 403


def test_the_names_are_those_of_the_space_and_of_the_operator():
    names = names_of(Settings(allowed_host=("Viz.Example.org",)), {"SPACE_HOST": "user-space.hf.space"})
    assert {"viz.example.org", "user-space.hf.space"} <= names


def test_a_foreign_name_is_told_the_log_once_and_escaped(caplog: pytest.LogCaptureFixture):
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a refused request reached the application")

    async def send(message: Any) -> None:
        pass

    guard = OriginGuard(application, ())
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"evil.com\x1b[2J")]}
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
        for index in range(300):
            scope["headers"] = [(b"host", f"e{index}.com".encode())]
            asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
    assert len(caplog.records) == 100
    assert "\x1b" not in caplog.text


def test_what_starts_and_ends_the_application_passes():
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    class Holder:
        middleware_stack = application

    async def start() -> None:
        holder = Holder()
        holder.middleware_stack = application  # type: ignore[method-assign, assignment]
        async with guarded_lifespan(AnalysisService(Settings(), ScriptedBackend))(holder):
            assert isinstance(holder.middleware_stack, RequestIds)
            await holder.middleware_stack({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

    asyncio.run(start())
    assert seen == ["lifespan"]
