"""What may be asked of several images is answered by every door, and the rest is refused before anything runs."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from inference import Backend, Comparison, Explanation, Request, Settings, open_backend
from inference.demo.world import scene
from inference.questions import AttributionOptions
from inference.service.cards import Cards
from tests.built_page import build_handlers, build_server_of
from visualize import finding
from visualize.findings.cards_json import findings_json

PROMPT = "Describe the image."
IMAGES = [scene(seed).image for seed in (7, 8)]
VISITOR = SimpleNamespace(session_hash="one", client=SimpleNamespace(host="192.0.2.1"))


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    opened = open_backend("local", device="cpu")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def request_() -> Request:
    return Request(IMAGES, PROMPT, adapters=(None, "noise"), max_new_tokens=2)


@pytest.fixture(scope="module")
def comparison(backend: Backend, request_: Request) -> Comparison:
    return backend.compare(request_)


@pytest.fixture(scope="module")
def explanation(backend: Backend, request_: Request, comparison: Comparison) -> Explanation:
    token = next(index for index, token in enumerate(comparison.tokens) if token.role == "answer")
    return backend.explain(request_, AttributionOptions(token, by="head"))


def test_the_page_offers_what_it_can_answer_and_answers_it(
    backend: Backend, explanation: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build_handlers(Settings(), lambda: backend)
    paths = []
    for index, image in enumerate(IMAGES):
        image.save(tmp_path / f"{index}.png")
        paths.append({"path": str(tmp_path / f"{index}.png")})
    assert page.receive_more(paths[1:], VISITOR)[1] is None
    *_, done = page.analyze(VISITOR, paths[0], PROMPT, "", ["noise"], "base", "adapter", 2, 1, [], paths[1:])
    ticket = done.viewer["ticket"]
    with TestClient(build_server_of(page.service)) as client:
        for name in (ticket, f"{ticket}.0"):
            offers = client.get(f"/visits/{name}/cards").json()
            assert [offer["card"] for offer in offers] == ["attribution", "heads"]
        opening = client.get(f"/visits/{ticket}.0/scene").json()["opening"]

    def ask(card: str, options: dict[str, Any]) -> list[Any]:
        choice = opening | {"token": explanation.token, "adapter": "noise"}
        looked = {"choice": choice, "image": 0, "question": {"card": card, "options": options}}
        return [view.cards for view in Cards(page.service).explain(done.key, looked, VISITOR)]

    last = ask("heads", {"question": "attribution", "by": "head"})[-1]
    assert (last["state"], last["key"]) == ("done", done.key)
    assert [each["sentence"] for each in last["findings"]] == [each["sentence"] for each in findings_json(explanation)]
    (refused,) = ask("knockout", {"question": "knockout", "top": 10})  # before anything runs
    assert refused["state"] == "refused"
    assert "this one has several" in refused["sentence"]


def test_over_http_the_answer_is_the_same_and_what_is_of_one_image_runs_nothing(
    backend: Backend, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
):
    def ask(**fields: str) -> Any:
        files = []
        for index, image in enumerate(IMAGES):
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            files.append(("image", (f"{index}.png", buffer.getvalue())))
        sent = {"prompt": PROMPT, "adapter": ["base", "noise"], "max_new_tokens": "2", **fields}
        return client.post("/api/explain", files=files, data=sent)

    with TestClient(build_server_of(build_handlers(Settings(), lambda: backend).service)) as client:
        answer = ask(question="attribution", by="head").json()
        assert answer["sentence"] == finding(explanation).sentence
        assert answer["outcomes"] == explanation.outcomes.tolist()
        monkeypatch.setattr(backend, "stream", lambda *given: pytest.fail("something ran"))
        for fields in ({"question": "knockout", "top": "10"}, {"question": "chance"}, {"question": "parts"}):
            refused = ask(**fields)
            assert refused.status_code == 422
            assert "a prompt with one image; this one has several" in refused.json()["error"]["message"]


def test_what_is_found_is_the_same_whichever_image_is_shown(explanation: Explanation, comparison: Comparison):
    found = findings_json(explanation, comparison)
    assert findings_json(explanation, comparison.showing(0)) == found
    assert found == findings_json(explanation)  # which heads changed most differs from image to image
