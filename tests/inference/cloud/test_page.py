"""The page over Modal: what a person reads while it works and when it fails, and that the page stays usable."""

from dataclasses import replace

import pytest

from inference import Settings
from inference.errors import NotDeployedError
from inference.settings import Cloud
from tests.built_page import build_handlers
from tests.conftest import wait_until
from tests.inference.cloud.conftest import EXACT, SpawnedCalls
from tests.inference.service.events import analyze, scene, upload, visitor

SETTINGS = Settings(backend="modal", model="demo", cloud=Cloud(modal_app=EXACT))


@pytest.fixture
def page(connect):
    return build_handlers(SETTINGS, lambda: connect(model="demo"))


def test_an_analysis_says_its_stages_and_shows_the_pictures(page, uploads):
    assert page.status()["words"][2] == "reaching Modal…"
    page.wait()
    waited = page.offer([])
    assert waited.status["words"][:2] == ["demo", "modal"]
    assert "find-red" in str(waited.adapter["choices"])
    views = analyze(page, upload(uploads), adapter=["find-red"])
    said = [view.notice["sentence"] for view in views[:-1]]
    for words in ("Reaching Modal", "Reading the image", "base writes its answer", "Receiving the result"):
        assert any(words in sentence for sentence in said), said
    assert scene(page, views[-1])["variants"] == ["base", "find-red"]
    assert "cpu, float32" in page.status()["words"]


@pytest.mark.slow
def test_after_a_failure_what_was_shown_stays_and_the_next_analysis_is_answered(connect, handles, uploads):
    deployed, faults = handles(), []

    class Unreachable(SpawnedCalls):
        def spawn(self, *arguments):
            if faults:
                raise faults.pop()
            return super().spawn(*arguments)

    backend = connect(handles=replace(deployed, engine=Unreachable(deployed.engine)))
    page = build_handlers(SETTINGS, lambda: backend)
    done = analyze(page, upload(uploads), adapter=["find-red"])[-1]
    faults.append(ConnectionError())
    failed = analyze(page, upload(uploads), adapter=["find-circle"])[-1]
    assert (failed.notice["kind"], failed.notice["sentence"]) == ("error", "Modal does not answer.")
    assert failed.go["interactive"]
    assert scene(page, done)["variants"] == ["base", "find-red"]
    assert scene(page, analyze(page, upload(uploads), adapter=["find-circle"])[-1])["variants"] == [
        "base",
        "find-circle",
    ]


@pytest.mark.slow
def test_where_it_cannot_be_opened_the_page_says_why_and_a_reload_tries_again(connect):
    tries = []

    def open_():
        tries.append(1)
        return connect("nowhere" if len(tries) == 1 else EXACT)

    page = build_handlers(Settings(backend="modal"), open_)
    page.wait()
    waited = page.offer([])
    assert waited.status["state"] == "failed"
    said = waited.notice
    assert (said["kind"], said["sentence"]) == ("error", "The app 'nowhere' is not deployed on Modal.")
    assert isinstance(page.service.backend.failure(), NotDeployedError)
    page.wait()
    assert page.offer([]).status["state"] == "ready"


@pytest.mark.slow
def test_a_photo_that_is_handed_in_starts_a_gpu(cloud, page, uploads):
    page.service.backend.wait()
    before = cloud.rpc_calls["FunctionMap"]
    page.receive(upload(uploads), visitor())
    page.receive(upload(uploads), visitor())
    wait_until(lambda: cloud.rpc_calls["FunctionMap"] == before + 1)
