"""What the OpenAPI promises of our routes is so, whatever is sent: no 500, only the statuses and bodies it names."""

import base64
import io
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from inference.service.analysis import AnalysisService
from inference.settings import Limits, Settings
from tests.built_page import build_server_of
from tests.conftest import picture
from tests.hostile.values import anything
from tests.scripted_backend import ScriptedBackend

load_all_checks()
#: One example takes several milliseconds, most of which Schemathesis spends on making it.
EXAMPLES = 40


def _photo() -> bytes:
    file = io.BytesIO()
    picture(64, 96).save(file, "PNG")
    return file.getvalue()


PHOTO = _photo()
SERVICE = AnalysisService(
    Settings(model="scripted", limits=Limits(requests_per_minute=10**9)), lambda: ScriptedBackend()
)
SERVER = build_server_of(SERVICE)
SERVICE.backend.wait()
schema = schemathesis.openapi.from_asgi("/openapi.json", SERVER)


OPERATIONS = [result.ok() for result in schema.get_all_operations()]
SENT = ["prompt", "messages", "adapter", "layer", "head", "token", "view", "of_image", "box", "scale"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.path)
def test_what_the_schema_allows_is_answered_as_it_promises(operation: Any, request: pytest.FixtureRequest):
    many = "hostile" in (request.config.option.markexpr or "")

    @how(max_examples=600 if many else EXAMPLES)
    @given(operation.as_strategy(), st.booleans())
    def ask(case: Any, whole: bool) -> None:
        if whole and isinstance(case.body, dict) and "image" in case.body:  # else hardly one gets past the picture
            is_json = "json" in str(case.media_type)
            kept = {name: value for name, value in list(case.body.items())[-1:] if name != "image"}
            usual = {"question": "chance", "adapter": "find-red"} if operation.path.endswith("explain") else {}
            case.body = usual | kept | {"image": base64.b64encode(PHOTO).decode() if is_json else PHOTO}
        answer = case.call()
        checks = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
        case.validate_response(answer, checks=checks)

    ask()


@given(st.dictionaries(st.sampled_from(SENT), anything))
def test_any_json_with_a_photo_is_an_answer_or_a_refusal(fields: dict[str, Any]):
    client = TestClient(SERVER, raise_server_exceptions=False)
    body = {"image": base64.b64encode(PHOTO).decode()} | fields
    answer = client.post("/api/analyze", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text[:300]
    assert answer.status_code == 200 or set(answer.json()["error"]) == {"code", "message", "hint"}


@pytest.mark.parametrize("field", ["scale", "max_new_tokens", "layer", "head", "token", "box", "top", "seed"])
@pytest.mark.parametrize("digits", [400, 5_000])
def test_a_number_of_any_length_is_refused_in_a_sentence(field: str, digits: int):
    client = TestClient(SERVER, raise_server_exceptions=False)
    image = json.dumps(base64.b64encode(PHOTO).decode())
    path = "/api/explain" if field in ("top", "seed") else "/api/analyze"
    question = '"question": "chance", "adapter": "find-red", ' if path.endswith("explain") else ""
    for number in ("1" * digits, f"-{'1' * digits}", f"1e{'9' * min(digits, 20)}"):
        body = f'{{{question}"image": {image}, "{field}": {number}}}'
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, (number[:9], answer.text[:300])
        assert len(answer.json()["error"]["message"]) < 600
        as_text = client.post(path, files={"image": PHOTO}, data={"question": "chance", field: number})
        assert 400 <= as_text.status_code < 500
