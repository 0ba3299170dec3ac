"""Modal goes away in the middle of an answer: a sentence on the page, and once it is back the answer as ever."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from inference import Settings
from inference.cloud import watch
from inference.cloud.backend import ModalBackend
from inference.cloud.calls import Handles
from inference.settings import Cloud
from tests.built_page import build_handlers
from tests.faults.conftest import TIMES
from tests.inference.cloud.conftest import CONTAINERS, PACKAGES, deploy, is_token
from tests.inference.service.events import analyze, fields, scene, upload, visitor
from tests.modal_stand_in import StandIn, run_in_thread

pytestmark = pytest.mark.slow  # each starts the page, some in a machine of its own kind

APP = "goes-away"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    log = tmp_path_factory.mktemp("modal") / "log"
    with log.open("w") as file, run_in_thread(log=file, extra_env=CONTAINERS, packages=PACKAGES) as cloud:
        deploy(cloud, APP, MODAL_FLOAT32="1", MODAL_ATTEMPTS="2")
        yield cloud


class GoingAway:
    """Modal's queue of messages, over which a person hears of the work: it can be out of reach."""

    def __init__(self, queue: Any) -> None:
        self._queue, self.gone = queue, False

    def get_many(self, *given: Any, **named: Any) -> Any:
        if self.gone:
            raise ConnectionError("deadline exceeded")
        return self._queue.get_many(*given, **named)


@TIMES
def test_modal_that_goes_in_the_middle_of_an_answer(
    cloud: StandIn,
    uploads: Path,
    monkeypatch: pytest.MonkeyPatch,
    saw: Callable[..., None],
    times: int,
):
    monkeypatch.setattr(watch, "CALL_SECONDS", 5)  # so long, three times, Modal may be away
    with modal.Client(cloud.url, 1, cloud.token) as client:
        monkeypatch.setattr(modal.Client, "from_env", lambda: client)
        settings = Settings(backend="modal", model="demo", cloud=Cloud(modal_app=APP, modal_attempts=2))
        found = Handles(
            modal.Cls.from_name(APP, "RemoteEngine", client=client)(model="demo"),
            modal.Function.from_name(APP, "catalog", client=client),
            GoingAway(modal.Queue.from_name(f"{APP}-events", client=client)),
        )
        backend = ModalBackend(settings, handles=found)
        page = build_handlers(settings, lambda: backend)
        photo = upload(uploads)
        right = scene(page, analyze(page, photo, adapter=["find-red"])[-1])
        for run in range(times):
            with cloud.holding("RemoteEngine.*", is_token):
                asked = fields(photo, adapter=["find-red"], prompt=f"What, {times} {run}?")
                for failed in page.analyze(visitor(), *asked):
                    found.events.gone |= "writes its answer" in str(failed.notice)
                assert found.events.gone, failed.notice
            found.events.gone = False
            assert failed.notice["kind"] == "error"
            assert failed.go["interactive"]
            assert scene(page, analyze(page, photo, adapter=["find-red"])[-1]) == right
    saw("Modal goes in the middle of an answer", f"{failed.notice['sentence']} {failed.notice['hint']}", times)
