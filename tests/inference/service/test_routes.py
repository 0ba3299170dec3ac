"""The HTTP routes: what they answer, every refusal, who gets in."""

import asyncio
import base64
import contextlib
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from inference.errors import BackendError, CancelledError, DeadlineError, OutOfMemoryError
from inference.service import endpoints
from inference.service.analysis import AnalysisService
from inference.service.decoder import Decoder
from inference.service.fields import parse
from inference.service.schema import AnalyzeFields
from inference.settings import Limits, Settings
from tests.built_page import build_server, build_server_of
from tests.conftest import picture
from tests.scripted_backend import ADAPTERS, ANSWER, HEADS, LAYERS, ScriptedBackend


def client_for(backend: ScriptedBackend | None = None, **settings: Any) -> TestClient:
    """The routes alone, over a service of their own at `app.state.service`."""
    played = backend or ScriptedBackend()
    service = AnalysisService(Settings(model="scripted", **settings), lambda: played)
    server = build_server_of(service)
    server.state.service = service
    return TestClient(server, raise_server_exceptions=False)


def page_client_for(**settings: Any) -> TestClient:
    """The routes beside Gradio's, as the page is served."""
    server = build_server(Settings(model="scripted", **settings), ScriptedBackend)
    return TestClient(server, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with page_client_for(limits=Limits(requests_per_minute=10_000)) as client:
        yield client


def png(height: int = 64, width: int = 96, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    picture(height, width, seed).save(buffer, "PNG")
    return buffer.getvalue()


def ask(client: TestClient, content: bytes | None = None, **fields: Any) -> Any:
    return client.post(
        "/api/analyze", files={"image": ("photo.png", content or png())}, data={"prompt": "What?", **fields}
    )


def refused(response: Any, status: int, code: str) -> dict[str, str]:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["code"] == code
    assert "Traceback" not in response.text
    assert "/work" not in response.text
    assert "site-packages" not in response.text
    return dict(error)


def test_health_says_what_runs_and_needs_no_model():
    gate = threading.Event()

    def slow() -> ScriptedBackend:
        gate.wait(60)
        return ScriptedBackend()

    with TestClient(build_server(Settings(model="scripted"), slow)) as client:
        answer = client.get("/api/health").json()
        gate.set()
    assert answer == {"status": "ok", "backend": "local", "model": "scripted", "ready": False}


def test_adapters_and_layers(client: TestClient):
    listed = client.get("/api/adapters").json()
    assert [each["name"] for each in listed] == [each.name for each in ADAPTERS]
    assert {"description", "rank", "alpha", "target_modules", "touches_vision", "base_model"} <= set(listed[0])
    layers = client.get("/api/layers").json()
    assert (layers["layers"], layers["heads"], layers["patch_size"], layers["merge_size"]) == (LAYERS, HEADS, 16, 2)
    assert (layers["vision_layers"], layers["vision_heads"]) == (3, 4)


def test_the_defaults_are_base_the_middle_layer_the_mean_and_the_first_answer_token(client: TestClient):
    answer = ask(client).json()
    (only,) = answer["maps"]
    first = next(each for each in answer["tokens"] if each["role"] == "answer")
    assert (only["adapter"], only["layer"], only["head"], only["token"]) == (
        "base",
        LAYERS // 2,
        "mean",
        first["index"],
    )
    assert first["text"] == ANSWER[0]
    assert answer["view"] == "raw"
    assert answer["grid"] == [2, 3] == [len(only["heatmap"]), len(only["heatmap"][0])]
    assert answer["image_size"] == [64, 96]
    assert np.sum(only["heatmap"]) == pytest.approx(only["image_share"], rel=1e-5)
    assert "overlay" not in only
    assert answer["answers"] == [{"adapter": "base", "text": "".join(ANSWER)}]


def test_all_maps_share_one_scale_and_overlays_have_the_images_own_size(client: TestClient):
    answer = ask(client, png(70, 101), adapter=["base", "find-red"], layer=1, overlay="true").json()
    assert [each["adapter"] for each in answer["maps"]] == ["base", "find-red"]
    highest = max(np.max(each["heatmap"]) for each in answer["maps"])
    assert answer["limits"] == {"low": 0.0, "high": pytest.approx(highest, rel=1e-6), "unit": "share", "log": False}
    for each in answer["maps"]:
        head, _, encoded = each["overlay"].partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (101, 70)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_the_json_body_with_base64_works(client: TestClient, prefix: str):
    encoded = prefix + base64.b64encode(png()).decode()
    body = {"image": encoded, "prompt": "What?", "adapter_name": "find-red", "layer": 2}
    (only,) = client.post("/api/analyze", json=body).json()["maps"]
    assert (only["adapter"], only["layer"]) == ("find-red", 2)
    form = ask(client, adapter="find-red", layer=2).json()["maps"][0]
    assert form["heatmap"] == only["heatmap"]


def test_adapter_name_is_another_word_for_adapter(client: TestClient):
    usual = ask(client, adapter=["find-red", "silent"]).json()
    assert [each["adapter"] for each in usual["maps"]] == ["find-red", "silent"]
    assert ask(client, adapter_name=["find-red", "silent"]).json() == usual
    assert ask(client, adapter="find-red", adapter_name="silent").json() == usual
    body = {"image": base64.b64encode(png()).decode(), "prompt": "What?"}
    assert client.post("/api/analyze", json=body | {"adapter_name": ["find-red", "silent"]}).json() == usual
    refused(ask(client, adapter_name="nobody"), 404, "unknown_adapter")
    refused(ask(client, adapter="silent", adapter_name="silent"), 422, "invalid_input")


def test_a_few_heads_of_any_layers_as_one_map(client: TestClient):
    (only,) = ask(client, head="L1H2,L0H0", token=2).json()["maps"]
    one, other = (ask(client, layer=layer, head=head, token=2).json()["maps"][0] for layer, head in ((1, 2), (0, 0)))
    assert (only["head"], only["token"], only["layer"]) == ("L1H2,L0H0", 2, None)
    np.testing.assert_allclose(only["heatmap"], np.add(one["heatmap"], other["heatmap"]) / 2, rtol=1e-5)
    assert only["image_share"] == pytest.approx((one["image_share"] + other["image_share"]) / 2, rel=1e-5)


def test_single_heads_of_any_token(client: TestClient):
    for head in (1, "max"):
        (only,) = ask(client, head=head, token=2).json()["maps"]
        assert (only["head"], only["token"]) == (head, 2)
    assert ask(client, head="max", token=2).json()["maps"][0]["image_share"] is None


def test_the_mean_over_the_answer_and_the_contrast_view(client: TestClient):
    assert ask(client, token="answer").json()["maps"][0]["token"] == "answer"
    contrast = ask(client, view="contrast").json()
    assert contrast["limits"]["low"] == -contrast["limits"]["high"] < 0


@pytest.mark.parametrize("name", ["image_path", "image_url"])
def test_a_path_is_refused_with_a_sentence(client: TestClient, name: str):
    error = refused(client.post("/api/analyze", json={name: "/etc/passwd"}), 422, "invalid_input")
    assert "reads no paths" in error["message"]
    assert "passwd" not in str(error)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"adapter": "nobody"}, 404, "unknown_adapter"),
        ({"adapter": "../../etc"}, 422, "invalid_input"),
        ({"adapter": ["base", "base"]}, 422, "invalid_input"),
        ({"layer": 99}, 422, "invalid_selection"),
        ({"layer": "two"}, 422, "invalid_selection"),
        ({"layer": -1}, 422, "invalid_selection"),
        ({"head": 44}, 422, "invalid_selection"),
        ({"head": "best"}, 422, "invalid_selection"),
        ({"head": "L0H0,L0H0"}, 422, "invalid_selection"),
        ({"head": "L99H0"}, 422, "invalid_selection"),
        ({"head": "1", "token": "answer"}, 422, "invalid_selection"),
        ({"token": "99"}, 422, "invalid_selection"),
        ({"view": "beautiful"}, 422, "invalid_selection"),
        ({"view": "contrast", "head": "1"}, 422, "invalid_selection"),
        ({"overlay": "perhaps"}, 422, "invalid_input"),
        ({"prompt": " "}, 422, "invalid_prompt"),
        ({"prompt": "x" * 9_000}, 422, "invalid_prompt"),
        ({"max_new_tokens": "9999"}, 422, "invalid_input"),
        ({"scale": "nan"}, 422, "invalid_input"),
        ({"scale": "much"}, 422, "invalid_input"),
        ({"colour": "red"}, 422, "invalid_input"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_json(client: TestClient, fields: dict[str, Any], status: int, code: str):
    refused(ask(client, **fields), status, code)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("scale", 10**400, "invalid_input"),
        ("max_new_tokens", 10**400, "invalid_input"),
        ("layer", 10**400, "invalid_selection"),
        ("token", -(10**400), "invalid_selection"),
        ("layer", True, "invalid_selection"),
        ("layer", 1.5, "invalid_selection"),
        ("adapter", 3, "invalid_input"),
        ("adapter", [["base"]], "invalid_input"),
        ("prompt", {"a": 1}, "invalid_input"),
        ("view", [], "invalid_selection"),
    ],
)
def test_a_json_value_of_another_kind_is_refused_with_its_name_what_is_expected_and_what_was_got(
    client: TestClient, name: str, value: object, code: str
):
    body = {"image": base64.b64encode(png()).decode(), name: value}
    error = refused(client.post("/api/analyze", json=body), 422, code)
    assert error["message"].startswith(f"{name} must be ")
    assert "; not " in error["message"]
    assert len(error["message"]) < 200
    assert "/docs" in error["hint"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"adapter": ["base", "base"]}, "may appear once; got base, base."),
        ({"answer_from": "find-red"}, "one of the variants asked (base) or own; not 'find-red'."),
        ({"head": "-1"}, "head must be a 0-based index, 'mean', 'max' or heads such as L1H3,L0H2; not '-1'."),
        ({"token": "-1"}, "token must be a 0-based index into tokens, 'answer' or 'digits'; not '-1'."),
        ({"scale": "0_5"}, "scale must be a number from 0 to 4; not '0_5'."),
        ({"scale": "５"}, "scale must be a number from 0 to 4; not '５'."),
        ({"max_new_tokens": "16.5"}, "not '16.5'."),
        ({"colour": "red"}, "Unknown field 'colour'"),
        ({"prompt": " "}, "The prompt is empty."),
    ],
)
def test_a_refusal_repeats_what_was_sent_as_it_was_sent_and_says_what_to_do(
    client: TestClient, fields: dict[str, Any], words: str
):
    response = ask(client, **fields)
    error = refused(response, 422, response.json()["error"]["code"])
    assert words in error["message"]
    assert error["hint"]


@pytest.mark.parametrize(("name", "text"), [("max_new_tokens", "16.0"), ("layer", "1."), ("scale", "5e-1")])
def test_a_number_in_a_form_may_be_written_as_numbers_are(client: TestClient, name: str, text: str):
    assert ask(client, **{name: text}).json() == ask(client, **{name: float(text)}).json()
    assert ask(client, **{name: text}).status_code == 200


def test_numbers_of_four_hundred_digits_in_a_form_are_refused_too(client: TestClient):
    for name, code in (("scale", "invalid_input"), ("layer", "invalid_selection"), ("max_new_tokens", "invalid_input")):
        refused(ask(client, **{name: "1" + "0" * 400}), 422, code)


def test_what_is_left_empty_has_its_default(client: TestClient):
    names = ("system", "adapter", "answer_from", "layer", "head", "token", "view", "overlay", "max_new_tokens", "scale")
    assert ask(client, **dict.fromkeys(names, "")).json() == ask(client).json()


def test_images_that_cannot_be_used(client: TestClient):
    refused(ask(client, b"no image at all"), 415, "not_an_image")
    refused(ask(client, png()[:-60]), 415, "not_an_image")
    refused(ask(client, png(2, 900)), 422, "image_too_thin")
    refused(client.post("/api/analyze", data={"prompt": "What?"}), 422, "invalid_input")
    refused(client.post("/api/analyze", json={"image": "@@@"}), 415, "not_an_image")
    refused(client.post("/api/analyze", json={"image": 3}), 415, "not_an_image")


def test_bodies_that_cannot_be_read(client: TestClient):
    for content, kind in ((b"{", "application/json"), (b"[1]", "application/json"), (b"x", "text/plain")):
        refused(client.post("/api/analyze", content=content, headers={"content-type": kind}), 400, "bad_request")
    broken = {"content-type": "multipart/form-data"}
    refused(client.post("/api/analyze", content=b"--x", headers=broken), 400, "bad_request")
    deep = b'{"image":' + b"[" * 100_000
    refused(client.post("/api/analyze", content=deep, headers={"content-type": "application/json"}), 400, "bad_request")


def test_unknown_routes_answer_json_too(client: TestClient):
    refused(client.get("/api/nothing"), 404, "not_found")
    refused(client.get("/api/analyze"), 404, "not_found")


def test_too_many_pixels_and_too_many_bytes():
    with client_for(limits=Limits(max_pixels=1_000, max_upload_bytes=5_000)) as client:
        refused(ask(client, png()), 413, "image_too_large")
        refused(ask(client, bytes(6_000)), 413, "image_too_large")


def test_an_oversized_body_is_refused_without_reading_it_all():
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 65_536
            yield bytes(65_536)

    with client_for(limits=Limits(max_upload_bytes=100_000)) as client:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        refused(client.post("/api/analyze", content=bytes(2_000_000), headers=headers), 413, "image_too_large")
        told = client.post("/api/analyze", content=endless(), headers=headers)
        refused(told, 413, "image_too_large")


def test_a_bug_in_a_route_is_a_sentence_and_its_traceback_stays_here(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    def broken(*given: object, **options: object) -> None:
        raise ZeroDivisionError("secret /work/path")

    monkeypatch.setattr(endpoints, "analysis_json", broken)
    assert "secret" not in str(refused(ask(client), 500, "internal_error"))


def test_gradios_own_routes_answer_errors_in_their_own_way(client: TestClient):
    for response in (client.get("/gradio_api/nothing"), client.post("/gradio_api/queue/join", json={"fn_index": "x"})):
        assert response.status_code in (404, 422)
        assert set(response.json()) == {"detail"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BackendError("The engine is away.", "Wait."), 503, "backend_unavailable"),
        (DeadlineError("No answer in time."), 504, "deadline_exceeded"),
        (OutOfMemoryError("No room."), 503, "out_of_memory"),
        (RuntimeError("secret /work/path"), 500, "internal_error"),
    ],
)
def test_failures_of_the_engine_have_their_own_status(error: Exception, status: int, code: str):
    with client_for(ScriptedBackend(fail=error)) as client:
        said = refused(ask(client), status, code)
        assert "secret" not in str(said)
        assert client.get("/api/health").status_code == 200


def test_a_backend_that_cannot_be_opened_answers_503():
    def cannot() -> ScriptedBackend:
        raise BackendError("This version has no such backend.")

    with TestClient(build_server(Settings(model="scripted"), cannot)) as client:
        refused(client.get("/api/adapters"), 503, "backend_unavailable")
        refused(ask(client), 503, "backend_unavailable")
        assert client.get("/api/health").json() == {
            "status": "failed",
            "backend": "local",
            "model": "scripted",
            "ready": False,
            "reason": "This version has no such backend.",
        }


def test_the_rate_limit_is_per_minute():
    with client_for(limits=Limits(requests_per_minute=2)) as client:
        assert [ask(client).status_code for _ in range(2)] == [200, 200]
        error = refused(ask(client), 429, "too_many_requests")
        assert "limit is 2" in error["message"]
        assert client.get("/api/health").status_code == 200


def test_who_is_refused_costs_no_decoding(monkeypatch: pytest.MonkeyPatch):
    decoded: list[int] = []
    real = Decoder.decode
    monkeypatch.setattr(Decoder, "decode", lambda *given: decoded.append(1) or real(*given))
    with client_for(limits=Limits(requests_per_minute=1)) as client:
        ask(client)
        refused(ask(client), 429, "too_many_requests")
        assert decoded == [1]
    gate = threading.Event()
    with client_for(ScriptedBackend(gate=gate), limits=Limits(queue_length=1)) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        with service.queue.place("a"), service.queue.place("b"):
            assert "waiting already" in refused(ask(client), 429, "too_many_requests")["message"]
        gate.set()
        assert ask(client).status_code == 200  # refused for the line's length, it was not counted for the rate either
    assert decoded == [1, 1]


def test_pictures_wait_for_their_turn_and_numbers_do_not():
    with client_for(limits=Limits(pictures_at_once=1)) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        fields = parse(AnalyzeFields, {"image": png(), "overlay": True})
        result = endpoints.answered(service, fields, address="a")
        stop = threading.Event()
        with service.slots.one("another"):
            numbers = endpoints.shown(service, fields.model_copy(update={"overlay": False}), result, address="a")
            waiting = ThreadPoolExecutor(1).submit(endpoints.shown, service, fields, result, address="a", stop=stop)
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            stop.set()
            with pytest.raises(CancelledError):
                waiting.result(60)
        drawn = endpoints.shown(service, fields, result, address="a")
    assert [each["heatmap"] for each in drawn["maps"]] == [each["heatmap"] for each in numbers["maps"]]
    assert "overlay" in drawn["maps"][0]


def test_a_full_line_answers_429():
    gate = threading.Event()
    backend = ScriptedBackend(gate=gate)
    with client_for(backend, limits=Limits(queue_length=1)) as client:
        codes: list[int] = []
        threads = [threading.Thread(target=lambda: codes.append(ask(client).status_code)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while codes.count(429) < 2:
            assert len(codes) <= 2
        gate.set()
        for thread in threads:
            thread.join()
    assert sorted(codes) == [200, 200, 429, 429]


def test_a_flood_is_refused_at_once_and_nobody_else_waits_behind_it():
    """200 at once from 8 addresses: as many as the queue holds are answered, the others told when to come again."""
    gate = threading.Event()
    limits = Limits(queue_length=9, requests_per_minute=10_000)

    async def flood(app: Any) -> list[httpx.Response]:
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for number in range(8):
                transport = httpx.ASGITransport(app, client=(f"192.0.2.{number}", 1))
                client = httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)
                clients.append(await stack.enter_async_context(client))
            send = [clients[number % 8].post("/api/analyze", data={}, files={"image": png()}) for number in range(200)]
            asked = [asyncio.ensure_future(each) for each in send]
            while sum(each.done() for each in asked) < 190:
                await asyncio.sleep(0.01)
            for path in ("/api/health", "/api/layers", "/visits/nobody/scene"):  # beside those who wait
                assert (await clients[0].get(path)).status_code in (200, 404)
            assert not any(each.done() and each.result().status_code == 200 for each in asked)
            gate.set()
            return await asyncio.gather(*asked)

    with client_for(ScriptedBackend(gate=gate), limits=limits) as client:
        answers = asyncio.run(flood(client.app))
        assert ask(client).status_code == 200  # every place was given back
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(429)) == (10, 190)
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.json()["error"]["code"] == "too_many_requests"


def test_one_address_has_at_most_half_of_the_places():
    gate = threading.Event()
    backend = ScriptedBackend(gate=gate)
    with client_for(backend, limits=Limits(queue_length=7, requests_per_minute=10_000)) as client:
        codes: list[int] = []
        threads = [threading.Thread(target=lambda: codes.append(ask(client).status_code)) for _ in range(12)]
        for thread in threads:
            thread.start()
        while len(codes) < 8:
            time.sleep(0.01)
        gate.set()
        for thread in threads:
            thread.join()
    assert (codes.count(200), codes.count(429)) == (4, 8)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("inference.service.routes.BODY_SECONDS", 0.2)

    async def dripping() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(120)
        yield b"}"

    async def send(app: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/api/analyze", content=dripping(), headers={"content-type": "application/json"})

    with client_for() as client:
        begun = time.monotonic()
        answer = asyncio.run(send(client.app))
        assert time.monotonic() - begun < 60
    assert answer.status_code == 400
    assert "did not come within 0 seconds" in answer.json()["error"]["message"]


GUARDED = ("/api/health", "/api/adapters", "/api/layers", "/docs", "/openapi.json")


def test_auth_guards_routes_docs_and_schema_alike():
    with page_client_for(auth="me:pass:word") as client:
        for path in GUARDED:
            response = client.get(path)
            refused(response, 401, "not_authenticated")
            assert response.headers["www-authenticate"].startswith("Basic")
            assert client.get(path, auth=("me", "pass:word")).status_code == 200
            assert client.get(path, auth=("me", "other")).status_code == 401
        refused(ask(client), 401, "not_authenticated")
        for wrong in ("Basic", "Basic ä", "Basic bWU=", "Bearer x", "Basic " + "x" * 9_000):
            assert client.get("/api/adapters", headers={"authorization": wrong.encode("latin-1")}).status_code == 401


def test_the_cookie_of_the_pages_login_opens_the_routes_too():
    with page_client_for(auth="me:word") as client:
        client.app.tokens["shown"] = "me"  # type: ignore[attr-defined]
        name = f"access-token-unsecure-{client.app.cookie_id}"  # type: ignore[attr-defined]
        assert client.get("/api/adapters", headers={"cookie": f"{name}=shown"}).status_code == 200
        assert client.get("/api/adapters", headers={"cookie": f"{name}=guessed"}).status_code == 401
        assert client.get("/api/adapters", headers={"cookie": "other=shown"}).status_code == 401


def test_without_auth_everything_is_open(client: TestClient):
    assert [client.get(path).status_code for path in GUARDED] == [200] * len(GUARDED)


def test_the_documentation_names_every_route_and_loads_nothing_from_elsewhere(client: TestClient):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/api/health", "/api/adapters", "/api/layers", "/api/analyze", "/api/explain"}
    body = schema["paths"]["/api/analyze"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    for kind in body.values():
        assert set(kind["schema"]["properties"]) == set(AnalyzeFields.model_fields) >= {"adapter", "adapter_name"}
        assert kind["schema"]["required"] == ["image"]
    assert "format" not in body["application/json"]["schema"]["properties"]["image"]
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    assert set(schema["components"]["schemas"]["ErrorDetail"]["properties"]) == {"code", "message", "hint"}
    page = client.get("/docs").text
    assert "/api/analyze" in page
    assert all(f"<code>{name}</code>" in page for name in AnalyzeFields.model_fields)
    assert "://" not in page


def test_nothing_of_a_visitor_is_kept(client: TestClient):
    ask(client)
    assert client.app.get_blocks().service.results.nbytes == 0  # type: ignore[attr-defined]


# boxes


def test_a_box_is_measured_per_variant_layer_and_head(client):
    plain = ask(client, adapter=["base", "find-red"]).json()
    assert "box" not in plain
    body = ask(client, adapter=["base", "find-red"], box=["8,16,40,80", "30,0,64,20"], overlay="true").json()
    found = body["box"]
    assert found["boxes"] == [[8, 16, 40, 80], [30, 0, 64, 20]]
    inside = np.zeros((64, 96))
    inside[8:40, 16:80] = inside[30:64, 0:20] = 1
    rows, columns = body["grid"]
    cover = inside.reshape(rows, 64 // rows, columns, 96 // columns).mean(axis=(1, 3))
    assert found["area"] == pytest.approx(cover.mean())
    shown = [entry["adapter"] for entry in found["scores"]]
    assert shown == ["base", "find-red"]
    for entry, shown_map in zip(found["scores"], body["maps"], strict=True):
        assert np.shape(entry["heads"]["share"]) == np.shape(entry["heads"]["hit"]) == (LAYERS, HEADS)
        expected = (np.array(shown_map["heatmap"]) * cover).sum()
        assert entry["mean"]["share"][shown_map["layer"]] == pytest.approx(expected, rel=1e-5)
    marked = Image.open(io.BytesIO(base64.b64decode(body["maps"][0]["overlay"].partition(",")[2]))).convert("RGB")
    assert marked.getpixel((48, 6)) == (255, 255, 255)  # the box's upper edge, drawn just outside it


def test_a_box_in_json_is_numbers_and_one_that_reaches_beyond_is_cut_with_a_note(client):
    image = base64.b64encode(png()).decode()
    for sent in ([8, -5, 40, 999], [[8, -5, 40, 999]], "8,-5,40,999"):
        body = client.post("/api/analyze", json={"image": image, "box": sent}).json()
        assert body["box"]["boxes"] == [[8, 0, 40, 96]]
        assert "(64 pixels high, 96 wide)" in body["box"]["notes"][0]
    assert (
        client.post("/api/analyze", json={"image": image, "token": "answer", "box": "0,0,9,9"}).json()["box"]["scores"][
            0
        ]["heads"]
        is None
    )


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("64,0,99,9", "outside the photo, which is 64 pixels high and 96 wide"),
        ("5,5,5,9", "no area"),
        ("9,0,1,9", "wrong order"),
        ("1,2,3", "four numbers"),
        ("1,2,3,<script>", "number of pixels"),
        (";".join(["0,0,1,1"] * 17), "At most 16"),
    ],
)
def test_a_box_that_is_none_is_refused_before_anything_runs(box, words):
    backend = ScriptedBackend()
    with client_for(backend) as own:
        assert words in refused(ask(own, box=box), 422, "invalid_selection")["message"]
    assert not backend.requests
