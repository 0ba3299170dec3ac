"""Looking around in a result: by its ticket, beside the queue; heads are recorded once, by a replay."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from inference.demo import EXAMPLE_SCREENS
from inference.recording import Recording
from inference.records import Comparison
from inference.service.tickets import EVERYONE
from inference.settings import Settings
from tests.built_page import build_handlers, build_server_of
from tests.conftest import wait_until
from tests.inference.service.events import FIRST_ANSWER, analyze, look, one, page_over, record, scene, upload, visitor
from tests.scripted_backend import ANSWER, LAYERS, ScriptedBackend
from tests.visualize.read_body import read_body
from visualize.numbers import rank_heads
from visualize.numbers.change import row_changes
from visualize.stacks import changes
from visualize.stacks.box_body import box_body, box_matrix
from visualize.stacks.changes import changes_json
from visualize.stacks.head_changes import head_changes_json
from visualize.stacks.heads_body import heads_body
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice


@pytest.fixture
def client(page: Any) -> Iterator[TestClient]:
    """The routes over the page's own service."""
    with TestClient(build_server_of(page.service), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, done: Any, name: str, **query: Any) -> Any:
    return client.get(f"/visits/{done.viewer['ticket']}/{name}", params=query)


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return str(answer.json()["error"]["message"])


def test_the_scene_the_stacks_and_the_heads_are_what_drawing_makes_of_the_result(
    page: Any, client: TestClient, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    comparison = page.service.looked_at(done.viewer["ticket"]).comparison
    assert ask(client, done, "scene").json() == scene_json(comparison, heads=False)
    assert ask(client, done, "head_changes", token="6").json() == head_changes_json(comparison)
    for query, choice in (
        ({"token": "6"}, StackChoice(6)),
        ({"token": "6-8", "window": 1}, StackChoice((6, 8), window=1)),
        ({"token": str(FIRST_ANSWER), "head": 2, "view": "sink-masked"}, StackChoice(5, head=2, view="sink-masked")),
        ({"token": "5", "head": "max", "against": "find-red"}, StackChoice(5, head="max", against="find-red")),
        ({"token": "5", "head": "L1H2,L0H0"}, StackChoice(5, head=((1, 2), (0, 0)))),
        ({"token": "7", "view": "contrast"}, StackChoice(7, view="contrast")),
    ):
        answer = ask(client, done, "stack", **query)
        assert answer.content == stack_body(comparison, choice)
        assert answer.headers["cache-control"].startswith("private")
        assert answer.headers["content-encoding"] == "gzip"
    edited = list(page.replay(done.key, {"answer": {"text": "Another"}}, visitor()))[-1]
    given = page.service.looked_at(edited.viewer["ticket"]).comparison
    assert ask(client, edited, "scene").json() == scene_json(given, written=comparison, heads=False)
    answer = ask(client, done, "heads", token="5", layer=3)
    assert answer.content == heads_body(comparison, StackChoice(5), 3)


def test_heads_are_ranked_once_per_answer_and_those_of_another_token_each_their_own(
    page: Any, client: TestClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
):
    ranked: list[tuple[Recording, int, str]] = []
    rank_once = rank_heads.rank_heads

    def rank(recordings: Any, layer: int) -> Any:
        ranked.append((recordings[0], layer, threading.current_thread().name))
        return rank_once(recordings, layer)

    def of(comparison: Comparison) -> list[tuple[int, str]]:
        return sorted((layer, name) for one, layer, name in ranked if one.focus == comparison.recordings[0].focus)

    monkeypatch.setattr(rank_heads, "rank_heads", rank)
    done = analyze(page, upload(uploads))[-1]
    first = page.service.looked_at(done.viewer["ticket"]).comparison
    wait_until(lambda: len(of(first)) == LAYERS)  # while the news is on its way
    token = FIRST_ANSWER + 2
    record(page, done, token=token, head=1)
    orders = set()
    for shown in (FIRST_ANSWER, token):
        comparison = page.service.looked_at(done.viewer["ticket"], (shown,)).comparison
        for head in (1, 2, "max"):
            answer = ask(client, done, "stack", token=str(shown), head=head)
            assert answer.content == stack_body(comparison, StackChoice(shown, head=head))
        assert ask(client, done, "heads", token=str(shown), layer=1).content == heads_body(
            comparison, StackChoice(shown), 1
        )
        assert [layer for layer, _ in of(comparison)] == list(range(LAYERS))
        orders.add(str(read_body(answer.content)[0]["heads"]))
    assert {name for _, name in of(first)} == {"first-look"}
    assert len(orders) == 2


def test_the_photo_is_the_results_at_most_1920_pixels_long(page: Any, client: TestClient, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    own = page.service.looked_at(done.viewer["ticket"]).comparison.image
    answer = ask(client, done, "photo")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(float)
    assert shown.shape == own.shape
    assert np.abs(shown - own).mean() < 12  # of noise, the hardest to compress
    assert answer.headers["content-type"] == "image/jpeg"
    buffer = io.BytesIO()
    Image.new("RGB", (2_400, 600), (30, 90, 200)).save(buffer, "PNG")
    large = analyze(page, upload(uploads, "large.png", content=buffer.getvalue()))[-1]
    assert Image.open(io.BytesIO(ask(client, large, "photo").content)).size == (1_920, 480)


def test_every_layer_of_a_stack_is_there_and_runs_nothing(
    page: Any, client: TestClient, backend: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    header, maps = read_body(ask(client, done, "stack", token="6").content)
    assert header["frames"] == LAYERS
    assert list(maps) == ["base", "find-red", "find-red − base"]
    assert len(backend.requests) == 1


def test_heads_of_another_token_are_recorded_once_and_only_when_asked_for(
    page: Any, client: TestClient, backend: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    token = FIRST_ANSWER + 2
    asked = {"token": str(token), "head": 1}
    refused(ask(client, done, "stack", **asked), 409, "not_recorded")
    refused(ask(client, done, "heads", token=str(token)), 409, "not_recorded")
    refused(ask(client, done, "scene", token=str(token)), 409, "not_recorded")
    assert len(backend.requests) == 1
    busy, recorded = record(page, done, token=token, head=1)
    assert busy.notice["kind"] == "busy"
    assert (recorded.key, recorded.viewer["focus"]) == (done.key, [token, token])
    request = backend.requests[-1]
    assert (request.answer, request.focus) == (tuple(range(1_005, 1_005 + len(ANSWER) + 1)), (token,))
    assert ask(client, recorded, "stack", **asked).status_code == 200
    shown = ask(client, recorded, "scene", token=str(token)).json()
    assert shown["recorded"] == [token]
    assert [row["text"] for row in shown["answers"]] == ["".join(ANSWER)] * 2
    record(page, done, token=token, head="max")
    assert len(backend.requests) == 2


def test_a_view_that_must_be_recorded_is_recorded_once_with_all_its_like_and_heads_come_with_it(
    page: Any, client: TestClient, backend: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    token = FIRST_ANSWER + 2
    refused(ask(client, done, "stack", token=str(token), view="relative"), 409, "not_recorded")
    recorded = record(page, done, token=token, view="gradient")[-1]
    assert backend.requests[-1].views == ("relative", "gradient", "named")
    assert (recorded.viewer["focus"], recorded.viewer["view"]) == ([token, token], "gradient")
    shown = ask(client, recorded, "scene", token=str(token), view="gradient").json()
    assert shown["recorded_views"] == shown["views"]
    for view in ("relative", "gradient", "named", "named alone"):
        assert ask(client, recorded, "stack", token=str(token), view=view).status_code == 200, view
    assert ask(client, recorded, "stack", token=str(token), head=1).status_code == 200  # the heads are there, too
    record(page, done, token=token, head=1)
    record(page, done, token=token, view="named")
    assert len(backend.requests) == 2


def test_a_word_of_the_prompt_has_no_gradient_and_that_is_said(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    (refusal,) = record(page, done, token=1, view="gradient")
    assert "answer's tokens" in refusal.notice["sentence"]
    record(page, done, token=1, view="named")
    assert backend.requests[-1].views == ("relative", "named")


def test_heads_of_a_range_are_the_mean_over_it(page: Any, client: TestClient, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    recorded = record(page, done, token=[6, 8], head=0)[-1]
    assert backend.requests[-1].focus == (6, 7, 8)
    assert ask(client, recorded, "stack", token="6-8", head=0).status_code == 200


def test_a_shipped_result_is_everyones_and_its_other_heads_are_the_visitors(backend: ScriptedBackend):
    page = build_handlers(Settings(), lambda: backend)
    opening = page.opening()
    assert page.service.tickets.owner(opening.viewer["ticket"]) == (EVERYONE, opening.key)
    for name in ("", "None"):  # whatever a browser may call itself
        page.service.session(name)
        page.leave(visitor(name))
    assert scene(page, opening)["variants"] == ["base", EXAMPLE_SCREENS[0].adapter]


def test_a_ticket_ends_with_its_visit(page: Any, client: TestClient, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    assert ask(client, done, "scene").status_code == 200
    page.leave(visitor())
    for name in ("scene", "photo", "stack", "heads"):
        assert "no longer kept" in refused(ask(client, done, name, token="6"), 404, "not_found")
    refused(client.get("/visits/guess/scene"), 404, "not_found")
    refused(client.get("/visits/../api/none"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "There is no token"),
        ({"token": "x"}, "token must be a 0-based index, first-last, or digits"),
        ({"token": "6-8-9"}, "token must be"),
        ({"token": "8-6"}, "first ≤ last"),
        ({"token": "-1"}, "token must be"),
        ({"token": "999999999"}, "token must be"),
        ({"token": "99"}, "token 99 does not exist"),
        ({"token": "0-99"}, "token 99 does not exist"),
        ({"token": "6", "head": "best"}, "head must be"),
        ({"token": "5", "head": "9"}, "head 9 does not exist"),
        ({"token": "6", "view": "x"}, "view must be"),
        ({"token": "5", "view": "contrast", "head": 1}, "contrast view is of no single head"),
        ({"token": "6", "window": "99"}, "window must be"),
        ({"token": "6", "window": "-1"}, "window must be"),
        ({"token": "6", "against": "../x"}, "is not in this comparison"),
        ({"token": "6", "path": "/etc"}, "Unknown field"),
    ],
)
def test_a_look_that_does_not_exist_is_a_sentence(
    page: Any, client: TestClient, uploads: Path, query: dict[str, Any], words: str
):
    answer = ask(client, analyze(page, upload(uploads))[-1], "stack", **query)
    assert 400 <= answer.status_code < 500
    assert words in answer.json()["error"]["message"] + answer.json()["error"]["hint"]


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": 99},
        {"layer": "2"},
        {"token": 99},
        {"token": [3]},
        {"token": [1, 2, 3]},
        {"token": {"a": 1}},
        {"head": [1]},
        {"view": []},
        {"opacity": float("nan")},
        {"percentile": 5},
        {"colormap": {}},
        {"window": 99},
        {"against": "nobody"},
        {"adapter": ["find-red"]},
    ],
)
def test_a_choice_that_does_not_exist_is_a_sentence(page: Any, uploads: Path, changes: dict[str, Any]):
    done = analyze(page, upload(uploads))[-1]
    final = record(page, done, **changes)[-1]
    assert final.notice["kind"] == "error"
    assert "inside the tool" not in final.notice["sentence"]


@pytest.mark.parametrize("sent", [None, "", [], {"choice": None}, {"choice": {}}, {"choice": {"layer": 1}}])
def test_a_browser_that_sends_nonsense_gets_a_sentence(page: Any, uploads: Path, sent: Any):
    done = analyze(page, upload(uploads))[-1]
    view = one(page.record(done.key, sent, visitor()))
    assert view.notice["kind"] == "error"
    assert "inside the tool" not in view.notice["sentence"]


def test_looking_waits_for_nobodys_analysis(uploads: Path):
    backend = ScriptedBackend()
    page = page_over(backend)
    done = analyze(page, upload(uploads))[-1]
    with TestClient(build_server_of(page.service)) as client, page.service.queue.place("another"):
        assert ask(client, done, "stack", token="6").status_code == 200
    assert look(page, done)


def test_the_numbers_of_a_box_are_what_drawing_makes_of_the_result_and_run_nothing(
    page: Any, client: TestClient, backend: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads))[-1]
    comparison = page.service.looked_at(done.viewer["ticket"]).comparison
    before = len(backend.requests)
    boxes = "8,16,40,80;0,0,5,9"
    for query, choice in (
        ({"token": "6"}, StackChoice(6)),
        ({"token": "5", "head": 2, "view": "sink-masked"}, StackChoice(5)),  # all heads of the row itself
        ({"token": "6-8", "window": 1, "against": "find-red"}, StackChoice((6, 8), window=1, against="find-red")),
    ):
        answer = ask(client, done, "box", box=boxes, recorded=str(FIRST_ANSWER), **query)
        expected = box_body(comparison, boxes, choice) | box_matrix(comparison, boxes, choice.against)
        assert answer.json() == expected
        assert answer.headers["cache-control"].startswith("private")
    assert len(backend.requests) == before
    outside = ask(client, done, "box", token="5", box="900,0,950,9")
    assert "pixels high and" in refused(outside, 422, "invalid_selection")
    assert "four numbers" in refused(ask(client, done, "box", token="5", box="1,2,3"), 422, "invalid_selection")
    refused(ask(client, done, "box", token="5"), 422, "invalid_input")
    refused(ask(client, done, "box", token="5", box=boxes, recorded="6"), 409, "not_recorded")
    assert client.get("/visits/nobody/box", params={"token": "5", "box": boxes}).status_code == 404


def test_how_rows_changed_is_found_while_the_news_is_on_its_way_and_only_once(
    page: Any, client: TestClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
):
    found: list[tuple[Recording, str]] = []

    def find(base: Recording, adapter: Recording) -> Any:
        found.append((base, threading.current_thread().name))
        return row_changes(base, adapter)

    monkeypatch.setattr(changes, "row_changes", find)
    done = analyze(page, upload(uploads))[-1]
    ours = page.service.looked_at(done.viewer["ticket"]).comparison.recordings[0]
    wait_until(lambda: any(base is ours for base, _ in found))
    scene = ask(client, done, "scene").json()
    assert ask(client, done, "scene").json() == scene
    record(page, done, token=6)
    assert ask(client, done, "scene", token="6").json()["changed"] == scene["changed"]
    assert ask(client, done, "changes", token="5", against="base").json() == scene["changed"]
    asked = [name for base, name in found if base is ours and name != "MainThread"]  # this test's own drawing is there
    assert asked == ["first-look"]


def test_what_changed_against_another_variant_and_of_the_heads_recorded_meanwhile(
    page: Any, client: TestClient, uploads: Path
):
    done = analyze(page, upload(uploads), compare="vision-lora")[-1]
    comparison = page.service.looked_at(done.viewer["ticket"]).comparison
    found = ask(client, done, "changes", token="5", against="find-red").json()
    assert found == changes_json(comparison, "find-red")
    assert found != changes_json(comparison)
    heads = ask(client, done, "head_changes", token="5", against="find-red").json()
    assert heads == head_changes_json(comparison, "find-red")
    assert heads != head_changes_json(comparison)
    record(page, done, token=6)
    assert ask(client, done, "changes", token="5", against="find-red").json() == found
    later = ask(client, done, "head_changes", token="5", against="find-red", recorded="6").json()
    assert later == head_changes_json(page.service.looked_at(done.viewer["ticket"], (6,)).comparison, "find-red")
    assert later["matrix"] != heads["matrix"]
    refused(ask(client, done, "head_changes", token="5", recorded="7"), 409, "not_recorded")
    for name in ("changes", "head_changes"):
        unknown = ask(client, done, name, token="5", against="nobody")
        assert "'nobody' is not" in refused(unknown, 422, "invalid_selection")


def test_the_matrix_of_a_box_is_of_the_heads_that_were_recorded_meanwhile(page: Any, client: TestClient, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    record(page, done, token=6)
    boxes = "8,16,40,80"
    first, later = (ask(client, done, "box", token="6", box=boxes, recorded=at).json() for at in ("5", "6"))
    assert first["matrix"] != later["matrix"]
    assert set(first["numbers"]["base"]["share"]) == {"mean"}
    assert "0" in later["numbers"]["base"]["share"]
    assert first["numbers"]["base"]["share"]["mean"] == later["numbers"]["base"]["share"]["mean"]
