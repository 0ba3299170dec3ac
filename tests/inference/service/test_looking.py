"""Looking around in a result: nothing runs that need not, nothing shown is older than what is shown already."""

import threading
from pathlib import Path
from typing import Any

import pytest

from inference.records import Comparison
from inference.service import view as page_view
from tests.inference.service.events import (
    FIRST_ANSWER,
    analyze,
    is_skipped,
    look,
    one,
    upload,
    visitor,
)
from tests.scripted_backend import ANSWER, LAYERS, ScriptedBackend


def test_another_layer_is_another_picture_and_runs_nothing(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    for layer in range(LAYERS):
        (view,) = look(page, done, layer=layer)
        assert f"layer {layer} " in view.panes["panes"][0]["caption"]
    (window,) = look(page, done, layer=0, window=2)
    assert "layers 0–2 (mean)" in window.panes["panes"][0]["caption"]
    assert len(backend.requests) == 1


def test_a_head_of_another_token_is_recorded_once(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    token = FIRST_ANSWER + 2
    views = look(page, done, token=token, head=1)
    assert views[0].notice["kind"] == "busy"
    assert f"token {token} " in views[-1].panes["panes"][0]["caption"]
    assert "head 1" in views[-1].panes["panes"][0]["caption"]
    asked = backend.requests[-1]
    ids = tuple(each for each in range(1_000 + FIRST_ANSWER, 1_000 + FIRST_ANSWER + len(ANSWER) + 1))
    assert (asked.answer, asked.focus) == (ids, (token,))
    assert [row["text"] for row in views[-1].answers["rows"]] == ["".join(ANSWER)] * 2
    look(page, done, token=token, head=2)
    look(page, done, token=token, head="max")
    assert len(backend.requests) == 2
    assert look(page, done, token=token, head=1)[-1].panes["heads"]


def test_the_numbers_are_those_of_the_records(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    comparison = page.service.results.get("one", done.key).comparison
    choice = done.controls["choice"]
    share = [each.image_share[choice["token"], choice["layer"]].mean() for each in comparison.recordings]
    row = done.numbers["rows"][0]
    assert [float(value) for value in row["values"]] == pytest.approx([100 * each for each in share], rel=0.01)
    assert float(row["delta"].split()[0].replace("−", "-")) == pytest.approx(100 * (share[1] - share[0]), rel=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": 99},
        {"layer": -1},
        {"layer": "2"},
        {"layer": True},
        {"token": 99},
        {"head": 9},
        {"head": "best"},
        {"head": [1]},
        {"view": "x"},
        {"view": []},
        {"view": "contrast", "head": 1},
        {"opacity": 2},
        {"opacity": float("nan")},
        {"percentile": 5},
        {"colormap": "jet"},
        {"colormap": {}},
        {"diverging": "viridis"},
        {"window": 99},
    ],
)
def test_a_choice_that_does_not_exist_is_a_sentence(page: Any, uploads: Path, changes: dict[str, Any]):
    done = analyze(page, upload(uploads))[-1]
    final = look(page, done, **changes)[-1]
    assert final.notice["kind"] == "error"
    assert "inside the tool" not in final.notice["sentence"]
    assert is_skipped(final.panes)


@pytest.mark.parametrize("controls", [None, "", [], {"choice": None}, {"choice": {}}, {"choice": {"layer": 1}}])
def test_a_browser_that_sends_nonsense_gets_a_sentence(page: Any, uploads: Path, controls: Any):
    done = analyze(page, upload(uploads))[-1]
    (view,) = page.look(done.key, controls, visitor())
    assert view.notice["kind"] == "error"
    assert "inside the tool" not in view.notice["sentence"]


def test_every_drawing_says_when_it_was_asked_for(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    stamps = [done.panes["stamp"]] + [look(page, done, layer=layer)[-1].panes["stamp"] for layer in (1, 2)]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 3
    assert done.answers["stamp"] == done.panes["stamp"] == done.numbers["stamp"]


def test_a_late_drawing_carries_the_older_stamp(page: Any, uploads: Path, monkeypatch: pytest.MonkeyPatch):
    """The browser shows nothing older than what it shows: a drawing that ends late was still asked for earlier."""
    done = analyze(page, upload(uploads))[-1]
    real, started, go_on = page_view.draw, threading.Event(), threading.Event()

    def slow(comparison: Comparison, choice: Any) -> Any:
        if choice.layer == 1:
            started.set()
            assert go_on.wait(10)
        return real(comparison, choice)

    monkeypatch.setattr(page_view, "draw", slow)
    late: list[Any] = []
    thread = threading.Thread(target=lambda: late.extend(look(page, done, layer=1)))
    thread.start()
    assert started.wait(10)
    (newer,) = look(page, done, layer=2)
    result = analyze(page, upload(uploads), adapter="silent")[-1]
    go_on.set()
    thread.join()
    assert "layer 1 " in one(late).panes["panes"][0]["caption"]
    assert one(late).panes["stamp"] < newer.panes["stamp"] < result.panes["stamp"]
