"""An operator's numbers: what is counted, once each, with nothing of what was asked; and where they can be read."""

import http.client
import json
import socket
import threading
from contextvars import copy_context
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from inference import Request
from inference.errors import BackendError, BusyError, CancelledError, InputError, OutOfMemoryError, VisualizerError
from inference.logs import begin_request
from inference.questions import AttributionOptions
from inference.service.analysis import AnalysisService
from inference.service.metrics_server import serve
from inference.settings import Limits, Settings
from tests.built_page import build_server_of
from tests.conftest import picture
from tests.scripted_backend import HOSTILE, ScriptedBackend


def service_over(backend: ScriptedBackend, **limits: Any) -> AnalysisService:
    return AnalysisService(Settings(model="scripted", limits=Limits(**limits)), lambda: backend)


def asked(prompt: str = "What?", adapters: tuple[str | None, ...] = (None,)) -> Request:
    return Request(picture(64, 96), prompt, adapters=adapters)


def numbers(service: AnalysisService) -> dict[tuple[str, ...], float]:
    """Each number that is not 0, by name and labels; not those of Python's process."""
    text = generate_latest(service.metrics.registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (sample.name.removeprefix("visualizer_"), *sample.labels.values()): sample.value
        for sample in samples
        if sample.name.startswith("visualizer_")
        and sample.value
        and not sample.name.endswith(("_created", "_bucket", "_sum"))
    }


def test_answers_are_counted_with_their_seconds_and_kept_ones_apart():
    service = service_over(ScriptedBackend(pause=0.01))
    session = service.session("one")
    for _ in range(2):
        service.result(asked(adapters=(None, "find-red")), address="here", session=session)
    service.explained(asked(adapters=(None, "find-red")), AttributionOptions(), address="here")
    found = numbers(service)
    assert found["analyses_total", "answered", "comparison"] == 1
    assert found["analyses_total", "kept", "comparison"] == 1
    assert found["analyses_total", "answered", "question"] == 1
    assert found["analysis_seconds_count", "comparison"] == found["analysis_seconds_count", "question"] == 1
    assert found["sessions",] == 1
    assert found["kept_bytes",] == service.results.nbytes
    text = generate_latest(service.metrics.registry).decode()
    seconds = float(text.split('visualizer_analysis_seconds_sum{work="comparison"} ')[1].split("\n")[0])
    assert 0.01 * 8 <= seconds < 60
    assert "process_resident_memory_bytes" in text


def test_whoever_closes_after_the_answer_has_not_cancelled_it_and_before_has():
    service = service_over(ScriptedBackend(pause=0.05))
    for event in (events := service.answer(asked(), address="here")):
        if type(event).__name__ == "Result":
            break
    events.close()
    assert numbers(service)["analyses_total", "answered", "comparison"] == 1
    events = service.answer(asked("Another?"), address="here")
    next(events)
    events.close()
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(CancelledError):
        service.result(asked("A third?"), address="here", cancelled=stopped)
    assert numbers(service)["analyses_total", "cancelled", "comparison"] == 2


@pytest.mark.parametrize(
    ("fail", "counted"),
    [
        (OutOfMemoryError("No room."), ("failed_total", "out_of_memory")),
        (BackendError("Gone."), ("failed_total", "backend_unavailable")),
        (ValueError(HOSTILE), ("failed_total", "internal_error")),
        (InputError("No."), ("refused_total", "invalid_input")),
    ],
)
def test_what_fails_is_counted_by_its_code(fail: Exception, counted: tuple[str, str]):
    service = service_over(ScriptedBackend(fail=fail))
    for _ in range(2):
        request = copy_context()
        request.run(begin_request)  # as every door does
        with pytest.raises(VisualizerError):
            request.run(service.result, asked(), address="here")
    found = numbers(service)
    assert found == {counted: 2}


def test_refusals_are_counted_once_each_at_whichever_door():
    service = service_over(ScriptedBackend(), requests_per_minute=1, max_prompt_characters=20)
    with pytest.raises(InputError):
        service.result(asked("x" * 21), address="here")
    with pytest.raises(InputError):
        service.decode(b"no picture", "here")
    service.admit("here")
    with pytest.raises(BusyError):
        service.result(asked(), address="here")
    with TestClient(build_server_of(service)) as client:
        assert client.post("/api/analyze", json=[]).status_code == 400
        assert client.post("/api/analyze", json={"image": "AAAA"}).status_code == 415
        assert client.post("/api/analyze", json={"image": "AAAA"}).status_code == 429
    assert numbers(service) == {
        ("refused_total", "invalid_prompt"): 1,
        ("refused_total", "not_an_image"): 2,
        ("refused_total", "too_many_requests"): 2,
        ("refused_total", "bad_request"): 1,
    }


def test_what_is_worked_on_and_waits_is_said_as_it_is_now():
    gate = threading.Event()
    service = service_over(ScriptedBackend(gate=gate))
    events = [service.answer(asked(str(index)), address="here") for index in range(3)]
    for each in events:
        next(each)
    assert {name: value for name, value in numbers(service).items() if len(name) == 1} == {
        ("running",): 1,
        ("waiting",): 2,
    }
    gate.set()
    for each in events:
        list(each)
    assert ("running",) not in numbers(service)


@pytest.fixture
def listening() -> tuple[AnalysisService, int]:
    service = service_over(ScriptedBackend())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve(service.metrics.registry, "127.0.0.1", port, ("viz.example.org",))
    return service, port


def get(port: int, path: str, host: str = "", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_only_metrics_is_answered_and_no_foreign_name(listening: tuple[AnalysisService, int]):
    service, port = listening
    service.result(asked(HOSTILE), address="192.0.2.7")
    status, text = get(port, "/metrics")
    assert status == 200
    assert 'visualizer_analyses_total{outcome="answered",work="comparison"} 1.0' in text
    assert not any(word in text for word in ("<img", "192.0.2.7", "find-red"))
    assert get(port, "/metrics", "viz.example.org:1")[0] == 200
    assert get(port, "/metrics", "evil.com")[0] == 403
    assert [get(port, path)[0] for path in ("/", "/metrics/", "/favicon.ico", "//evil.com/metrics")] == [404] * 4
    assert get(port, "/metrics", method="POST")[0] == 404


def test_the_public_port_has_no_numbers():
    with TestClient(build_server_of(service_over(ScriptedBackend()))) as client:
        for path in ("/metrics", "/api/metrics"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "visualizer" not in answer.text
        assert json.dumps(client.get("/openapi.json").json()).count("metrics") == 0
