"""Every way in which the cloud can fail is provoked: what the person reads, and that the next request is answered."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import modal
import pytest
from modal.exception import ServiceError

from inference import AnswerToken, Progress, open_backend
from inference.cloud.failures import translated
from inference.cloud.watch import Watch
from inference.errors import (
    CancelledError,
    CrashedError,
    DeadlineError,
    ModelLoadError,
    NoGpuError,
    NotDeployedError,
    OutOfMemoryError,
    ResultSizeError,
    UnreachableError,
    VersionMismatchError,
    VisualizerError,
)
from inference.settings import Cloud
from tests.conftest import picture, wait_until
from tests.inference.cloud.conftest import EXACT, ROOT, SINGLE, TIGHT, SpawnedCalls, deploy, is_token
from tests.modal_stand_in import unreachable_env

pytestmark = pytest.mark.slow  # each on the stand-in, many with a container of its own

OPEN = """
import os, time
import inference.cloud.backend
from inference import Settings, VisualizerError, open_backend
begin = time.monotonic()
try:
    open_backend("modal", settings=Settings.from_environment(os.environ))
except VisualizerError as error:
    print(error.code, "|", error, "|", f"{time.monotonic() - begin:.1f}")
"""


def told(error: BaseException) -> str:
    """What the person reads: no traceback, no token, no line break, what to do."""
    assert isinstance(error, VisualizerError)
    sentence = str(error)
    print(f"{type(error).__name__}: {sentence}")
    assert error.hint
    assert "Traceback" not in sentence
    assert "\n" not in sentence
    assert not re.search(r"\b(ak|as)-", sentence)
    return sentence


def opened_elsewhere(environment: dict[str, str]) -> tuple[str, str, float]:
    """Open the backend in a process of its own: code, sentence and seconds."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "VISUALIZER_"))}
    done = subprocess.run(
        [sys.executable, "-c", OPEN], cwd=ROOT, env=bare | environment, capture_output=True, text=True, timeout=90
    )
    code, sentence, seconds = done.stdout.strip().split(" | ")
    assert not any(secret in done.stdout + done.stderr for secret in ("as-stand-in", "as-nobody", "Traceback"))
    return code, sentence, float(seconds)


def engines(cloud, app: str = EXACT):
    return [each for each in cloud.containers("RemoteEngine") if each.alive and each.app == app and each.pid]


@pytest.fixture(scope="module")
def tight(cloud):
    deploy(cloud, TIGHT, MODAL_TIMEOUT="300", MODAL_RESULT_BYTES="20000", MODAL_MAX_CONTAINERS="1")


# before anything runs


def test_no_token(cloud):
    without = {name: value for name, value in cloud.client_env().items() if "TOKEN" not in name}
    code, sentence, _ = opened_elsewhere(without)
    assert (code, "There is no Modal token here. Run modal setup" in sentence) == ("backend_credentials", True)


def test_a_token_that_modal_does_not_take(cloud):
    code, sentence, _ = opened_elsewhere(cloud.client_env() | {"MODAL_TOKEN_SECRET": "as-wrong"})
    assert (code, "does not take this token" in sentence) == ("backend_credentials", True)
    assert "wrong" not in sentence


def test_not_deployed(cloud, connect):
    code, sentence, _ = opened_elsewhere(cloud.client_env() | {"VISUALIZER_MODAL_APP": "nowhere"})
    assert code == "backend_not_deployed"
    assert "'nowhere' is not deployed on Modal. Deploy it: modal deploy -m inference.remote." in sentence
    with pytest.raises(NotDeployedError):
        connect("nowhere")


def test_unreachable_is_said_within_the_probes_time():
    """Modal's own client would try for 56 seconds."""
    code, sentence, seconds = opened_elsewhere(unreachable_env() | {"VISUALIZER_MODAL_PROBE_SECONDS": "1"})
    assert (code, "Modal does not answer" in sentence) == ("backend_unreachable", True)
    assert seconds < 28


@pytest.mark.parametrize(("here", "advice"), [("99.0.0", "Deploy again"), ("0.0.1", "Update this app")])
def test_another_version_is_deployed(connect, monkeypatch, here, advice):
    monkeypatch.setattr("inference.cloud.failures.VERSION", here)
    with pytest.raises(VersionMismatchError, match=advice) as error:
        connect()
    assert here in told(error.value)


# while a request runs


def test_a_redeploy_with_another_version_under_an_open_page(cloud, connect, tmp_path, ask):
    shutil.copytree(ROOT / "inference", tmp_path / "inference", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    deploy(cloud, "changing", MODAL_ATTEMPTS="2")
    backend = connect("changing")
    assert backend.compare(ask())
    (tmp_path / "inference" / "version.py").write_text('VERSION = "77.0.0"\n')
    deploy(cloud, "changing", folder=tmp_path)
    with pytest.raises(VersionMismatchError, match="Update this app") as error:
        backend.compare(ask())
    assert "77.0.0" in told(error.value)
    deploy(cloud, "changing")
    assert backend.compare(ask())


def test_no_gpu_in_time(cloud, connect, ask):
    cloud.no_gpu = True
    try:
        backend = connect(model="no/gpu-for-this", modal_start_seconds=2)
        with pytest.raises(NoGpuError, match=r"No GPU \(H100, A100-80GB, L40S\) was ready within 2 s") as error:
            backend.compare(ask())
        told(error.value)
    finally:
        cloud.no_gpu = False
    assert connect().compare(ask())


def test_a_model_that_cannot_be_loaded(connect, ask):
    backend = connect(model="nobody/no-such-model")
    with pytest.raises(ModelLoadError, match="'nobody/no-such-model' could not be loaded") as error:
        backend.compare(ask())
    assert "HF_TOKEN" in told(error.value)
    with pytest.raises(ModelLoadError):
        backend.model_info()


def test_out_of_memory_says_what_to_reduce(cloud, connect, dense, ask):
    backend = connect(model=str(dense))
    assert backend.compare(ask(max_new_tokens=1))
    for engine in engines(cloud):
        size = int(Path(f"/proc/{engine.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(engine.pid, resource.RLIMIT_AS, (size + 128 * 2**20, resource.RLIM_INFINITY))
    with pytest.raises(OutOfMemoryError, match="max_image_tokens") as error:
        backend.compare(ask(image=picture(1_600, 1_600)))
    told(error.value)
    for engine in engines(cloud):
        resource.prlimit(engine.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert backend.compare(ask(max_new_tokens=1))


def test_an_analysis_that_takes_too_long_is_ended(cloud, connect, dense, tight, ask):
    stream = connect(TIGHT, model=str(dense)).stream(ask(max_new_tokens=256))
    with cloud.holding("RemoteEngine", last_value=is_token):
        next(event for event in stream if isinstance(event, AnswerToken))
        cloud.expire("RemoteEngine")
        with pytest.raises(DeadlineError, match="longer than 300 s") as error:
            list(stream)
    told(error.value)


def test_a_result_that_is_too_large(cloud, connect, tight, ask):
    backend = connect(TIGHT)
    with pytest.raises(ResultSizeError, match="at most 20,000 may travel") as error:
        backend.compare(ask(adapters=(None, "find-red"), image=picture(320, 320)))
    told(error.value)
    cloud.refuse_result_bytes = 1_000
    try:
        with pytest.raises(VisualizerError) as error:
            connect().compare(ask())
    finally:
        cloud.refuse_result_bytes = None
    told(error.value)
    assert connect().compare(ask())


@pytest.mark.parametrize("how", ["kill", "preempt"])
def test_a_container_taken_away_in_the_middle_is_begun_anew(cloud, connect, dense, ask, how):
    request = ask(max_new_tokens=20)
    stream, events = connect(model=str(dense)).stream(request), []
    with cloud.holding("RemoteEngine", last_value=is_token):
        for event in stream:
            events.append(event)
            if isinstance(event, AnswerToken):
                break
        getattr(cloud, how)("RemoteEngine")
    events += stream
    sentences = [event.sentence for event in events if isinstance(event, Progress)]
    assert any("taken away; another one begins anew (attempt 2)" in sentence for sentence in sentences)
    written = {event.index: event.text for event in events if isinstance(event, AnswerToken)}
    with contextlib.closing(open_backend("local", model=str(dense), device="cpu")) as local:
        expected = local.compare(request).recordings[0]
    assert "".join(text for _, text in sorted(written.items())) == expected.answer
    assert (events[-1].recordings[0].by_token == expected.by_token).all()


def test_containers_that_die_again_and_again_are_given_up(cloud, connect, dense, ask):
    backend = connect(model=str(dense))

    def answer_and_kill():
        for event in backend.stream(ask(max_new_tokens=20)):
            if isinstance(event, AnswerToken):
                cloud.kill("RemoteEngine")

    held = cloud.holding("RemoteEngine", last_value=is_token)
    with held, pytest.raises(CrashedError, match="2 GPU containers died") as error:
        answer_and_kill()
    assert "modal app logs exact" in told(error.value)
    assert backend.compare(ask(max_new_tokens=1))


def test_a_redeploy_under_load_loses_no_answer(cloud, connect, dense, ask):
    backend, outcomes = connect(model=str(dense)), {}
    requests = [ask(prompt=prompt) for prompt in ("What is it?", "Where is it?")]

    def visitor(request):
        outcomes[request.prompt] = backend.compare(request)

    threads = [threading.Thread(target=visitor, args=(request,)) for request in requests]
    with cloud.holding("RemoteEngine"):
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(container.running for container in engines(cloud)) == 2)
        deploy(cloud, EXACT, MODAL_FLOAT32="1", MODAL_ATTEMPTS="2")
    for thread in threads:
        thread.join(90)
    with contextlib.closing(open_backend("local", model=str(dense), device="cpu")) as local:
        for request in requests:
            expected = local.compare(request).recordings[0].by_token
            assert (outcomes[request.prompt].recordings[0].by_token == expected).all()


def test_cancelled_on_modals_side(cloud, connect, handles, slow, single, ask):
    deployed = handles(SINGLE, str(slow))
    engine = SpawnedCalls(deployed.engine)
    backend = connect(SINGLE, model=str(slow), handles=replace(deployed, engine=engine))

    def answer_and_cancel():
        for event in backend.stream(ask(max_new_tokens=256)):
            if isinstance(event, AnswerToken):
                engine.calls[0].cancel()

    held = cloud.holding("RemoteEngine", last_value=is_token)
    with held, pytest.raises(CancelledError, match="cancelled on Modal") as error:
        answer_and_cancel()
    told(error.value)
    wait_until(lambda: not engine.status.remote()["busy"])


# messages that are lost, and a network that is away for a moment


def watch(**cloud):
    return Watch(Cloud(**cloud), {"gpu": ["H100"], "timeout": 600})


def test_a_lost_hello_does_not_make_a_running_analysis_one_without_a_gpu():
    heard = watch(modal_start_seconds=1)
    heard.take({"kind": "token", "adapter": None, "index": 0, "text": "a"})
    heard._started -= 100
    assert heard.silence().stage != "gpu"


def test_a_network_that_is_away_for_a_moment_costs_nothing(connect, handles, ask):
    deployed, faults = handles(), iter([ServiceError("gone"), OSError("gone")])

    class Flaky:
        def get_many(self, *arguments, **options):
            for fault in faults:
                raise fault
            return deployed.events.get_many(*arguments, **options)

    assert connect(handles=replace(deployed, events=Flaky())).compare(ask())
    assert list(faults) == []


def test_a_network_that_stays_away_is_told_and_the_work_is_cancelled(connect, handles, slow, ask, monkeypatch):
    monkeypatch.setattr("inference.cloud.watch.CALL_SECONDS", 0.3)
    monkeypatch.setattr("inference.cloud.watch.POLL_SECONDS", 0.1)
    deployed = handles(model=str(slow))
    engine = SpawnedCalls(deployed.engine)

    class Gone:
        def get_many(self, *arguments, **options):
            raise ServiceError("gone")

    backend = connect(model=str(slow), handles=replace(deployed, engine=engine, events=Gone()))
    with pytest.raises(UnreachableError):
        backend.compare(ask(max_new_tokens=256))
    (call,) = engine.calls
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get(timeout=60)


def test_a_bug_in_the_container_is_told_without_its_words(cloud, connect, ask):
    """A volume's folder that is a file: an OSError over there is not a network that is away."""
    folder = cloud.mount_root / "adapters"
    backend = connect()
    assert backend.compare(ask(max_new_tokens=1)), "a container is there: one that starts would mount the folder anew"
    kept = folder.rename(folder.with_name("kept"))
    folder.write_text("")
    try:
        with pytest.raises(VisualizerError) as error:
            backend.compare(ask())
    finally:
        folder.unlink()
        kept.rename(folder)
    assert not isinstance(error.value, UnreachableError)
    told(error.value)


# what is not provoked above


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (modal.exception.PermissionDeniedError("as-secret"), "backend_credentials"),
        (modal.exception.ResourceExhaustedError("as-secret"), "result_too_large"),
        (modal.exception.RequestSizeError("as-secret"), "result_too_large"),
        (modal.exception.VersionError("as-secret"), "backend_unavailable"),
        (modal.exception.ConnectionError("as-secret"), "backend_unreachable"),
        (modal.exception.ServiceError("as-secret"), "backend_unreachable"),
        (modal.exception.OutputExpiredError("as-secret"), "backend_unreachable"),
        (modal.exception.InternalFailure("as-secret"), "backend_crashed"),
        (modal.exception.InternalError("as-secret"), "backend_unreachable"),
        (modal.exception.ConflictError("as-secret"), "backend_unreachable"),
        (modal.exception.RemoteError("as-secret killed"), "backend_crashed"),
        (modal.exception.RemoteError("as-secret Input was cancelled by user"), "cancelled"),
        (modal.exception.ExecutionError("Traceback as-secret"), "backend_crashed"),
        (OSError("as-secret"), "backend_unreachable"),
        (ZeroDivisionError("as-secret"), "backend_crashed"),
    ],
)
def test_no_word_of_modals_own_reaches_the_person(error, code):
    assert translated(error, Cloud()).code == code
    assert "secret" not in told(translated(error, Cloud()))
