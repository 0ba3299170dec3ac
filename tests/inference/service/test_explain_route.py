"""`POST /api/explain`: the fields of an analysis and a question's; what comes back is the record, and its sentence."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from inference.questions import AttributionOptions, ChanceOptions, KnockoutOptions, PartsOptions
from inference.settings import Limits
from tests.inference.service.test_routes import client_for, png, refused
from tests.scripted_backend import HEADS, LAYERS, ScriptedBackend
from visualize import finding


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture(scope="module")
def client(backend: ScriptedBackend) -> Iterator[TestClient]:
    with client_for(backend, limits=Limits(requests_per_minute=10_000)) as client:
        yield client


def ask(client: TestClient, **fields: Any) -> Any:
    sent = {"prompt": "What?", "adapter": ["base", "find-red"], **fields}
    return client.post("/api/explain", files={"image": ("photo.png", png())}, data=sent)


def test_a_question_is_answered_with_its_sentence_and_all_numbers(client: TestClient, backend: ScriptedBackend):
    answer = ask(client, question="attribution", by="head", layers="0,5", token="6").json()
    assert backend.questions[-1] == AttributionOptions(token=6, by="head", layers=(0, 5))
    record = backend.explain(backend.requests[-1], AttributionOptions(token=6, by="head", layers=(0, 5)))
    assert answer["sentence"] == finding(record).sentence
    assert [each["card"] for each in answer["findings"]] == ["attribution", "heads"]
    assert answer["outcomes"] == record.outcomes.tolist()
    assert answer["by_head"][1] == [None] * HEADS  # not asked for
    assert len(answer["by_layer"]) == LAYERS
    assert (answer["variants"], answer["token"]) == (["base", "find-red"], {"index": 6, "text": " red"})


def test_every_question_has_its_options(client: TestClient, backend: ScriptedBackend):
    for fields, question in (
        ({"question": "chance", "controls": "4", "seed": "7"}, ChanceOptions(controls=4, seed=7)),
        ({"question": "parts", "strengths": "0, 0.5, 1"}, PartsOptions(strengths=(0, 0.5, 1))),
        ({"question": "attribution", "outcome": "margin"}, AttributionOptions(outcome="margin")),
        (
            {"question": "knockout", "cells": ["1", "4"], "rows": "answer", "controls": "3"},
            KnockoutOptions((1, 4), rows="answer", controls=3, shape="scattered"),
        ),
    ):
        answer = ask(client, **fields)
        assert answer.status_code == 200, answer.text
        assert backend.questions[-1] == question
        assert answer.json()["sentence"].endswith(".")


def test_one_adapter_alone_is_asked_against_base(client: TestClient, backend: ScriptedBackend):
    assert ask(client, question="parts", adapter="find-red").json()["variants"] == ["base", "find-red"]
    assert backend.requests[-1].answer_from == "find-red"


def test_the_top_of_a_map_is_taken_from_the_analysis_before_it(client: TestClient, backend: ScriptedBackend):
    before = len(backend.requests)
    answer = ask(client, question="knockout", top="17", layer="2", head="1").json()
    analysis, asked = backend.requests[before:]
    assert asked.answer == tuple(range(1_005, 1_010))
    heat = backend.compare(analysis).recording("find-red").by_head[2, 1]
    chosen = [(y, x) for y, row in enumerate(answer["cells"]) for x, on in enumerate(row) if on]
    assert chosen == [tuple(map(int, divmod(int(heat.argmax()), heat.shape[1])))]
    assert answer["shape"] == "scattered"


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({}, "invalid_input", "There is no question"),
        ({"question": "why"}, "invalid_selection", "question must be one of attribution, knockout, chance, parts"),
        ({"question": "attribution", "by": "token"}, "invalid_selection", "by must be layer or head"),
        ({"question": "chance", "by": "head"}, "invalid_input", "has no such fields"),
        ({"question": "knockout"}, "invalid_selection", "no cells"),
        ({"question": "knockout", "cells": "600"}, "invalid_selection", "Cell 600 does not exist"),
        ({"question": "knockout", "top": "0"}, "invalid_selection", "top must be"),
        ({"question": "chance", "controls": "1000"}, "invalid_selection", "controls must be 1–256"),
        ({"question": "attribution", "token": "answer"}, "invalid_selection", "one token"),
        ({"question": "attribution", "token": "1"}, "invalid_selection", "Token 1 cannot be measured"),
        ({"question": "attribution", "overlay": "true"}, "invalid_input", "overlay"),
        ({"question": "attribution", "adapter": "base"}, "invalid_selection", "two variants"),
        ({"question": "attribution", "adapter": ["base", "nobody"]}, "unknown_adapter", "No adapter is called"),
        ({"question": "attribution", "image_path": "/etc/passwd"}, "invalid_input", "reads no paths"),
        ({"question": "attribution", "answer_from": "own"}, "invalid_selection", "replays one answer"),
    ],
)
def test_a_refusal_says_what_to_do(client: TestClient, fields: dict[str, Any], code: str, words: str):
    answer = ask(client, **fields)
    error = answer.json()["error"]
    assert words in error["message"], error
    assert error["code"] == code, error
    refused(answer, answer.status_code, code)
    assert 400 <= answer.status_code < 500


def test_its_schema_follows_from_the_fields(client: TestClient):
    body = client.get("/openapi.json").json()["paths"]["/api/explain"]["post"]["requestBody"]["content"]
    form = body["multipart/form-data"]["schema"]
    assert {"image", "prompt", "adapter", "token", "question", "by", "cells", "top", "controls"} <= set(
        form["properties"]
    )
    assert form["properties"]["question"]["enum"] == ["attribution", "knockout", "chance", "parts"]
    assert set(form["required"]) == {"image", "question"}
