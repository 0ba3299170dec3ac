"""No line of the log is a stranger's: neither its words nor its end; and a request's lines can be found."""

import contextlib
import io
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextvars import Context
from pathlib import Path

import pytest

from inference.batch.__main__ import main as batch
from inference.logs import begin_request, escaped, request_id, set_up
from inference.records import Outcomes
from inference.request import Request
from tests.conftest import picture
from tests.scripted_backend import ScriptedBackend

HOSTILE = "Xyzzy\x1b[31m\nERROR app: forged\r\x00%s%n%(x)s\u2028\u202e\ud800plugh"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything is said as a process of ours says it, into this; afterwards as before."""
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    handlers, level, said = root.handlers[:], root.level, io.StringIO()
    monkeypatch.setattr(traceback, "print_exception", traceback.print_exception)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(sys, "stderr", said)
    for name in ("uvicorn", "uvicorn.error"):  # a server that ran in this process has given them handlers of its own
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    root.handlers.clear()
    with warnings.catch_warnings():
        set_up(logging.INFO)
        warnings.simplefilter("always")
        yield said
        logging.captureWarnings(False)
    logging.setLogRecordFactory(factory)
    root.handlers[:], root.level = handlers, level


def fail(words: str = HOSTILE) -> None:
    try:
        raise KeyError(words)
    except KeyError as error:
        raise ExceptionGroup(words, [ValueError(words)]) from error


def test_a_line_stays_a_line_and_what_steers_a_terminal_is_written_out(lines: io.StringIO):
    logging.getLogger("inference.somewhere").warning("said %s to %.5r", HOSTILE, "someone else")
    written = r"Xyzzy\x1b[31m\nERROR app: forged\r\x00%s%n%(x)s\u2028\u202e\ud800plugh"
    assert lines.getvalue() == f"WARNING inference.somewhere: said {written} to 'some\n"


@pytest.mark.parametrize("text", ["", "plain", "Où est-ce ? 猫 ⟨a⟩ \\ %s", "“quoted”"])
def test_what_prints_stays_as_it_is(text: str):
    assert escaped(text) == text


@pytest.mark.parametrize("logger", ["inference.somewhere", "app", "__main__", "uvicorn.error", "asyncio", "elsewhere"])
def test_an_exception_is_its_class_and_places_whoever_logs_it(lines: io.StringIO, logger: str):
    try:
        fail()
    except ExceptionGroup:
        logging.getLogger(logger).exception("it failed\n")
    first, *places = lines.getvalue().splitlines()
    assert first.startswith(f"ERROR {logger}: it failed")
    classes = [line.strip() for line in places if not line.startswith("    ")]
    assert classes == [
        "builtins.ExceptionGroup",
        "within it:",
        "builtins.ValueError",
        "because of:",
        "builtins.KeyError",
    ]
    assert re.search(r"    \S+test_logs\.py:\d+ in fail: raise KeyError\(words\)$", lines.getvalue(), re.MULTILINE)
    assert "Xyzzy" not in lines.getvalue()


def test_what_a_library_tells_below_its_first_line_is_left_out_beside_an_exception(lines: io.StringIO):
    """asyncio writes the exception there, message and all."""
    error = ValueError(HOSTILE)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {error!r}", exc_info=error)
    assert lines.getvalue() == "ERROR asyncio: Task exception was never retrieved\n  builtins.ValueError\n"


def test_whatever_else_would_be_printed_is_logged_too(lines: io.StringIO):
    class Held:
        def __del__(self) -> None:
            raise ValueError(HOSTILE)

    try:
        fail()
    except ExceptionGroup as error:
        traceback.print_exc()
        traceback.print_exception(error)
        traceback.print_exception(type(error), error, error.__traceback__)
        in_a_file = io.StringIO()
        traceback.print_exc(file=in_a_file)
        assert "Xyzzy" in in_a_file.getvalue()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Held()
    warnings.warn("careful\nERROR app: forged", stacklevel=1)
    said = lines.getvalue()
    assert said.count("ERROR inference.logs: a library met an error\n") == 3
    assert said.count("ERROR inference.logs: a thread ended\n") == 1
    assert said.count("ERROR inference.logs: an error that nobody can catch\n") == 1
    assert said.count("UserWarning: careful\\nERROR app: forged") == 1
    assert "Xyzzy" not in said


def test_a_line_that_cannot_be_formatted_is_still_said(lines: io.StringIO):
    logging.getLogger("inference.somewhere").warning("%d pieces", HOSTILE)
    assert lines.getvalue() == "WARNING inference.somewhere: a line that cannot be formatted: %d pieces\n"


def test_a_requests_lines_have_its_id_and_no_others(lines: io.StringIO):
    log = logging.getLogger("inference.somewhere")

    def work() -> str:
        name = begin_request()
        log.info("begun")
        assert request_id() == name
        return name

    first, second = Context().run(work), Context().run(work)
    log.info("idle")
    assert re.fullmatch("[0-9a-f]{6}", first)
    assert first != second
    assert lines.getvalue().splitlines() == [
        f"INFO inference.somewhere: begun (request {first})",
        f"INFO inference.somewhere: begun (request {second})",
        "INFO inference.somewhere: idle",
    ]
    assert request_id() == ""


def test_a_ring_of_causes_ends(lines: io.StringIO):
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    with contextlib.suppress(RecursionError):
        logging.getLogger("app").error("it failed", exc_info=first)
    assert lines.getvalue().splitlines()[1:] == ["  builtins.ValueError", "  because of:", "  builtins.KeyError"]


def test_a_batch_whose_engine_fails_over_its_words_says_neither_words_nor_codes(lines: io.StringIO, tmp_path: Path):
    class Failing(ScriptedBackend):
        def compare_many(self, requests: Iterable[Request]) -> Outcomes:
            for request in requests:
                raise ValueError(request.prompt)
            yield from ()

    (tmp_path / "in").mkdir()
    picture(64, 96).save(tmp_path / "in" / "a.png")
    words, said = HOSTILE.replace("\x00", "").replace("\ud800", ""), io.StringIO()
    arguments = [str(tmp_path / "in"), "--prompt", words, "--out", str(tmp_path / "out")]
    assert batch(arguments, {}, open_=lambda settings: Failing(), stream=said) == 1
    assert "ERROR inference.batch.run: an item failed\n  builtins.ValueError\n" in lines.getvalue()
    assert "internal_error: Something went wrong inside the tool." in said.getvalue()
    for text in (lines.getvalue(), said.getvalue()):
        assert "Xyzzy" not in text
        assert all(letter.isprintable() or letter == "\n" for letter in text)
