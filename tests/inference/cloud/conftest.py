"""The package deployed on a stand-in for Modal: the real client, command line and container entry point, no cloud."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from inference import Request, Settings
from inference.cloud.backend import ModalBackend
from inference.settings import Cloud
from tests import ROOT
from tests.conftest import picture
from tests.modal_stand_in import StandIn, run_in_thread

#: Sent exactly, so that numbers can be compared bit for bit.
EXACT = "exact"
#: As it is deployed by default, but with little time and room, on one container.
TIGHT = "tight"
#: One container for all, whose counters therefore tell everything.
SINGLE = "single"


def ask(**more: Any) -> Request:
    return Request(**{"image": picture(96, 160), "prompt": "What is it?", "max_new_tokens": 6} | more)


def run_modal(
    cloud: StandIn, *arguments: str, folder: Path = ROOT, fails: bool = False, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Modal's real command line, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISUALIZER_")}
    environment |= cloud.client_env() | {"VISUALIZER_MODAL_MOUNT": str(cloud.mount_root), "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "modal", *arguments],
        cwd=folder,
        env=environment | {f"VISUALIZER_{name}": value for name, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert fails or done.returncode == 0, done.stdout + done.stderr
    return done


def deploy(cloud: StandIn, app: str, folder: Path = ROOT, **variables: str) -> None:
    run_modal(cloud, "deploy", "-m", "inference.remote", folder=folder, MODAL_APP=app, **{"MODEL": "demo"} | variables)


def wait_until(ready: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    log = tmp_path_factory.mktemp("modal") / "containers.log"
    options = {"containers_per_function": 2, "extra_env": {"HF_HUB_OFFLINE": "1"}}  # no test may need a network
    with log.open("w") as file, run_in_thread(log=file, **options) as cloud:
        deploy(cloud, EXACT, MODAL_FLOAT32="1", MODAL_ATTEMPTS="2")
        yield cloud


@pytest.fixture(scope="package")
def single(cloud: StandIn) -> None:
    deploy(cloud, SINGLE, MODAL_MAX_CONTAINERS="1")


@pytest.fixture(scope="package")
def client(cloud: StandIn) -> Iterator[modal.Client]:
    with modal.Client(cloud.url, 1, cloud.token) as client:  # 1: an ordinary client
        yield client


@pytest.fixture
def connect(client: modal.Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModalBackend]:
    """Open the backend as `open_backend("modal")` does, with the stand-in's client."""
    monkeypatch.setattr(modal.Client, "from_env", lambda: client)

    def connect(app: str = EXACT, model: str = "", **cloud: Any) -> ModalBackend:
        its = Cloud(**{"modal_app": app, "modal_gpu": ("H100", "L40S"), "modal_attempts": 2} | cloud)
        return ModalBackend(Settings(backend="modal", model=model, cloud=its))

    return connect
