"""Files that a visitor names by an address are refused before anybody fetches them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from starlette.testclient import TestClient

from inference.errors import InputError
from inference.service.addresses import refuse_addresses
from inference.settings import Settings
from tests.built_page import build, build_server
from tests.scripted_backend import ScriptedBackend

ELSEWHERE = {"path": "http://elsewhere.invalid/a.png", "meta": {"_type": "gradio.FileData"}}
ADDRESSES = ["http://elsewhere.invalid/a", "https://elsewhere.invalid/a", "http:%2F%2Felsewhere.invalid"]
UPLOADED = {"path": "/tmp/gradio/a.png", "url": "http://127.0.0.1:7860/gradio_api/file=/tmp/gradio/a.png"}


@pytest.mark.parametrize(
    "values",
    [[ELSEWHERE], [None, [{"a": [ELSEWHERE]}]], [{"path": "HTTPS://elsewhere.invalid"}], [{"path": "ftp://x/a"}]],
)
def test_a_file_somewhere_else_is_refused_wherever_it_stands(values: list[Any]):
    with pytest.raises(InputError, match="not fetched"):
        refuse_addresses(values)


@pytest.mark.parametrize("values", [[], [None, 3, "http://words.example"], [UPLOADED], [{"path": ["http://x"]}]])
def test_what_a_page_sends_passes(values: list[Any]):
    refuse_addresses(values)


def test_very_deep_values_are_looked_through():
    deep: Any = ELSEWHERE
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError):
        refuse_addresses(deep)


def test_no_event_of_the_page_lets_gradio_fetch_anything(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    async def fetch(url: str, *more: Any) -> str:
        asked.append(url)
        raise ValueError

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch)
    demo = build(Settings(model="scripted"), ScriptedBackend)
    for fn in demo.fns.values():
        if fn.inputs:
            with pytest.raises(gr.Error, match="not fetched"):
                asyncio.run(demo.preprocess_data(fn, [ELSEWHERE] * len(fn.inputs), None))
    assert asked == []


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(build_server(Settings(model="scripted"), ScriptedBackend)) as client:
        yield client


@pytest.mark.parametrize("way", ["gradio_api/file=", "gradio_api/file/", "gradio_api/proxy=", "file=", "proxy="])
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_route_of_gradio_fetches_an_address(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, way: str, address: str
):
    asked: list[str] = []

    async def fetch(url: str, *more: Any) -> str:
        asked.append(url)
        raise ValueError

    monkeypatch.setattr("safehttpx.async_validate_url", fetch)
    answer = client.get(f"/{way}{address}", follow_redirects=False)
    assert (answer.status_code, asked) == (404, [])
    assert answer.json()["error"]["code"] == "not_found"
