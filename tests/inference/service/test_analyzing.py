"""A question of the page: what happens meanwhile, what comes out, how it is stopped, whose it is."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.demo import EXAMPLE_SCREENS, LOOKING_LAYER
from inference.errors import BackendError, OutOfMemoryError
from inference.service.cards import _measured
from inference.service.exports import Exports
from inference.settings import Limits, Settings
from tests.built_page import build, build_handlers
from tests.inference.service.events import (
    analyze,
    fields,
    is_skipped,
    look,
    one,
    page_over,
    record,
    scene,
    upload,
    visitor,
    wait_for,
)
from tests.scripted_backend import ANSWER, HOSTILE, TEMPLATE, ScriptedBackend
from visualize import measures, token_of_largest_change
from visualize.page import Choice


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
    assert (done.viewer["key"], done.viewer["focus"]) == (done.key, None)
    assert scene(page, done)["variants"] == ["base", "find-red"]
    json.dumps(done.viewer)


def test_up_to_four_adapters_are_asked_at_once(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads), adapter=["find-red", "silent", "vision-lora"])[-1]
    assert scene(page, done)["variants"] == ["base", "find-red", "silent", "vision-lora"]
    assert backend.requests[-1].answer_from == "find-red"
    refused = analyze(page, upload(uploads), adapter=["a", "b", "c", "d", "e"])[-1]
    assert "at most 4 adapters" in refused.notice["sentence"]


def test_it_opens_on_the_token_of_the_largest_change(page: Any, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    comparison = page.service.kept(page.service.session("one"), done.key).comparison
    opening = scene(page, done)["opening"]
    assert opening["token"] == token_of_largest_change(comparison, None, "find-red")
    assert comparison.tokens[opening["token"]].role == "answer"


def test_the_same_question_is_answered_from_the_cache(page: Any, backend: ScriptedBackend, uploads: Path):
    image = upload(uploads)
    first = analyze(page, image)[-1]
    again = analyze(page, image, scale=1.0)
    assert len(backend.requests) == 1
    assert again[-1].key == first.key
    analyze(page, image, adapter=["vision-lora"])
    assert len(backend.requests) == 2


def test_the_first_visit_is_finished_before_anything_ran(backend: ScriptedBackend, uploads: Path):
    page = build_handlers(Settings(), lambda: backend)
    opening = page.opening()
    shown = scene(page, opening)
    assert shown["variants"] == ["base", EXAMPLE_SCREENS[0].adapter]
    assert (shown["opening"]["layer"], shown["opening"]["head"]) == (LOOKING_LAYER, "mean")
    word = shown["tokens"][shown["opening"]["token"]]["text"]
    assert word.strip() == EXAMPLE_SCREENS[0].name.split()[1]
    box = EXAMPLE_SCREENS[0].draw().find(EXAMPLE_SCREENS[0].name).box
    assert shown["opening"]["boxes"] == [list(box)]
    for recording in page.first.comparison.recordings:  # both look at the button
        heat = recording.by_token[shown["opening"]["token"], LOOKING_LAYER]
        assert measures.pointing_game(heat, box, page.first.comparison.image_size)
    assert opening.notice is None
    base, other = page.first.comparison.recordings
    parts = next(at for at, (one, two) in enumerate(zip(base.answer_ids, other.answer_ids, strict=False)) if one != two)
    asked = _measured(page.first.comparison, Choice.read(shown["opening"], page.first.comparison))
    answer = [token["index"] for token in shown["tokens"] if token["role"] == "answer"]
    assert (asked, shown["questioned"]) == (answer[parts], answer[parts])  # the digit at which the two part
    path = uploads / "first.png"
    page.first.request.image.to_pil().save(path)
    asked = page.first.comparison.prompt
    done = analyze(page, {"path": str(path)}, prompt=asked, adapter=[EXAMPLE_SCREENS[0].adapter])[-1]
    assert done.key == opening.key
    assert backend.requests == []


def test_the_fields_become_the_request(page: Any, backend: ScriptedBackend, uploads: Path):
    image = upload(uploads)
    analyze(page, image, system="Be brief.", compare="vision-lora", replay="compare", max_new_tokens=7, scale=0.5)
    (request,) = backend.requests
    assert (request.adapters, request.answer_from) == (("vision-lora", "find-red"), "vision-lora")
    assert (request.system, request.max_new_tokens, request.scale) == ("Be brief.", 7, 0.5)
    analyze(page, image, adapter=[])
    assert backend.requests[-1].adapters == (None,)


def test_each_its_own_answer_has_no_difference(page: Any, uploads: Path):
    shown = scene(page, analyze(page, upload(uploads), replay="own")[-1])
    assert (shown["own"], shown["changed"]["rows"], shown["changed"]["most"]) == (True, {}, None)


def test_one_variant_alone_is_shown_alone(page: Any, uploads: Path):
    assert scene(page, analyze(page, upload(uploads), adapter=[])[-1])["variants"] == ["base"]


def test_an_edited_answer_is_replayed_through_the_same_variants(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads))[-1]
    replayed = list(page.replay(done.key, look(page, done) | {"answer": {"text": "A blue square"}}, visitor()))[-1]
    assert replayed.key != done.key
    asked = backend.requests[-1]
    assert (asked.answer, asked.adapters, asked.prompt) == ("A blue square", (None, "find-red"), "What is here?")
    written = page.service.looked_at(done.viewer["ticket"]).comparison
    twice = list(page.replay(replayed.key, {"answer": {"text": "No"}}, visitor()))[-1]
    for edited in (replayed, twice):
        result = page.service.looked_at(edited.viewer["ticket"])
        assert result.own is written, "what each wrote is still known"
        assert [each.answer for each in result.comparison.recordings] == [None, None], "and is not what is replayed"
    own = list(page.replay(done.key, {"answer": {"variant": "base"}}, visitor()))[-1]
    assert (backend.requests[-1].answer, backend.requests[-1].answer_from) == (None, None)
    assert own.key not in (done.key, replayed.key)
    assert "nobody" in list(page.replay(done.key, {"answer": {"variant": "nobody"}}, visitor()))[-1].notice["sentence"]
    for nothing in (None, {}, {"answer": "x"}, {"answer": {"text": " "}}, {"answer": {"text": ["x"]}}):
        assert "no answer to replay" in one(page.replay(done.key, nothing, visitor())).notice["sentence"]
    assert "no longer kept" in one(page.replay(done.key, {"answer": {"text": "x"}}, visitor("two"))).notice["sentence"]


def test_what_a_careful_colleague_would_say_is_said(page: Any, uploads: Path):
    warnings = scene(page, analyze(page, upload(uploads), adapter=["silent"])[-1])["warnings"]
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
        ({"adapter": ["nobody"]}, "No adapter is called"),
        ({"adapter": ["../x"]}, "cannot be an adapter's name"),
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
    assert all(is_skipped(value) for value in (final.viewer, final.key))


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

    page = build_handlers(Settings(model="scripted"), cannot)
    page.wait()
    waited = page.offer(["find-red"])
    assert waited.status["state"] == "failed"
    assert "no such backend" in " ".join(waited.status["words"])
    assert waited.notice["sentence"] == "This version has no such backend."
    final = analyze(page, upload(uploads))[-1]
    assert "no such backend" in final.notice["sentence"]


def test_another_adapter_is_asked_the_question_that_was_asked_last(page: Any, backend: ScriptedBackend, uploads: Path):
    image = upload(uploads)
    analyze(page, image)
    final = list(page.analyze_again(visitor(), *fields(image, adapter=["silent"])))[-1]
    assert scene(page, final)["variants"] == ["base", "silent"]
    assert [request.adapters[-1] for request in backend.requests] == ["find-red", "silent"]


def test_a_menu_asks_nothing_by_itself(page: Any, backend: ScriptedBackend, uploads: Path):
    """Before a first question, of no photo, of the same variants, of words or a photo that nobody sent off yet."""
    image, other = upload(uploads), upload(uploads, "other.png", seed=1)
    before = [fields(None), fields(image, adapter=["silent"])]
    after = [fields(image), fields(image, adapter=["silent"], prompt="Half a"), fields(other, adapter=["silent"])]
    for unasked in before:
        assert all(is_skipped(value) for value in one(page.analyze_again(visitor(), *unasked)))
    analyze(page, image)
    for unasked in after:
        assert all(is_skipped(value) for value in one(page.analyze_again(visitor(), *unasked)))
    assert len(backend.requests) == 1


def test_a_widget_that_reports_a_change_twice_runs_it_once(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    first = page.analyze(visitor(), *fields(upload(uploads)))
    next(first), next(first)
    assert all(is_skipped(value) for value in one(page.analyze(visitor(), *fields(upload(uploads)))))
    assert list(first)[-1].notice is None
    assert len(backend.requests) == 1


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
    assert is_skipped(final.viewer)
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
    after = page.analyze(visitor(), *fields(upload(uploads), adapter=["silent"]))
    next(after)
    assert list(before)[-1:] == []
    assert list(after)[-1].notice is None


def test_visits_do_not_see_each_other(page: Any, uploads: Path):
    done = analyze(page, upload(uploads), visitor("one"))[-1]
    assert "no longer kept" in one(record(page, done, visitor("two"))).notice["sentence"]
    assert Exports(page.service).numbers(done.key, look(page, done), visitor("two"))[0] is None


@pytest.mark.parametrize("received", [True, False])
def test_a_visit_that_ends_leaves_nothing(page: Any, uploads: Path, received: bool):
    image = upload(uploads)
    page.service.uploads.add("192.0.2.1", [Path(image["path"])])
    if received:
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
    assert analyze(page, image, adapter=["silent"])[-1].notice is None
    refused = analyze(page, image, adapter=["vision-lora"])[-1].notice
    assert "within a minute" in refused["sentence"]
    assert analyze(page, image, visitor("two", "192.0.2.2"), adapter=["vision-lora"])[-1].notice is None


def test_hostile_words_travel_as_plain_values(page: Any, uploads: Path):
    """Values are text for text nodes."""
    views = analyze(page, upload(uploads, "<script>.png"), prompt=f"{HOSTILE} {TEMPLATE}")
    shown = scene(page, views[-1])
    assert f" {HOSTILE}" in [token["text"] for token in shown["tokens"]]
    assert shown["prompt"] == f"{HOSTILE} {TEMPLATE}"


def test_a_page_that_comes_too_late_is_told_so_and_waits_for_nothing(uploads: Path):
    page = page_over(ScriptedBackend(), limits=Limits(queue_length=1))
    with page.service.queue.place("a"), page.service.queue.place("b"):
        (view, *_) = analyze(page, upload(uploads))[-1:]
    assert "1 analyses are waiting already" in view.notice["sentence"]
    whole = build(Settings(model="scripted", limits=Limits(queue_length=3)), ScriptedBackend)
    events = [fn for fn in whole.fns.values() if fn.concurrency_id == "engine"]
    assert events
    assert all(fn.concurrency_limit > whole.service.queue.capacity for fn in events)  # not unheard
