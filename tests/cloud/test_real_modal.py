"""The same on the real cloud: `pytest -m cloud` with a Modal token; it deploys an app of its own and costs GPU minutes.

The embedded model runs there on the smallest GPUs; its numbers are compared with this machine's within rounding.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from inference import AnswerToken, Comparison, Progress, Settings, open_backend
from inference.cloud.backend import ModalBackend
from inference.errors import NotDeployedError, UnknownAdapterError
from inference.settings import Cloud
from tests import ROOT

pytestmark = pytest.mark.cloud
APP = "lora-attention-visualizer-test"


@pytest.fixture(scope="module")
def backend() -> Iterator[ModalBackend]:
    from modal.config import config

    if not (config.get("token_id") and config.get("token_secret")):
        pytest.skip("no Modal token: run `modal setup`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")
    cloud = {"MODAL_APP": APP, "MODEL": "demo", "MODAL_GPU": "T4,L4", "MODAL_FLOAT32": "1", "DTYPE": "float32"}
    environment = os.environ | {f"VISUALIZER_{name}": value for name, value in cloud.items()}
    modal = [sys.executable, "-m", "modal"]
    subprocess.run([*modal, "deploy", "-m", "inference.remote"], cwd=ROOT, env=environment, check=True, timeout=1_200)
    try:
        yield ModalBackend(Settings(backend="modal", cloud=Cloud(modal_app=APP)))
    finally:
        subprocess.run([*modal, "app", "stop", "--yes", APP], cwd=ROOT, check=False, timeout=120)


def test_a_comparison_equals_the_local_one_within_rounding(backend, ask):
    local = open_backend("local", model="demo", device="cpu")
    request = ask(adapters=(None, "find-red", "vision-lora"), vision_tower=True)
    theirs, ours = backend.compare(request), local.compare(request)
    local.close()
    for one, other in zip(theirs.recordings, ours.recordings, strict=True):
        assert one.answer == other.answer
        worst = max(
            float(np.abs(getattr(one, name) - getattr(other, name)).max())
            for name in ("by_token", "by_head", "group_share", "background", "vision_received")
        )
        print("largest difference:", worst)
        assert worst <= 1e-4


def test_a_stream_tells_its_stages(backend, ask):
    events = list(backend.stream(ask(adapters=(None, "find-red"))))
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert {"modal", "image", "answer", "replay", "receiving"} <= set(stages)
    assert isinstance(events[-1], Comparison)


def test_stop_ends_the_remote_work(backend, ask):
    before = backend.deployment.handles.engine.status.remote()
    stream = backend.stream(ask(adapters=(None, "find-red", "find-circle", "vision-lora"), max_new_tokens=64))
    for event in stream:
        if isinstance(event, AnswerToken):
            break
    begin = time.monotonic()
    stream.close()
    while backend.deployment.handles.engine.status.remote()["busy"]:
        time.sleep(0.05)
    print(f"idle {time.monotonic() - begin:.2f} s after Stop")
    assert time.monotonic() - begin <= 2
    assert backend.deployment.handles.engine.status.remote()["process"] == before["process"]


def test_refusals_and_many_requests(backend, ask):
    with pytest.raises(UnknownAdapterError):
        backend.compare(ask(adapters=("nobody",)))
    found = dict(backend.compare_many(ask(prompt=f"What is {index}?") for index in range(6)))
    assert sorted(found) == list(range(6))
    assert all(isinstance(each, Comparison) for each in found.values())
    with pytest.raises(NotDeployedError):
        ModalBackend(Settings(backend="modal", cloud=Cloud(modal_app="lora-attention-visualizer-nowhere")))
