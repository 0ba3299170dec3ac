"""The queue, the rate limit, and the one way in which an analysis happens."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.descriptions import AdapterInfo
from inference.errors import BackendError, BusyError, CancelledError, InputError, NotAnImageError, UnexpectedError
from inference.photo import Photo, upright_rgb
from inference.records import AnswerToken, Progress
from inference.request import Request
from inference.service.analysis import LONGEST_NAME, AnalysisService
from inference.service.decoder import Decoder
from inference.service.rate_limit import RateLimit
from inference.service.request_queue import RequestQueue, Ticket
from inference.service.results import Result
from inference.service.worker import POLL
from inference.settings import Limits, Settings
from tests.conftest import picture
from tests.scripted_backend import ADAPTERS, ANSWER, ScriptedBackend


def request(**changes: Any) -> Request:
    return Request(**({"image": picture(64, 96), "prompt": "What?", "adapters": (None, "find-red")} | changes))


def service_over(backend: ScriptedBackend, **limits: Any) -> AnalysisService:
    return AnalysisService(Settings(limits=Limits(**limits)), lambda: backend)


def test_events_come_in_order_and_end_with_the_result():
    *events, last = service_over(ScriptedBackend()).answer(request(), address="a")
    assert isinstance(last, Result)
    assert all(isinstance(each, (Progress, AnswerToken)) for each in events)
    assert [each.text for each in events if isinstance(each, AnswerToken) and each.adapter is None] == ANSWER


def test_every_event_of_a_stream_is_made_in_one_thread():
    """Frameworks keep state per thread; a page reads from changing ones."""
    threads: set[int] = set()

    class Watching(ScriptedBackend):
        def stream(self, request: Request) -> Any:
            threads.add(threading.get_ident())
            for event in super().stream(request):
                threads.add(threading.get_ident())
                yield event
            threads.add(threading.get_ident())

    events = service_over(Watching()).answer(request(), address="a")
    for _ in range(30):
        reader = threading.Thread(target=lambda: next(events, None))
        reader.start()
        reader.join()
    assert len(threads) == 1


def test_the_backend_is_opened_once_and_only_when_needed():
    opened: list[int] = []

    def open_() -> ScriptedBackend:
        opened.append(1)
        time.sleep(0.05)
        return ScriptedBackend()

    service = AnalysisService(Settings(), open_)
    assert opened == []
    threads = [threading.Thread(target=service.adapters) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [1]


def test_a_failure_to_open_is_raised_and_the_next_request_tries_again():
    results: list[Any] = [BackendError("Not yet."), ScriptedBackend()]

    def open_() -> ScriptedBackend:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    service = AnalysisService(Settings(), open_)
    with pytest.raises(BackendError, match="Not yet"):
        service.adapters()
    assert not service.backend.ready()
    assert isinstance(service.backend.failure(), BackendError)
    assert service.result(request(), address="a").comparison.recordings


def test_an_engine_that_ends_without_an_answer_is_an_error_and_not_a_wait():
    class Silent(ScriptedBackend):
        def stream(self, request: Request) -> Any:
            yield Progress("vision", "Looking at the image", 0.0)

    with pytest.raises(UnexpectedError, match="inside the tool"):
        service_over(Silent()).result(request(), address="a")


def test_when_the_answer_comes_the_place_in_the_queue_is_free_again():
    gate = threading.Event()
    service = service_over(ScriptedBackend(gate=gate))
    events = service.answer(request(), address="a")
    next(event for event in events if isinstance(event, Progress) and event.stage == "vision")
    assert service.queue.running == 1
    gate.set()
    *_, last = events
    assert isinstance(last, Result)
    assert service.queue.running == 0


def test_stopping_while_the_model_loads():
    gate, stop = threading.Event(), threading.Event()

    def open_() -> ScriptedBackend:
        gate.wait(60)
        return ScriptedBackend()

    events = AnalysisService(Settings(), open_).answer(request(), address="a", cancelled=stop)
    first = next(events)
    assert isinstance(first, Progress)
    assert first.sentence == "loading the model"
    stop.set()
    with pytest.raises(CancelledError):
        next(events)
    gate.set()


def test_who_waits_is_told_how_many_are_before():
    gate = threading.Event()
    backend = ScriptedBackend(gate=gate)
    service = service_over(backend)
    first = service.answer(request(), address="a")
    next(first)
    second = service.answer(request(prompt="Second?"), address="b")
    told = next(second)
    assert isinstance(told, Progress)
    assert (told.stage, told.sentence) == ("queue", "Waiting: one analysis is before yours.")
    assert service.queue.waiting == 1
    gate.set()
    assert isinstance(list(first)[-1], Result)
    assert isinstance(list(second)[-1], Result)
    assert [each.prompt for each in backend.requests] == ["What?", "Second?"]


def test_who_waits_behind_something_long_is_told_for_how_long_already(monkeypatch):
    gate, busy = threading.Event(), [9.9]
    monkeypatch.setattr(RequestQueue, "busy_seconds", property(lambda line: busy[0]))
    service = service_over(ScriptedBackend(gate=gate))
    first = service.answer(request(), address="a")
    next(first)
    second = service.answer(request(prompt="Second?"), address="b")
    told = [next(second).sentence]
    for busy[0], running in ((10.0, 1), (39.0, 1), (39.5, 2), (89.9, 1), (125.0, 1)):
        monkeypatch.setattr(RequestQueue, "running", property(lambda line, running=running: running))
        told.append(next(second).sentence)
    assert told == [
        "Waiting: one analysis is before yours.",
        "Waiting: one analysis is before yours; the one at work began 10 s ago.",
        "Waiting: one analysis is before yours; the one at work began 30 s ago.",
        "Waiting: one analysis is before yours; the longest at work began 30 s ago.",
        "Waiting: one analysis is before yours; the one at work began 80 s ago.",
        "Waiting: one analysis is before yours; the one at work began 2 min ago.",
    ]
    gate.set()
    assert isinstance(list(first)[-1], Result)
    assert isinstance(list(second)[-1], Result)


def test_whose_turn_it_has_become_is_not_told_to_wait(monkeypatch):
    monkeypatch.setattr(Ticket, "ahead", 0)  # of one that is served a moment after it was asked whether it is
    gate = threading.Event()
    service = service_over(ScriptedBackend(gate=gate))
    first = service.answer(request(), address="a")
    next(first)
    threading.Timer(3 * POLL, gate.set).start()
    told = [each for each in service.answer(request(prompt="Second?"), address="b") if isinstance(each, Progress)]
    assert "queue" not in {each.stage for each in told}
    list(first)


def test_a_queue_knows_for_how_long_it_has_been_busy():
    line = RequestQueue(longest=2, at_once=2)
    assert line.busy_seconds == 0
    with line.place("a") as one, line.place("b") as other:
        one.began, other.began = one.began - 1_000, other.began - 500
        with line.place("c"):  # who waits has not begun
            assert 1_000 <= line.busy_seconds < 1_400
    assert line.busy_seconds == 0


def test_an_answer_is_not_given_again_after_its_adapters_files_were_replaced():
    backend = ScriptedBackend(offered=_stamped("before"))
    service = service_over(backend)
    session = service.session("someone")
    first, again = (service.result(request(), address="a", session=session) for _ in range(2))
    assert again is first
    backend.offered = _stamped("after")
    new = service.result(request(), address="a", session=session)
    assert new is not first
    assert service.result(request(), address="a", session=session) is new
    of_base = request(adapters=(None,))
    kept = service.result(of_base, address="a", session=session)
    backend.offered = _stamped("again")
    assert service.result(of_base, address="a", session=session) is kept
    with pytest.raises(InputError, match="no longer kept"):
        service.kept(session, new.key)


def test_files_that_are_replaced_during_an_analysis_make_its_answer_old_too():
    gate = threading.Event()
    backend = ScriptedBackend(gate=gate, offered=_stamped("before"))
    service = service_over(backend)
    session = service.session("someone")
    events = service.answer(request(), address="a", session=session)
    next(event for event in events if isinstance(event, Progress) and event.stage == "vision")
    backend.offered = _stamped("after")
    service.adapters()  # somebody opens the page
    gate.set()
    *_, old = events
    assert service.result(request(), address="a", session=session) is not old


def test_what_variants_wrote_is_not_said_of_adapters_whose_files_were_replaced_since():
    backend = ScriptedBackend(offered=_stamped("before"))
    service = service_over(backend)
    session = service.session("someone")
    written = service.result(request(), address="a", session=session)
    for stamp, own in (("before", written.comparison), ("after", None)):
        backend.offered = _stamped(stamp)  # it may wait for its turn meanwhile
        service.adapters()
        edited = replace(written.request, answer=f"Another, {stamp}")
        *_, result = service.answer(edited, address="a", session=session, written=written)
        assert result.written is own
        assert result.own is (own or result.comparison)


def _stamped(stamp: str) -> tuple[AdapterInfo, ...]:
    return tuple(replace(each, stamp=stamp) for each in ADAPTERS)


def test_sessions_are_bounded_and_the_one_idle_longest_ends():
    service = service_over(ScriptedBackend(), sessions=3)
    for name in ("one", "two", "three"):
        service.result(request(), address="a", session=service.session(name))
    one, running = service.session("one"), service.session("two").begin("analysis", "key")
    three = service.session("three")  # used last: "one" is idle longest, since "two" works
    key = service.result(request(), address="a", session=three).key
    service.session("four")
    assert service.results.get("one", key) is None
    assert [service.results.get(name, key) is None for name in ("two", "three")] == [False, False]
    assert not running.is_set()
    assert service.session("three") is three
    assert service.session("one") is not one


def test_names_without_end_take_no_room():
    service = service_over(ScriptedBackend())
    session = service.session("x" * 1_000_000)
    assert len(session.id) == LONGEST_NAME
    assert service.session("x" * 1_000_000) is session
    service.leave("x" * 1_000_000)
    assert service.session("x" * 1_000_000) is not session


def test_few_photos_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch):
    now, most, lock = 0, 0, threading.Lock()

    def slow(*given: object) -> Photo:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return upright_rgb(picture(64, 96))

    monkeypatch.setattr(Decoder, "decode", slow)
    service = service_over(ScriptedBackend(), pictures_at_once=2)
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(service.decode, [b""] * 16, map(str, range(16))))) == 16
        assert most == 2
        most = 0
        assert len(list(threads.map(service.decode, [b""] * 8, ["one"] * 8))) == 8
    assert most == 1  # an address leaves a place to others


def test_the_line_is_first_come_first_served_and_bounded():
    line = RequestQueue(longest=2)
    with line.place("a") as first, line.place("b") as second, line.place("c") as third:
        assert [ticket.ahead for ticket in (first, second, third)] == [0, 1, 2]
        assert (line.running, line.waiting) == (1, 2)
        assert line.wait(first, 0.01)
        assert not line.wait(second, 0.01)
        with pytest.raises(BusyError, match="2 analyses are waiting"), line.place("d"):
            pass
    assert (line.running, line.waiting) == (0, 0)


def test_several_may_be_served_at_once():
    line = RequestQueue(longest=1, at_once=2)
    with line.place("a") as first, line.place("a") as second, line.place("b") as third:
        assert [ticket.ahead for ticket in (first, second, third)] == [0, 0, 1]
        line.serve(3)
        assert third.ahead == 0


def order(line: RequestQueue, *addresses: str) -> list[str]:
    """In which order the requests of these addresses, which come while another one runs, get their turns."""
    with ExitStack() as stack:
        running = stack.enter_context(ExitStack())
        running.enter_context(line.place("running"))
        places = {}
        for at, address in enumerate(addresses):
            place = stack.enter_context(ExitStack())
            places[f"{address}{at}"] = (place, place.enter_context(line.place(address)))
        assert sorted(ticket.ahead for _, ticket in places.values()) == list(range(1, len(addresses) + 1))
        running.close()
        turns = []
        while places:
            (turn,) = [name for name, (_, ticket) in places.items() if ticket.ahead == 0]
            turns.append(turn)
            places.pop(turn)[0].close()
    return turns


def test_who_asks_much_waits_behind_everybody_elses_first():
    assert order(RequestQueue(20), *"aaab") == ["a0", "b3", "a1", "a2"]
    assert order(RequestQueue(20), *"aaabbc") == ["a0", "b3", "c5", "a1", "b4", "a2"]
    assert order(RequestQueue(20), *"abcd") == ["a0", "b1", "c2", "d3"]


def test_who_comes_late_is_no_earlier_than_whoever_is_served():
    line = RequestQueue(20)
    assert order(line, *"aaaa") == ["a0", "a1", "a2", "a3"]
    assert order(line, *"ba") == ["b0", "a1"]  # what an address had is no debt


def test_one_address_has_half_of_the_places():
    line = RequestQueue(longest=5)
    with line.place("a"), line.place("a"), line.place("a"):
        with pytest.raises(BusyError, match="3 requests of this address"), line.place("a"):
            pass
        with line.place("b") as other:
            assert other.ahead == 1


def test_the_rate_limit_slides_and_is_per_address():
    now = 100.0
    rate = RateLimit(2, lambda: now)
    rate.admit("a")
    now += 30
    rate.admit("a")
    with pytest.raises(BusyError, match=r"the limit is 2.*Try again in 30 s"):
        rate.admit("a")
    rate.admit("b")
    now += 31
    rate.admit("a")
    with pytest.raises(BusyError):
        rate.admit("a")


def test_addresses_long_gone_are_forgotten():
    now = 0.0
    rate = RateLimit(1, lambda: now)
    for index in range(1_000):
        rate.admit(f"address {index}")
    now = 61.0
    rate.admit("another")
    assert rate.addresses == 1


def test_when_the_process_ends_work_is_stopped_and_what_visitors_left_is_deleted(tmp_path: Path):
    gate, photo = threading.Event(), tmp_path / "photo.png"
    photo.write_bytes(b"a visitor's")
    service = service_over(ScriptedBackend(gate=gate))
    session = service.session("one")
    service.uploads.add("a", [photo])
    with pytest.raises(NotAnImageError):
        service.photo(session, photo, "a")  # it is the visitor's from then on
    stop = session.begin("analysis", "key")
    events = service.answer(request(), address="a", session=session, cancelled=stop)
    next(events)
    service.close()
    gate.set()
    with pytest.raises(CancelledError):
        list(events)
    assert not photo.exists()
