"""The page's events as plain functions, over the scripted backend: no browser, no server, no model."""

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference.errors import BackendError, OutOfMemoryError
from inference.records import Comparison
from inference.request import Request
from inference.service import analysis
from inference.service import view as page_view
from inference.service.endpoints import Endpoints
from inference.service.exports import Exports
from inference.service.handlers import Handlers
from inference.settings import Limits, Settings
from tests.built_page import app, build
from tests.conftest import picture
from tests.scripted_backend import ANSWER, HOSTILE, LAYERS, TEMPLATE, ScriptedBackend
from tests.scripted_backend import comparison as scripted

FIRST_ANSWER = 5  # index of the scripted answer's first token


def visitor(session: str = "one", host: str = "192.0.2.1") -> Any:
    return SimpleNamespace(session_hash=session, client=SimpleNamespace(host=host))


def upload(folder: Path, name: str = "photo.png", seed: int = 0, content: bytes | None = None) -> dict[str, str]:
    buffer = io.BytesIO()
    picture(64, 96, seed).save(buffer, "PNG")
    (folder / name).write_bytes(content if content is not None else buffer.getvalue())
    return {"path": str(folder / name)}


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def page(backend: ScriptedBackend) -> Any:
    return page_over(backend)


def page_over(backend: ScriptedBackend, **settings: Any) -> Any:
    page = build(Settings(model="scripted", **settings), lambda: backend).handlers
    page.service.backend.wait()
    return page


def fields(image: Any, **changes: Any) -> list[Any]:
    """What the input column sends, in the order of `PageForm`."""
    usual = {
        "image": image,
        "prompt": "What is here?",
        "system": "",
        "adapter": "find-red",
        "compare": "base",
        "replay": "adapter",
        "max_new_tokens": 32,
        "scale": 1,
        "controls": None,
    }
    return list((usual | changes).values())


def analyze(page: Any, image: Any, who: Any = None, **changes: Any) -> list[Any]:
    return list(page.analyze(who or visitor(), *fields(image, **changes)))


def look(page: Any, done: Any, who: Any = None, **changes: Any) -> list[Any]:
    choice = done.controls["choice"] | changes
    return list(page.look(done.key, {"choice": choice}, who or visitor()))


def one(views: Any) -> Any:
    """The only view of a handler: one that yields none at all would make Gradio empty every output."""
    (view,) = views
    return view


def is_skipped(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update" and len(value) == 1


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from strings(each)


# an analysis


def test_an_analysis_tells_what_happens_and_ends_with_pictures(page: Any, uploads: Path):
    views = analyze(page, upload(uploads))
    assert views[0].notice["kind"] == "busy"
    assert (views[0].go["interactive"], views[0].stop["interactive"]) == (False, True)
    written = [dict(view.notice["words"]) for view in views[1:-1] if view.notice.get("words")]
    assert written[0] == {"base": ANSWER[0]}
    assert written[-1] == {"base": "".join(ANSWER), "find-red": "".join(ANSWER)}
    done = views[-1]
    assert done.notice is None
    assert (done.go["interactive"], done.stop["interactive"]) == (True, False)
    assert [pane["title"] for pane in done.panes["panes"]] == ["base", "find-red", "find-red − base"]
    for pane in done.panes["panes"]:
        assert pane["source"].startswith("data:image/jpeg;base64,")
        assert "scripted" in pane["caption"]
        assert pane["alt"]
    json.dumps(done.panes), json.dumps(done.answers), json.dumps(done.numbers), json.dumps(done.controls)


def test_it_opens_on_the_token_of_the_largest_change(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    chips = next(row["chips"] for row in done.answers["rows"] if row["chips"])
    (chosen,) = [chip for chip in chips if chip["chosen"]]
    assert chosen["index"] == done.controls["choice"]["token"]
    assert chosen["role"] == "answer"
    assert len(chosen["shares"]) == 2


def test_the_same_question_is_answered_from_the_cache(page: Any, backend: ScriptedBackend, uploads: Path):
    image = upload(uploads)
    first = analyze(page, image)[-1]
    again = analyze(page, image, scale=1.0)
    assert len(backend.requests) == 1
    assert again[-1].key == first.key
    analyze(page, image, adapter="vision-lora")
    assert len(backend.requests) == 2


def test_the_first_visit_is_finished_before_anything_ran(backend: ScriptedBackend, uploads: Path):
    page = build(Settings(), lambda: backend).handlers
    opening = page.opening()
    assert [pane["title"] for pane in opening.panes["panes"]] == ["base", "find-red", "find-red − base"]
    assert opening.notice is None
    path = uploads / "first.png"
    page.first.request.image.to_pil().save(path)
    done = analyze(page, {"path": str(path)}, prompt=page.first.comparison.prompt)[-1]
    assert done.key == opening.key
    assert look(page, opening)[-1].notice is None
    assert backend.requests == []


def test_the_fields_become_the_request(page: Any, backend: ScriptedBackend, uploads: Path):
    image = upload(uploads)
    analyze(page, image, system="Be brief.", compare="vision-lora", replay="compare", max_new_tokens=7, scale=0.5)
    (request,) = backend.requests
    assert (request.adapters, request.answer_from) == (("vision-lora", "find-red"), "vision-lora")
    assert (request.system, request.max_new_tokens, request.scale) == ("Be brief.", 7, 0.5)
    analyze(page, image, adapter=None)
    assert backend.requests[-1].adapters == (None,)


def test_colours_are_kept_from_one_result_to_the_next(page: Any, uploads: Path):
    liked = {"colormap": "magma", "opacity": 0.3, "log": True, "layer": 0, "token": 0, "view": "contrast"}
    choice = analyze(page, upload(uploads), controls={"choice": liked})[-1].controls["choice"]
    assert (choice["colormap"], choice["opacity"], choice["log"], choice["view"]) == ("magma", 0.3, True, "raw")
    odd = {"choice": {"colormap": ["<b>"], "opacity": "x"}}
    assert analyze(page, upload(uploads), controls=odd)[-1].controls["choice"]["colormap"] == "viridis"


def test_each_its_own_answer_shows_no_difference_and_says_why(page: Any, uploads: Path):
    done = analyze(page, upload(uploads), replay="own")[-1]
    assert [bool(row["chips"]) for row in done.answers["rows"]] == [True, True]
    assert "replayed its own answer" in done.panes["panes"][2]["missing"]
    assert {row["delta"] for row in done.numbers["rows"]} == {""}
    assert look(page, done, token=FIRST_ANSWER + 1)[-1].notice is None


def test_one_variant_alone_is_shown_alone(page: Any, uploads: Path):
    done = analyze(page, upload(uploads), adapter=None)[-1]
    assert [pane["title"] for pane in done.panes["panes"]] == ["base"]
    assert done.numbers["columns"] == ["base"]


def test_what_a_careful_colleague_would_say_is_said(page: Any, uploads: Path):
    warnings = analyze(page, upload(uploads), adapter="silent")[-1].answers["warnings"]
    assert any("Both answers are the same" in each for each in warnings)
    assert any("every difference is 0" in each for each in warnings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": None}, "There is no image yet"),
        ({"image": {"path": "/etc/passwd"}}, "no longer here"),
        ({"image": {"path": "uploads/../../secret.png"}}, "no longer here"),
        ({"image": {"url": "http://example.org/a.png"}}, "There is no image yet"),
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": None}, "prompt is empty"),
        ({"adapter": "nobody"}, "No adapter is called"),
        ({"adapter": "../x"}, "cannot be an adapter's name"),
        ({"compare": "find-red"}, "compared with itself"),
        ({"max_new_tokens": 10_000}, "the limit is"),
        ({"max_new_tokens": "many"}, "max_new_tokens"),
        ({"scale": -1}, "scale must be a number from 0 to 4; not -1"),
    ],
)
def test_a_refusal_is_a_sentence_and_leaves_what_is_shown(
    page: Any, uploads: Path, changes: dict[str, Any], words: str
):
    final = analyze(page, changes.get("image", upload(uploads)), **{k: v for k, v in changes.items() if k != "image"})[
        -1
    ]
    assert final.notice["kind"] == "error"
    assert words in final.notice["sentence"]
    assert "passwd" not in str(final.notice)
    assert all(is_skipped(value) for value in (final.answers, final.panes, final.numbers, final.controls, final.key))


@pytest.mark.parametrize("error", [OutOfMemoryError("No room."), RuntimeError("secret")])
def test_a_failure_of_the_engine_leaves_a_page_that_works(uploads: Path, error: Exception):
    backend = ScriptedBackend(fail=error)
    page = page_over(backend)
    final = analyze(page, upload(uploads))[-1]
    assert final.notice["kind"] == "error"
    assert "secret" not in str(final.notice)
    assert (final.go["interactive"], final.stop["interactive"]) == (True, False)
    backend.fail = None
    assert analyze(page, upload(uploads))[-1].notice is None


def test_a_backend_that_cannot_be_opened_is_said_on_top_and_in_the_answer(uploads: Path):
    def cannot() -> ScriptedBackend:
        raise BackendError("This version has no such backend.", "Use another.")

    page = build(Settings(model="scripted"), cannot).handlers
    (waited,) = page.wait()
    assert waited[0]["state"] == "failed"
    assert "no such backend" in " ".join(waited[0]["words"])
    final = analyze(page, upload(uploads))[-1]
    assert "no such backend" in final.notice["sentence"]


def test_another_adapter_is_asked_the_question_that_was_asked_last(page: Any, backend: ScriptedBackend, uploads: Path):
    image = upload(uploads)
    analyze(page, image)
    final = list(page.analyze_again(visitor(), *fields(image, adapter="silent")))[-1]
    assert final.panes["panes"][1]["title"] == "silent"
    assert [request.adapters[-1] for request in backend.requests] == ["find-red", "silent"]


def test_a_menu_asks_nothing_by_itself(page: Any, backend: ScriptedBackend, uploads: Path):
    """Before a first question, of no photo, of the same variants, of words or a photo that nobody sent off yet."""
    image, other = upload(uploads), upload(uploads, "other.png", seed=1)
    before = [fields(None), fields(image, adapter="silent")]
    after = [fields(image), fields(image, adapter="silent", prompt="Half a"), fields(other, adapter="silent")]
    for unasked in before:
        assert all(is_skipped(value) for value in one(page.analyze_again(visitor(), *unasked)))
    analyze(page, image)
    for unasked in after:
        assert all(is_skipped(value) for value in one(page.analyze_again(visitor(), *unasked)))
    assert len(backend.requests) == 1


def test_every_handler_that_needs_the_visit_is_given_it():
    """Gradio hands the request to a parameter annotated with its class, and to no other."""
    for name in ("leave", "receive", "analyze", "analyze_again", "stop", "look"):
        assert getattr(Handlers, name).__annotations__["request"] is app.gr.Request


def test_a_widget_that_reports_a_change_twice_runs_it_once(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    first = page.analyze(visitor(), *fields(upload(uploads)))
    next(first), next(first)
    assert all(is_skipped(value) for value in one(page.analyze(visitor(), *fields(upload(uploads)))))
    assert list(first)[-1].notice is None
    assert len(backend.requests) == 1


# looking around


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


# stopping


def test_stop_stops_the_work_and_keeps_what_is_shown(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    views = page.analyze(visitor(), *fields(upload(uploads)))
    while not next(views).notice.get("words"):
        pass
    stopped = page.stop(visitor())
    assert "Stopped" in stopped.notice["sentence"]
    assert (stopped.go["interactive"], stopped.stop["interactive"]) == (True, False)
    final = list(views)[-1]
    assert "Stopped" in final.notice["sentence"]
    assert is_skipped(final.panes)
    wait_for(lambda: backend.closed_early == 1)


def test_closing_the_handler_stops_the_work(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    views = page.analyze(visitor(), *fields(upload(uploads)))
    while not next(views).notice.get("words"):
        pass
    views.close()
    wait_for(lambda: backend.closed_early == 1)
    assert analyze(page, upload(uploads))[-1].notice is None


def test_a_new_analysis_stops_the_one_before(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    before = page.analyze(visitor(), *fields(upload(uploads)))
    next(before), next(before)
    after = page.analyze(visitor(), *fields(upload(uploads), adapter="silent"))
    next(after)
    assert list(before)[-1:] == []
    assert list(after)[-1].notice is None


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    waited = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        waited.wait(0.02)
    assert condition()


# sessions


def test_visits_do_not_see_each_other(page: Any, uploads: Path):
    done = analyze(page, upload(uploads), visitor("one"))[-1]
    (view,) = look(page, done, visitor("two"))
    assert "no longer kept" in view.notice["sentence"]
    assert Exports(page.service).numbers(done.key, done.controls, visitor("two"))[0] is None


def test_a_visit_that_ends_leaves_nothing(page: Any, uploads: Path):
    image = upload(uploads)
    page.receive(image, visitor())
    analyze(page, image)
    assert page.service.results.nbytes > 0
    page.leave(visitor())
    assert page.service.results.nbytes == 0
    assert not Path(image["path"]).exists()


def test_a_page_holds_a_key_and_no_array(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    assert re.fullmatch(r"[0-9a-f]{64}", done.key)
    assert not any(isinstance(value, np.ndarray) for value in done)


def test_the_rate_limit_counts_work_not_cached_answers(uploads: Path):
    page = page_over(ScriptedBackend(), limits=Limits(requests_per_minute=2))
    image = upload(uploads)
    assert [analyze(page, image)[-1].notice for _ in range(4)] == [None] * 4
    assert analyze(page, image, adapter="silent")[-1].notice is None
    refused = analyze(page, image, adapter="vision-lora")[-1].notice
    assert "within a minute" in refused["sentence"]
    assert analyze(page, image, visitor("two", "192.0.2.2"), adapter="vision-lora")[-1].notice is None


# pictures that come in


def test_a_file_that_is_no_image_is_taken_away_with_the_reason(page: Any, uploads: Path):
    image, notice = page.receive(upload(uploads, "<b>.png", content=b"no image"), visitor())
    assert image is None
    assert notice["kind"] == "error"
    assert "not an image that can be read" in notice["sentence"]


def test_a_huge_picture_is_refused_before_it_is_decoded(uploads: Path):
    page = page_over(ScriptedBackend(), limits=Limits(max_pixels=100))
    image, notice = page.receive(upload(uploads), visitor())
    assert image is None
    assert "the limit is 100" in notice["sentence"]


def test_a_good_picture_stays(page: Any, uploads: Path):
    image, notice = page.receive(upload(uploads), visitor())
    assert is_skipped(image)
    assert notice is None


def test_our_own_pictures_stay_when_a_visit_ends(page: Any, uploads: Path):
    path = uploads / "example.png"
    page.examples[0].image.save(path)
    page.receive({"path": str(path)}, visitor())
    page.leave(visitor())
    assert path.exists()


def test_what_was_done_to_a_picture_is_said(page: Any, uploads: Path):
    see_through = picture(64, 96).convert("RGBA")
    see_through.putalpha(128)
    buffer = io.BytesIO()
    see_through.save(buffer, "PNG")
    _, notice = page.receive(upload(uploads, content=buffer.getvalue()), visitor())
    assert notice["kind"] == "info"
    assert "laid on white" in notice["sentence"]


@pytest.mark.parametrize("index", [None, -1, 99, "0", 1.0])
def test_an_example_that_does_not_exist_changes_nothing(page: Any, index: Any):
    assert all(is_skipped(value) for value in page.example(SimpleNamespace(_data={"index": index})))


def test_an_example_fills_the_input_column(page: Any):
    image, prompt, *_ = page.example(SimpleNamespace(_data={"index": 0}))
    assert image.size == page.examples[0].image.size
    assert prompt == "Describe the image."


# words of strangers


def test_hostile_words_travel_as_plain_values(page: Any, uploads: Path):
    """Values are text for text nodes; only the bars hold markup, drawn from numbers alone."""
    views = analyze(page, upload(uploads, "<script>.png"), prompt=f"{HOSTILE} {TEMPLATE}")
    done = views[-1]
    chips = next(row["chips"] for row in done.answers["rows"] if row["chips"])
    assert HOSTILE in [chip["text"] for chip in chips]
    for name in ("bar", "difference_bar"):
        assert HOSTILE not in done.panes[name]["svg"]
        assert "${" not in done.panes[name]["svg"]


def test_no_template_of_the_page_has_a_place_for_a_value():
    demo = build(Settings(model="scripted"), ScriptedBackend)
    parts = [block for block in demo.blocks.values() if type(block).__name__ == "HTML"]
    assert len(parts) >= 8
    for part in parts:
        own = (part.elem_id or "").startswith("part-")
        assert part.html_template == "" if own else part.js_on_load is None
        if not own:
            assert "${" not in part.value
            assert "{{" not in part.value


def test_the_script_takes_markup_from_nothing_but_the_bars():
    script = (Path(app.FOLDER) / "page.js").read_text(encoding="utf-8")
    assert script.count("innerHTML") == 1
    assert "holder.innerHTML = value.svg" in script
    assert not re.search(r"outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)
    assert "://" not in script


# files to keep


def saved_numbers(page: Any, done: Any, folder: Path, **changes: Any) -> Comparison:
    controls = {"choice": done.controls["choice"] | changes}
    file, refused = Exports(page.service).numbers(done.key, controls, visitor())
    assert refused is None
    path = folder / file["name"]
    path.write_bytes(base64.b64decode(file["source"].partition(",")[2]))
    return Comparison.load(path)


def test_the_saved_numbers_hold_what_was_shown_and_the_heads_of_the_token_that_was_looked_at(
    page: Any, backend: ScriptedBackend, uploads: Path, tmp_path: Path
):
    done = analyze(page, upload(uploads))[-1]
    kept = page.service.results.get("one", done.key).comparison
    own = saved_numbers(page, done, tmp_path, token=FIRST_ANSWER)
    np.testing.assert_array_equal(own.recordings[1].by_head, kept.recordings[1].by_head)
    assert len(backend.requests) == 1
    other = saved_numbers(page, done, tmp_path, token=FIRST_ANSWER + 2)
    asked = Request(picture(64, 96), "What is here?", adapters=(None, "find-red"), focus=(FIRST_ANSWER + 2,))
    for recording, expected in zip(other.recordings, scripted(asked).recordings, strict=True):
        assert recording.focus == (FIRST_ANSWER + 2,)
        assert recording.answer == "".join(ANSWER)
        np.testing.assert_array_equal(recording.by_head, expected.by_head)
        np.testing.assert_array_equal(recording.by_token, expected.by_token)
    assert not np.array_equal(other.recordings[1].by_head, kept.recordings[1].by_head)


def test_a_saved_file_is_named_after_adapter_token_and_layer(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    controls = {"choice": done.controls["choice"] | {"token": FIRST_ANSWER, "layer": 2, "head": 1}}
    exports = Exports(page.service)
    picture_, _ = exports.pictures(done.key, controls, visitor())
    numbers, _ = exports.numbers(done.key, controls, visitor())
    for file, ending in ((picture_, "png"), (numbers, "npz")):
        assert re.fullmatch(rf"attention-base-find-red-token-{FIRST_ANSWER}-.*layer-2-head-1\.{ending}", file["name"])


def test_the_saved_pictures_are_a_png(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    exports = Exports(page.service)
    first, _ = exports.pictures(done.key, done.controls, visitor())
    second, _ = exports.pictures(done.key, done.controls, visitor())
    assert base64.b64decode(first["source"].partition(",")[2]).startswith(b"\x89PNG")
    assert second["serial"] > first["serial"]
    assert exports.pictures("", done.controls, visitor())[0] is None


# the top and the start


def test_the_status_line_names_model_backend_device_and_queue(page: Any):
    assert page.status() == {"state": "ready", "words": ["scripted", "local", "cpu, float32", "nobody is waiting"]}


def test_adapters_are_offered_when_the_backend_is_open(page: Any):
    (waited,) = page.wait()
    status, adapter, compare, about, notice = waited
    assert "kind" not in notice
    assert status["state"] == "ready"
    assert adapter["choices"][0][0] == "find-red" or adapter["choices"][0] == "find-red"
    assert len(compare["choices"]) == len(adapter["choices"]) + 1
    assert any("rank 8" in line for line in about)


def test_the_launch_keeps_visitors_apart_from_files_and_each_other():
    demo = build(Settings(model="scripted", auth="me:pass:word", host="0.0.0.0", port=7999), ScriptedBackend)
    options = demo.launch_options()
    assert options["auth"] == ("me", "pass:word")
    assert (options["server_name"], options["server_port"]) == ("0.0.0.0", 7999)
    assert options["run_history"] is False
    assert options["ssr_mode"] is False
    assert "allowed_paths" not in options
    assert demo.delete_cache is not None


def test_only_named_endpoints_are_public():
    demo = build(Settings(model="scripted"), ScriptedBackend)
    public = {fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public" and fn.api_name}
    assert {"analyze", "adapters", "layers"} == public


def test_programs_get_the_same_maps_through_gradio(page: Any, uploads: Path):
    image = upload(uploads)
    endpoints = Endpoints(page.service)
    found = endpoints.analyze(image, "What?", visitor(), adapter=["base", "find-red"], layer=1, head="1", token="6")
    assert [each["adapter"] for each in found["maps"]] == ["base", "find-red"]
    assert (found["maps"][0]["layer"], found["maps"][0]["head"], found["maps"][0]["token"]) == (1, 1, 6)
    assert found["maps"][0]["overlay"].startswith("data:image/png;base64,")
    assert not Path(image["path"]).exists()
    with pytest.raises(app.gr.Error, match="&lt;b&gt;"):
        endpoints.analyze(upload(uploads), "What?", visitor(), view="<b>")


def test_a_photo_is_decoded_once_from_its_arrival_to_its_last_question(
    page: Any, backend: ScriptedBackend, uploads: Path, monkeypatch: pytest.MonkeyPatch
):
    decoded: list[int] = []
    real = analysis.decode_photo
    monkeypatch.setattr(analysis, "decode_photo", lambda *given: decoded.append(1) or real(*given))
    image = upload(uploads)
    page.receive(image, visitor())
    analyze(page, image)
    analyze(page, image, prompt="And here?")
    assert decoded == [1]
    assert backend.requests[0].image is backend.requests[1].image
    analyze(page, image, visitor("two"))
    assert decoded == [1, 1]
