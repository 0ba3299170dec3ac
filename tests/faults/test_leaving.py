"""Somebody leaves: a visitor's browser or program in the middle of an answer, or the operator, who ends the process."""

import contextlib
import http.client
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.faults.conftest import TIMES
from tests.faults.served import ENDED_WITHIN, PATIENCE, Page, png, started

pytestmark = pytest.mark.slow

#: What a terminal and a machine ask a process to end by; pages of tests are ended by the second, working on nothing.
ENDING = (signal.SIGINT, signal.SIGTERM)


def is_ours(answer: object) -> bool:
    """Whether an answer came to its end."""
    return isinstance(answer, httpx.Response) and answer.headers["content-type"] == "application/json"


def number(page: Page, name: str) -> float:
    """One of an operator's numbers, all of its labels together."""
    text = httpx.get(page.metrics, timeout=PATIENCE).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))


@TIMES
def test_a_browser_that_goes_in_the_middle_of_an_answer_ends_the_work(page: Page, saw: Callable[..., None], times: int):
    right = page.answer()
    for run in range(times):
        session, uploaded = f"leaving{times}{run}", page.upload()
        with page.meeting("slow"):
            with httpx.stream("GET", f"{page.address}gradio_api/heartbeat/{session}", timeout=PATIENCE):
                column = [uploaded, "What?", "", ["find-red"], "base", "adapter", 200, 1, [], []]
                for message in page.press("go", column, session):
                    if "writes its answer" in str(message):
                        break
                assert number(page, "visualizer_running") == 1
            wait_until(lambda: number(page, "visualizer_running") == 0)
        assert page.answer() == right
    saw("the browser goes in the middle of an answer", "nothing: its work ends", times)


@TIMES
def test_a_program_that_goes_in_the_middle_of_an_answer_ends_the_work(page: Page, saw: Callable[..., None], times: int):
    right = page.answer()
    for _ in range(times):
        cancelled = number(page, "visualizer_analyses_total")
        with page.meeting("slow"):
            fields = {"prompt": "What is it?", "adapter": ["base", "find-red"], "max_new_tokens": "200"}
            sent = httpx.Request("POST", f"{page.address}api/analyze", data=fields, files={"image": png()})
            with contextlib.closing(http.client.HTTPConnection(sent.url.host, sent.url.port)) as program:
                program.request("POST", sent.url.path, sent.read(), dict(sent.headers))
                wait_until(lambda: number(page, "visualizer_running") == 1)
            wait_until(lambda: number(page, "visualizer_running") == 0)
        wait_until(lambda before=cancelled: number(page, "visualizer_analyses_total") == before + 1)
        assert page.answer() == right
    saw("a program goes in the middle of an answer", "nothing: its work ends", times)


@pytest.mark.parametrize(
    ("asked_by", "times"), [(signal.SIGINT, 1), *(pytest.param(each, 5, marks=pytest.mark.hostile) for each in ENDING)]
)
def test_a_process_that_is_asked_to_end_during_work_ends_soon_and_in_good_order(
    tmp_path: Path, saw: Callable[..., None], asked_by: signal.Signals, times: int
):
    answers: list[httpx.Response | httpx.HTTPError] = []

    def ask(page: Page) -> None:
        try:
            answers.append(page.ask(max_new_tokens="200"))
        except httpx.HTTPError as error:
            answers.append(error)

    told: list[dict[str, str]] = []
    for _ in range(times):
        with started(tmp_path, metrics=True) as page, page.meeting("slow"):
            threads = [threading.Thread(target=ask, args=(page,)) for _ in range(2)]  # one is worked on, one waits
            for thread in threads:
                thread.start()
            wait_until(lambda: number(page, "visualizer_running") + number(page, "visualizer_waiting") == 2, PATIENCE)
            time.sleep(1)
            assert page.end(asked_by) < ENDED_WITHIN
            assert page.process.returncode == 0
            for thread in threads:
                thread.join()
        assert "Traceback" not in page.log()
        told += [each.json()["error"] for each in answers if is_ours(each)]  # the others were cut off
        answers.clear()
    sentences = " / ".join(dict.fromkeys(f"{each['message']} {each['hint']}".strip() for each in told))
    saw(f"{asked_by.name} during work", f"{sentences or 'the connection ends'} (exit code 0)", times)
