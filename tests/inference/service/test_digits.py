"""An answer that says a place, looked at by its digits: on the page, over HTTP, by a question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from inference.service.cards import _measured
from tests.built_page import build_server_of
from tests.inference.service.events import analyze, look, page_over, record, upload
from tests.inference.service.test_routes import png
from tests.scripted_backend import ScriptedBackend
from visualize.page.choice import Choice
from visualize.stacks.head_changes import head_changes_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

CLICK = ("[", "4", "12", ", ", "30", "]")
DIGITS = (6, 7, 9)


@pytest.fixture
def clicking() -> ScriptedBackend:
    return ScriptedBackend(answer=CLICK)


@pytest.fixture
def page(clicking: ScriptedBackend) -> Any:
    return page_over(clicking)


@pytest.fixture
def client(page: Any) -> Iterator[TestClient]:
    with TestClient(build_server_of(page.service), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, done: Any, name: str, **query: Any) -> Any:
    return client.get(f"/visits/{done.viewer['ticket']}/{name}", params=query)


def test_a_result_that_says_a_place_opens_on_its_digits_whose_heads_are_there(
    page: Any, client: TestClient, clicking: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    shown = page.service.looked_at(done.viewer["ticket"]).comparison
    scene = ask(client, done, "scene").json()
    assert scene["opening"]["token"] == "digits"
    assert scene["digits"] == scene["recorded"] == list(DIGITS)
    for head in ("mean", 1):
        answer = ask(client, done, "stack", token="digits", head=head)
        assert answer.content == stack_body(shown, StackChoice("digits", head=head))  # type: ignore[arg-type]
    assert ask(client, done, "heads", token="digits", layer=2).status_code == 200
    changes = ask(client, done, "head_changes", token="digits", recorded="6,7,9")
    assert changes.json() == head_changes_json(shown)
    assert len(clicking.requests) == 1


def test_after_another_tokens_heads_the_digits_are_still_there(
    page: Any, client: TestClient, clicking: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    recorded = record(page, done, token=5, head=1)[-1]
    assert ask(client, recorded, "scene", token="5-5").json()["recorded"] == [5]
    assert ask(client, recorded, "scene", token="digits").json()["recorded"] == list(DIGITS)
    assert len(clicking.requests) == 2


def test_digits_that_are_no_place_are_recorded_when_they_are_asked_for(uploads: Path):
    backend = ScriptedBackend(answer=("I ", "see", " 3", " of 7"))
    page = page_over(backend)
    with TestClient(build_server_of(page.service), raise_server_exceptions=False) as client:
        done = analyze(page, upload(uploads))[-1]
        assert ask(client, done, "stack", token="digits").status_code == 200
        refused = ask(client, done, "stack", token="digits", head=1)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_recorded")
        recorded = record(page, done, token="digits", head=1)[-1]
        assert recorded.viewer["focus"] == "digits"
        assert backend.requests[-1].focus == (7, 8)
        assert ask(client, recorded, "stack", token="digits", head=1).status_code == 200


def test_an_answer_without_digits_has_none_to_look_at(uploads: Path):
    page = page_over(ScriptedBackend(answer=("a ", "cup")))
    with TestClient(build_server_of(page.service), raise_server_exceptions=False) as client:
        done = analyze(page, upload(uploads))[-1]
        for name in ("stack", "heads", "scene"):
            refused = ask(client, done, name, token="digits").json()["error"]
            assert (refused["code"], "holds no digit" in refused["message"]) == ("invalid_selection", True)
        sent = {"data": {"token": "digits"}, "files": {"image": ("photo.png", png(), "image/png")}}
        assert "holds no digit" in client.post("/api/analyze", **sent).json()["error"]["message"]


@pytest.mark.parametrize("token", ["digits", None])
def test_a_program_gets_the_digits_where_it_asks_for_them_and_where_it_names_nothing(
    client: TestClient, clicking: ScriptedBackend, token: str | None
):
    data = {"head": 2} | ({} if token is None else {"token": token})
    answer = client.post("/api/analyze", data=data, files={"image": ("photo.png", png(), "image/png")}).json()
    assert answer["maps"][0]["token"] == "digits"
    assert clicking.requests[-1].focus == token
    (said,) = answer["said"]
    assert [number["tokens"] for number in said["places"][0]["numbers"]] == [[1, 2], [4]]


def test_a_program_may_still_ask_for_one_token(client: TestClient, clicking: ScriptedBackend):
    sent = {"data": {"token": 5, "head": 0}, "files": {"image": ("photo.png", png(), "image/png")}}
    assert client.post("/api/analyze", **sent).json()["maps"][0]["token"] == 5
    assert clicking.requests[-1].focus == (5,)
    refused = client.post("/api/analyze", data={"token": "letters"}, files=sent["files"]).json()["error"]
    assert refused["message"].endswith("'letters'.")


def test_a_question_about_the_digits_is_about_the_first(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    shown = page.service.looked_at(done.viewer["ticket"]).comparison
    choice = Choice.read(look(page, done)["choice"], shown)
    assert choice.token == "digits"
    assert _measured(shown, choice) == DIGITS[0]
