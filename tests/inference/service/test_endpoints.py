"""The endpoints for `gradio_client`."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.testclient import TestClient

from inference.service.endpoints import Endpoints
from inference.service.schema import AnalyzeFields, ExplainFields
from tests.built_page import build_server_of
from tests.inference.service.events import (
    upload,
    visitor,
)
from tests.scripted_backend import ScriptedBackend


def test_programs_get_the_same_maps_through_gradio(page: Any, uploads: Path):
    image = upload(uploads)
    endpoints = Endpoints(page.service)
    found = endpoints.analyze(
        image, visitor(), "What?", adapter=["base", "find-red"], layer=1, head="1", token="6", overlay=True
    )
    assert [each["adapter"] for each in found["maps"]] == ["base", "find-red"]
    assert (found["maps"][0]["layer"], found["maps"][0]["head"], found["maps"][0]["token"]) == (1, 1, 6)
    assert found["maps"][0]["overlay"].startswith("data:image/png;base64,")
    with pytest.raises(gr.Error, match="&lt;b&gt;"):
        endpoints.analyze(upload(uploads), visitor(), view="<b>")


def test_the_fields_and_what_they_are_where_nothing_is_said_are_those_of_the_route(
    page: Any, backend: ScriptedBackend, uploads: Path
):
    taken = inspect.signature(Endpoints(page.service).analyze).parameters
    assert taken.keys() - {"request"} == AnalyzeFields.model_fields.keys() - {"adapter_name"}  # adapter again
    given = {name: each.default for name, each in taken.items() if name not in ("image", "request")}
    usual = AnalyzeFields(image=b"")
    assert AnalyzeFields.model_validate({"image": b"", **given}) == usual
    Endpoints(page.service).analyze(
        upload(uploads),  # type: ignore[arg-type]
        visitor(),
        adapter=["base", "find-red"],
        system="Be brief.",
        answer_from="own",
        max_new_tokens=7,
        scale=0.5,
    )
    asked = backend.requests[-1]
    assert (asked.system, asked.answer_from, asked.max_new_tokens, asked.scale) == ("Be brief.", "own", 7, 0.5)
    assert asked.prompt == usual.prompt


QUESTIONS: list[dict[str, Any]] = [
    {"question": "attribution", "by": "head", "layers": "0,2", "token": "6"},
    {"question": "knockout", "box": "8,16,40,80", "controls": 4},
    {
        "question": "knockout",
        "top": 20.0,
        "head": "L1H2,L0H0",
        "token": "5",
        "rows": "answer",
        "controls": 3,
        "seed": 5,
    },
    {"question": "chance", "controls": 2, "seed": 1},
    {"question": "parts", "strengths": "0.5,1.5"},
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked["question"])
def test_programs_get_the_same_explanations_through_gradio(asked: dict[str, Any], page: Any, uploads: Path):
    image = upload(uploads)
    found = Endpoints(page.service).explain(image, visitor(), adapter=["base", "find-red"], **asked)
    content = Path(image["path"]).read_bytes()
    with TestClient(build_server_of(page.service)) as client:
        form = {name: str(value) for name, value in asked.items()}
        sent = {"adapter": ["base", "find-red"], **form}
        answer = client.post("/api/explain", data=sent, files={"image": content}).json()
    assert found["sentence"] == answer["sentence"]
    assert {**found, "timings": {}} == {**answer, "timings": {}}
    with pytest.raises(gr.Error, match="question must be one of"):
        Endpoints(page.service).explain(upload(uploads), visitor(), question="<b>")


def test_the_fields_of_a_question_are_those_of_its_route(page: Any):
    taken = inspect.signature(Endpoints(page.service).explain).parameters
    assert taken.keys() - {"request"} == ExplainFields.model_fields.keys() - {"adapter_name", "overlay"}
    given = {name: each.default for name, each in taken.items() if name not in ("image", "request")}
    usual = ExplainFields.model_validate({"image": b"", "question": "attribution"})
    assert ExplainFields.model_validate({"image": b"", **given}) == usual


def test_programs_that_send_the_same_file_at_once_do_not_take_it_from_each_other(page: Any, uploads: Path):
    """Gradio stores an upload by its content: the same photo lies at the same path for everyone."""
    image, endpoints = upload(uploads), Endpoints(page.service)
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(endpoints.analyze, image, visitor(host=f"host {n}")) for n in range(24)]
    assert [len(call.result()["maps"]) for call in calls] == [1] * 24


def test_no_program_can_take_the_opening_photo_away(page: Any, uploads: Path):
    path = uploads / "example.png"
    page.examples[0].image.save(path)
    Endpoints(page.service).analyze({"path": str(path)}, visitor())  # type: ignore[arg-type]
    assert path.exists()
