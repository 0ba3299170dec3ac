"""Stop ends the remote work, not only the waiting for it."""

import time

from inference import AnswerToken, Progress
from tests.inference.cloud.conftest import SINGLE, ask, wait_until


def status(backend):
    return backend._handles.engine.status.remote()


def long_answer(**more):
    """A random-weight model never writes its end token: this goes on for a while."""
    return ask(prompt="Count.", max_new_tokens=256, **more)


def test_stop_during_generation_ends_the_work_within_two_seconds(connect, dense, single):
    backend = connect(SINGLE, model=str(dense))
    assert backend.compare(ask(max_new_tokens=1))
    before = status(backend)
    stream = backend.stream(long_answer())
    for event in stream:
        if isinstance(event, AnswerToken) and event.index >= 2:
            break
    begin = time.monotonic()
    stream.close()
    wait_until(lambda: not status(backend)["busy"])
    seconds = time.monotonic() - begin
    print(f"idle {seconds:.2f} s after Stop")
    assert seconds <= 2
    after = status(backend)
    assert after["process"] == before["process"]
    assert (after["stopped"], after["answered"]) == (before["stopped"] + 1, before["answered"])
    assert after["tokens"] - before["tokens"] < 256
    time.sleep(0.5)
    assert status(backend)["tokens"] == after["tokens"]
    assert backend.compare(ask(max_new_tokens=1))


def test_stop_while_no_container_is_there_leaves_nothing_behind(cloud, connect):
    """The request is taken out of the line: when GPUs are there again, none is started for it."""
    cloud.no_gpu = True
    try:
        before = len(cloud.containers("RemoteEngine"))
        stream = connect(model="some/other-model").stream(ask())  # a pool without containers
        for event in stream:
            if isinstance(event, Progress) and event.stage == "gpu":
                break
        begin = time.monotonic()
        stream.close()
        assert time.monotonic() - begin < 2
    finally:
        cloud.no_gpu = False
    time.sleep(1.5)
    assert len(cloud.containers("RemoteEngine")) == before


def test_a_gpu_that_is_started_beforehand_is_the_one_that_answers(cloud, connect, dense, monkeypatch):
    """Handing in a photo and pressing Analyze while it starts costs one container, not two."""
    backend = connect(model=str(dense.parent / "dense0" / ".." / dense.name))  # a pool of its own
    cloud.start_delay = 1.0
    before = len(cloud.containers("RemoteEngine"))
    try:
        backend.warm()
        backend.warm()
        wait_until(lambda: backend._warming is not None)
        assert backend.compare(ask(max_new_tokens=1))
    finally:
        cloud.start_delay = 0.0
    assert len(cloud.containers("RemoteEngine")) == before + 1


def test_a_visitor_who_leaves_the_page_ends_the_work(connect, dense, single):
    """Through the desk, as the page does it: the visit ends, and the container is idle."""
    from inference import Settings
    from inference.service.analysis import Desk

    backend = connect(SINGLE, model=str(dense))
    assert backend.compare(ask(max_new_tokens=1))
    before = status(backend)
    desk = Desk(Settings(backend="modal"), lambda: backend)
    visit = desk.visit("someone")
    events = desk.answer(long_answer(), address="here", visit=visit, cancelled=visit.begin("analysis"))
    for event in events:
        if isinstance(event, AnswerToken):
            break
    desk.leave("someone")
    events.close()
    begin = time.monotonic()
    wait_until(lambda: status(backend)["stopped"] == before["stopped"] + 1 and not status(backend)["busy"])
    assert time.monotonic() - begin <= 3
