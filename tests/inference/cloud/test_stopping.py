"""Stop ends the remote work, not only the waiting for it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inference import AnswerToken, Comparison, Progress, Settings
from inference.service.analysis import AnalysisService
from tests.conftest import wait_until
from tests.inference.cloud.conftest import SINGLE

TOKENS = 256  # random weights never write their end token: so many are written where nobody stops them


@pytest.fixture
def engine(handles, slow, single):
    return handles(SINGLE, str(slow)).engine


def test_stop_during_generation_ends_the_work_long_before_it_is_done(connect, engine, slow, ask):
    backend = connect(SINGLE, model=str(slow))
    assert backend.compare(ask(prompt="First.", max_new_tokens=1))
    before = engine.status.remote()
    stream = backend.stream(ask(max_new_tokens=TOKENS))
    for event in stream:
        if isinstance(event, AnswerToken) and event.index >= 2:
            break
    begin = time.monotonic()
    stream.close()
    wait_until(lambda: not engine.status.remote()["busy"])
    after = engine.status.remote()
    print(f"idle {time.monotonic() - begin:.2f} s after Stop, {after['tokens'] - before['tokens']} tokens written")
    assert after["process"] == before["process"]
    assert (after["stopped"], after["answered"]) == (before["stopped"] + 1, before["answered"])
    assert after["tokens"] - before["tokens"] < TOKENS
    assert backend.compare(ask(prompt="Another.", max_new_tokens=1))
    assert engine.status.remote()["tokens"] == after["tokens"] + 1, "nothing went on behind the next request"


def test_stop_while_no_container_is_there_leaves_nothing_behind(cloud, connect, ask):
    """The request is taken out of the line: when GPUs are there again, none is started for it."""
    cloud.no_gpu = True
    try:
        before = len(cloud.containers("RemoteEngine"))
        stream = connect(model="some/other-model").stream(ask())  # a pool without containers
        for event in stream:
            if isinstance(event, Progress) and event.stage == "gpu":
                break
        assert cloud.waiting("RemoteEngine") == 1
        stream.close()
        wait_until(lambda: cloud.waiting("RemoteEngine") == 0)
    finally:
        cloud.no_gpu = False
    assert len(cloud.containers("RemoteEngine")) == before


class Beforehand:
    """The deployed class, of which a test decides how a GPU is started beforehand."""

    def __init__(self, engine: Any, spawn: Callable[[], Any]) -> None:
        self.engine, self.spawn = engine, spawn

    def __getattr__(self, method: str) -> Any:
        return getattr(self.engine, method)

    @property
    def warm(self) -> "Beforehand":
        return self


@pytest.mark.slow
@pytest.mark.parametrize("when", ["asked-for", "still-being-asked-for"])
def test_a_gpu_that_is_started_beforehand_is_the_one_that_answers(cloud, connect, handles, dense, ask, when):
    """Handing in a photo and pressing Analyze while it starts costs one container, not two."""
    (dense.parent / when).mkdir()
    model = f"{dense.parent / when}/../{dense.name}"  # a pool of its own
    deployed, told = handles(model=model), threading.Event()

    def spawn() -> Any:
        call = deployed.engine.warm.spawn()
        told.wait()  # a GPU is started, and nobody hears yet that it is
        return call

    backend = connect(model=model, handles=replace(deployed, engine=Beforehand(deployed.engine, spawn)))
    before = len(cloud.containers("RemoteEngine"))
    cloud.start_delay = 2.0
    try:
        backend.warm()
        backend.warm()
        wait_until(lambda: len(cloud.containers("RemoteEngine")) == before + 1)
        events = backend.stream(ask(max_new_tokens=1))
        if when == "still-being-asked-for":
            assert [next(events).stage, next(events).stage] == ["modal", "modal"]  # Stop is noticed between them
        told.set()
        assert isinstance(list(events)[-1], Comparison)
    finally:
        told.set()
        cloud.start_delay = 0.0
    assert len(cloud.containers("RemoteEngine")) == before + 1


def test_what_fails_beforehand_fails_no_request(connect, handles, ask):
    deployed, asked = handles(), threading.Event()

    def spawn() -> Any:
        asked.set()
        raise SystemExit("of Modal's client, and no Exception")

    backend = connect(handles=replace(deployed, engine=Beforehand(deployed.engine, spawn)))
    backend.warm()
    assert backend.compare(ask(max_new_tokens=1))
    assert asked.is_set()


def test_a_visitor_who_leaves_the_page_ends_the_work(connect, engine, slow, ask):
    """Through the service, as the page does it: the session ends, and the container is idle."""
    backend = connect(SINGLE, model=str(slow))
    before = engine.status.remote()
    service = AnalysisService(Settings(backend="modal"), lambda: backend)
    session = service.session("someone")
    stop = session.begin("analysis", "its request")
    events = service.answer(ask(max_new_tokens=TOKENS), address="here", session=session, cancelled=stop)
    for event in events:
        if isinstance(event, AnswerToken):
            break
    service.leave("someone")
    events.close()
    wait_until(lambda: engine.status.remote()["stopped"] == before["stopped"] + 1)
    wait_until(lambda: not engine.status.remote()["busy"])
    after = engine.status.remote()
    assert after["answered"] == before["answered"]
    assert after["tokens"] - before["tokens"] < TOKENS
