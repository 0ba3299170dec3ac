"""What fails inside the engine: a person reads a sentence, the log has no word of theirs, the next request is right."""

import re
import shutil
from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import EMBEDDED, TIMES
from tests.faults.served import Page

pytestmark = pytest.mark.slow

#: What no line of a log may hold as it is: colours, lines and formats that are a visitor's.
HOSTILE = "Xyzzy\x1b[31m\nERROR app: forged\r\x00%s%n%(x)s\u2028\u202eplugh"
LOGGED = re.compile(r"ERROR inference\.service\.failures: an analysis failed \(request ([0-9a-f]{6})\)\n")


def holds_no_words(page: Page) -> None:
    """Each line of the log is ours, and none holds what a visitor wrote."""
    log = page.log()
    for word in ("Xyzzy", "plugh", "forged", "Describe the image", "evil"):
        assert word not in log
    assert not re.search(r"[^\n -\U0010ffff]", log.replace("\r", ""))  # the bar of a library's loading redraws itself


def last_logged(page: Page) -> str:
    return LOGGED.findall(page.log())[-1]


@TIMES
def test_an_exception_is_a_sentence_with_the_id_of_its_log_lines(page: Page, saw: Callable[..., None], times: int):
    right = page.answer()
    for _ in range(times):
        with page.meeting("exception"):
            failed = page.ask(prompt=HOSTILE, system=HOSTILE)
        error = failed.json()["error"]
        assert (failed.status_code, error["code"]) == (500, "internal_error")
        assert error["message"] == f"Something went wrong inside the tool (request {last_logged(page)})."
        assert failed.headers["x-request-id"] == last_logged(page)
        with page.meeting("exception"):
            said = page.analyze("one", HOSTILE)
        assert f"inside the tool (request {last_logged(page)}). The operator's log says what" in said
        assert last_logged(page) != failed.headers["x-request-id"]
        assert page.analyze("one") == ""
        assert page.answer() == right
    assert "builtins.ValueError\n" in page.log()
    assert "page.py" in page.log()
    holds_no_words(page)
    saw("an exception in the engine", f"{error['message']} {error['hint']}", times)


@TIMES
@pytest.mark.parametrize("kind", ["memory", "cuda", "allocator"])
def test_out_of_memory_is_a_sentence(page: Page, saw: Callable[..., None], times: int, kind: str):
    right = page.answer()
    for _ in range(times):
        with page.meeting(kind):
            failed = page.ask(prompt=HOSTILE)
        error = failed.json()["error"]
        assert (failed.status_code, error["code"]) == (503, "out_of_memory")
        assert page.answer() == right
    holds_no_words(page)
    what = {
        "memory": "MemoryError",
        "cuda": "a GPU out of memory",
        "allocator": "torch's allocator out of memory",
    }
    saw(f"{what[kind]}, in the engine", f"{error['message']} {error['hint']}", times)


@TIMES
def test_an_adapter_that_is_deleted_while_it_is_loaded_is_offered_no_longer(
    page: Page, saw: Callable[..., None], times: int
):
    right, with_it = page.answer(), page.answer(adapter=["base", "gone"])
    for _ in range(times):
        shutil.rmtree(page.folder / "adapters" / "gone")
        gone = page.ask(adapter=["base", "gone"])
        error = gone.json()["error"]
        assert (gone.status_code, error["code"]) == (404, "unknown_adapter")
        assert error["hint"]
        assert page.analyze("two", adapter="gone").startswith(error["message"])
        assert page.answer() == right
        shutil.copytree(EMBEDDED / "find-red", page.folder / "adapters" / "gone")
        assert page.answer(adapter=["base", "gone"]) == with_it
    saw("an adapter deleted while it is loaded", f"{error['message']} {error['hint']}", times)


def test_a_callers_own_id_counts_nothing(page: Page):
    ours = page.ask(prompt="").headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{6}", ours)
    answered = httpx.get(f"{page.address}api/health", headers={"X-Request-ID": "evil\x1b"[:4]})
    assert re.fullmatch("[0-9a-f]{6}", answered.headers["x-request-id"])
    holds_no_words(page)


def test_the_log_holds_no_words_of_requests_that_gradio_refuses_itself(page: Page):
    for body in (
        {"fn_index": 10**6, "data": [HOSTILE], "session_hash": HOSTILE},
        {"fn_index": HOSTILE, "data": HOSTILE, "session_hash": "x"},
        {"fn_index": 0, "data": [{"path": HOSTILE, "meta": {"_type": "gradio.FileData"}}], "session_hash": "x"},
    ):
        httpx.post(f"{page.address}gradio_api/queue/join", json=body)
        httpx.post(f"{page.address}gradio_api/run/predict", json=body)
    for name in ("analyze", "explain"):
        for image in ({"path": HOSTILE, "meta": {"_type": "gradio.FileData"}}, {"path": f"/etc/{HOSTILE}"}, HOSTILE):
            httpx.post(f"{page.address}gradio_api/call/{name}", json={"data": [image, HOSTILE]})
    assert page.analyze("three", "") != ""
    for method, path in (("GET", f"api/{HOSTILE}"), ("POST", "api/analyze"), ("GET", f"gradio_api/file={HOSTILE}")):
        with_words = path.replace("\x00", "").replace("\n", "%0A").replace("\r", "").replace("\x1b", "%1B")
        httpx.request(method, page.address + with_words, content=HOSTILE.encode())
    holds_no_words(page)
    assert page.analyze("three") == ""
