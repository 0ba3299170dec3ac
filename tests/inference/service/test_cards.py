"""The page's cards: a question about what is looked at, its price, its answer, its refusals, its end."""

import base64
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.explanations import Attribution, Knockout
from inference.questions import AttributionOptions, ChanceOptions, KnockoutOptions, PartsOptions
from inference.service.cards import Cards
from inference.service.exports import Exports
from inference.service.prices import ways
from inference.settings import Limits
from tests.inference.service.events import (
    FIRST_ANSWER,
    analyze,
    fields,
    look,
    page_over,
    scene,
    upload,
    visitor,
    wait_for,
)
from tests.scripted_backend import HEADS, LAYERS, MODEL, ScriptedBackend
from tests.scripted_explanations import PACE
from tests.visualize.report_read import Page as Document
from visualize import finding, select
from visualize.numbers.reduce import Selection

QUESTIONS: dict[str, dict[str, Any]] = {
    "attribution": {"question": "attribution"},
    "heads": {"question": "attribution", "by": "head"},
    "knockout": {"question": "knockout", "top": 10},
    "chance": {"question": "chance"},
    "parts": {"question": "parts"},
}


@pytest.fixture
def shown(page: Any, uploads: Path) -> Any:
    return analyze(page, upload(uploads))[-1]


def ask(page: Any, done: Any, card: str, options: Any = None, who: Any = None, **changes: Any) -> list[Any]:
    changes.setdefault("token", FIRST_ANSWER)
    question = {"card": card, "options": QUESTIONS[card] if options is None else options}
    looked = look(page, done, **changes) | {"question": question}
    return [view.cards for view in Cards(page.service).explain(done.key, looked, who or visitor())]


@pytest.mark.parametrize("card", QUESTIONS)
def test_every_question_ends_in_a_sentence_that_says_on_what_it_was_measured(
    page: Any, backend: ScriptedBackend, shown: Any, card: str
):
    first, *_, last = ask(page, shown, card)
    assert (first["state"], first["key"], first["card"]) == ("busy", shown.key, card)
    assert first["of"] > 0
    assert last["state"] == "done"
    found = {each["card"]: each for each in last["findings"]}
    assert card in found
    assert found[card]["sentence"] == finding(backend.explain(backend.requests[-1], backend.questions[-1])).sentence
    assert found[card]["measured"].startswith("token 5 “The”, the answer's first · base → find-red")
    assert (found[card]["token"], found[card]["first"], found[card]["second"]) == (5, "base", "find-red")
    json.dumps(last, allow_nan=False)


def test_the_answer_that_was_shown_is_replayed_through_the_two_that_are_looked_at(
    page: Any, backend: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads), adapter=["find-red", "vision-lora"], scale=0.5, modules=["q_proj"])[-1]
    ask(page, done, "attribution", against="find-red", adapter="vision-lora", token=FIRST_ANSWER + 1)
    request, question = backend.requests[-1], backend.questions[-1]
    assert request.adapters == ("find-red", "vision-lora")
    comparison = page.service.kept(page.service.session("one"), done.key).comparison
    assert request.answer == tuple(token.id for token in comparison.tokens if token.role in ("answer", "end"))
    assert (request.scale, request.modules, request.prompt) == (0.5, ("q_proj",), "What is here?")
    assert question == AttributionOptions(token=FIRST_ANSWER + 1)


def test_asking_again_is_instant_and_another_token_is_not(page: Any, backend: ScriptedBackend, shown: Any):
    first = ask(page, shown, "attribution")[-1]
    again = ask(page, shown, "attribution")
    assert len(backend.questions) == 1
    assert [each["state"] for each in again] == ["busy", "done"]
    assert again[-1]["findings"] == first["findings"]
    other = ask(page, shown, "attribution", token=FIRST_ANSWER + 1)[-1]
    assert len(backend.questions) == 2
    assert other["findings"][0]["sentence"] != first["findings"][0]["sentence"]
    ask(page, shown, "attribution", who=visitor("two"))  # whose result it is not
    assert len(backend.questions) == 2


def test_heads_answer_the_question_before_too_and_layers_propose_their_heads(
    page: Any, backend: ScriptedBackend, shown: Any
):
    heads = ask(page, shown, "heads")[-1]["findings"]
    assert [each["card"] for each in heads] == ["attribution", "heads"]
    assert heads[1]["heads"]["order"][0][0] == 1  # the script's strongest head of layer 0
    layers = ask(page, shown, "heads", {"question": "attribution", "by": "layer"})[-1]["findings"][-1]
    assert layers["heads"] is None
    (more,) = layers["more"]
    assert more["options"]["layers"] == [0, LAYERS - 1]
    replays = AttributionOptions(by="head", layers=[0, LAYERS - 1]).replays(MODEL)
    assert more["price"] == f"{replays} replays, about {replays * PACE:.1f} s"
    ask(page, shown, "heads", more["options"])
    assert backend.questions[-1].layers == (0, LAYERS - 1)  # type: ignore[attr-defined]


def test_a_card_is_about_one_token_of_the_answer(page: Any, backend: ScriptedBackend, shown: Any):
    (last,) = ask(page, shown, "attribution", token=[5, 6])
    assert last["state"] == "refused"
    assert "one token; several" in last["sentence"]
    assert "Click" in last["hint"]
    assert backend.questions == []
    ask(page, shown, "attribution", token=0)  # a word of the question is looked at
    told = scene(page, shown)
    assert [each.token for each in backend.questions] == [told["questioned"]] == told["digits"][:1]


def test_what_the_engine_refuses_is_the_cards_sentence_and_nothing_is_lost(
    page: Any, backend: ScriptedBackend, uploads: Path
):
    done = analyze(page, upload(uploads), adapter=["silent"])[-1]
    before = page.service.results.nbytes
    last = ask(page, done, "attribution", {"question": "attribution", "outcome": "margin"})[-1]
    assert last["state"] == "refused"
    assert "Both variants would say" in last["sentence"]
    assert last["hint"].startswith("Measure another token")
    assert page.service.results.nbytes == before
    assert ask(page, done, "chance")[-1]["findings"][0]["sentence"].startswith("Cannot be told apart from chance: 0 of")
    own = analyze(page, upload(uploads), replay="own")[-1]
    refused = ask(page, own, "attribution", token=FIRST_ANSWER)[-1]
    assert "replays one answer" in refused["sentence"]


def test_an_error_of_the_engine_is_a_sentence(uploads: Path):
    backend = ScriptedBackend()
    page = page_over(backend)
    done = analyze(page, upload(uploads))[-1]
    backend.fail = RuntimeError("secret")
    last = ask(page, done, "attribution")[-1]
    assert last["state"] == "refused"
    assert "secret" not in str(last)
    backend.fail = None
    assert ask(page, done, "attribution")[-1]["state"] == "done"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"question": "why"},
        {"question": "attribution", "by": "token"},
        {"question": "chance", "controls": "many"},
        {"question": "chance", "by": "head"},
        {"question": "knockout"},
        {"question": "knockout", "top": 0},
        {"question": "knockout", "top": 5, "cells": [1]},
        {"question": "knockout", "box": [0, 0, 10]},
        {"question": "knockout", "box": [100_000, 0, 100_001, 10]},
        {"question": "parts", "strengths": [1, 0]},
        {"question": "attribution", "path": "/etc/passwd"},
        "attribution",
    ],
)
def test_what_a_browser_makes_up_is_refused_in_words(page: Any, backend: ScriptedBackend, shown: Any, options: Any):
    last = ask(page, shown, "attribution", options)[-1]
    assert last["state"] == "refused"
    assert len(last["sentence"]) > 10
    assert "passwd" not in str(last)
    assert backend.questions == []


def test_the_cells_are_the_top_of_the_map_that_is_shown(page: Any, backend: ScriptedBackend, shown: Any):
    last = ask(page, shown, "knockout", {"question": "knockout", "top": 20}, layer=2, head=1)[-1]
    question = backend.questions[-1]
    assert isinstance(question, KnockoutOptions)
    result = page.service.kept(page.service.session("one"), shown.key)
    heat = select(result.comparison.recording("find-red"), Selection(2, FIRST_ANSWER, 1)).ravel()
    assert len(question.cells) == max(1, round(0.2 * heat.size))
    assert min(heat[list(question.cells)]) >= max(np.delete(heat, list(question.cells)))
    assert question.shape == "scattered"
    assert (
        "the top 20 % of find-red's map: predicting “The” · layer 2 · head 1 · raw view"
        in last["findings"][0]["measured"]
    )


def test_the_drawn_box_is_its_cells_and_beside_it_the_same_shape_elsewhere(
    page: Any, backend: ScriptedBackend, shown: Any
):
    ask(page, shown, "knockout", {"question": "knockout", "box": [0, 0, 64, 32]})
    question = backend.questions[-1]
    assert isinstance(question, KnockoutOptions)
    assert (question.cells, question.shape) == ((0, 3), "shifted")  # the left column of 2 × 3 cells of 32 pixels


def test_once_a_question_is_answered_there_is_nothing_to_stop(page: Any, shown: Any):
    for card in ("attribution", "heads", "heads"):  # the last is kept
        looked = look(page, shown, token=FIRST_ANSWER) | {"question": {"card": card, "options": QUESTIONS[card]}}
        first, *_, last = Cards(page.service).explain(shown.key, looked, visitor())
        assert (first.cards["state"], first.stop["interactive"]) == ("busy", True)
        assert (last.cards["state"], last.stop["interactive"]) == ("done", False)


def test_a_question_is_stopped_before_its_end(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    done = analyze(page, upload(uploads))[-1]
    looked = look(page, done, token=FIRST_ANSWER) | {"question": {"card": "heads", "options": QUESTIONS["heads"]}}
    cards = Cards(page.service)
    views = cards.explain(done.key, looked, visitor())
    while next(views).cards.get("done", 0) < 2:
        pass
    cards.stop(visitor())
    (last,) = views  # and not another replay is told
    assert last.cards["state"] == "stopped"
    assert last.stop["interactive"] is False
    wait_for(lambda: backend.closed_early == 1)
    assert ask(page, done, "attribution")[-1]["state"] == "done"


def test_the_pages_own_stop_and_the_next_question_stop_it_too(uploads: Path):
    backend = ScriptedBackend(pause=0.05)
    page = page_over(backend)
    done = analyze(page, upload(uploads))[-1]
    looked = look(page, done, token=FIRST_ANSWER) | {"question": {"card": "heads", "options": QUESTIONS["heads"]}}
    views = Cards(page.service).explain(done.key, looked, visitor())
    next(views)
    page.stop(visitor())
    assert list(views)[-1].cards["state"] == "stopped"
    views = Cards(page.service).explain(done.key, looked, visitor())
    next(views)
    other = Cards(page.service).explain(
        done.key, looked | {"question": {"card": "parts", "options": QUESTIONS["parts"]}}, visitor()
    )
    next(other)
    assert list(views)[-1].cards["state"] == "stopped"
    assert list(other)[-1].cards["state"] == "done"


def test_questions_wait_in_the_queue_and_count_for_the_rate_limit(uploads: Path):
    gate = threading.Event()
    backend = ScriptedBackend()
    page = page_over(backend, limits=Limits(requests_per_minute=3))
    done = analyze(page, upload(uploads))[-1]
    backend.gate = gate
    looked = look(page, done, token=FIRST_ANSWER) | {"question": {"card": "parts", "options": QUESTIONS["parts"]}}
    running = Cards(page.service).explain(done.key, looked, visitor())
    next(running), next(running)
    waiting = page.analyze(visitor("two"), *fields(upload(uploads), adapter=["silent"]))
    next(waiting)
    assert next(waiting).notice["sentence"] == "Waiting: one analysis is before yours."
    gate.set()
    assert list(running)[-1].cards["state"] == "done"
    list(waiting)
    refused = ask(page, done, "chance")[-1]
    assert "within a minute" in refused["sentence"]


def test_the_price_is_the_replays_and_the_seconds_of_this_results_own_timings(page: Any, shown: Any):
    comparison = page.service.kept(page.service.session("one"), shown.key).comparison
    offered = ways(comparison)
    assert list(offered) == ["attribution", "heads", "knockout", "chance", "parts"]
    replay, reading = 0.2 / 2, (0.1 + 0.4) / 2  # of the scripted timings: two variants
    assert (offered["attribution"][0].replays, offered["attribution"][0].seconds) == (8, pytest.approx(8 * replay))
    heads = 8 + 2 * (LAYERS + LAYERS * HEADS)
    assert (offered["heads"][0].replays, offered["heads"][0].label) == (heads, "every head")
    assert offered["knockout"][0].replays == 2 * (2 + 16)
    chance = offered["chance"][0]
    assert chance.replays == ChanceOptions().replays(MODEL)
    assert chance.seconds == pytest.approx(19 * replay + 17 * reading)
    assert offered["parts"][0].replays == PartsOptions().replays(MODEL)
    assert offered["attribution"][0].json()["price"] == "8 replays, about 0.8 s"


def test_a_result_without_timings_has_no_estimate_until_a_replay_was_timed(page: Any, shown: Any):
    comparison = replace(page.service.kept(page.service.session("one"), shown.key).comparison, timings={})
    assert ways(comparison)["attribution"][0].json()["price"] == "8 replays"
    ask(page, shown, "attribution")
    assert ways(comparison, page.service.pace)["attribution"][0].json()["price"] == f"8 replays, about {8 * PACE:.1f} s"


def test_one_variant_alone_is_asked_only_where_it_needs_to_look(page: Any, backend: ScriptedBackend, uploads: Path):
    done = analyze(page, upload(uploads), adapter=[])[-1]
    comparison = page.service.kept(page.service.session("one"), done.key).comparison
    assert list(ways(comparison)) == ["knockout"]
    found = ask(page, done, "knockout")[-1]["findings"][0]
    assert backend.requests[-1].adapters == (None,)
    assert (found["first"], found["second"]) == ("base", "base")


def test_what_was_found_is_in_the_report_and_goes_with_the_visit(page: Any, shown: Any):
    for card in ("heads", "parts"):
        ask(page, shown, card)
    saved, _ = Exports(page.service).report(shown.key, look(page, shown), visitor())
    document = Document(base64.b64decode(saved["source"].partition(",")[2]).decode())
    cards = [each["card"] for each in document.about()["findings"]]
    assert cards == ["parts", "attribution", "heads"]
    page.leave(visitor())
    assert page.service.results.nbytes == 0


def test_what_was_found_of_replaced_files_is_forgotten(page: Any, backend: ScriptedBackend, shown: Any):
    ask(page, shown, "attribution")
    assert page.service.results.explained_of("one", shown.key)
    backend.offered = tuple(replace(each, stamp="new") for each in backend.offered)
    page.service.adapters()
    assert page.service.results.explained_of("one", shown.key) == ()


def test_the_records_of_the_script_are_the_engines_kinds(backend: ScriptedBackend, page: Any, shown: Any):
    ask(page, shown, "attribution"), ask(page, shown, "knockout")
    kept = page.service.results.explained_of("one", shown.key)
    assert [type(each.explanation) for each in kept] == [Attribution, Knockout]
    assert scene(page, shown)["variants"] == ["base", "find-red"]
