"""The package deployed on a stand-in for Modal: the real client, command line and container entry point, no cloud."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from inference import Backend, Settings, open_backend
from inference.cloud.backend import ModalBackend
from inference.cloud.calls import Handles
from inference.settings import Cloud
from tests import ROOT
from tests.checkpoints import write_checkpoint
from tests.modal_stand_in import StandIn, run_in_thread

#: Sent exactly, so that numbers can be compared bit for bit.
EXACT = "exact"
#: As it is deployed by default, but with little time and room, on one container.
TIGHT = "tight"
#: One container for all, whose counters therefore tell everything.
SINGLE = "single"
#: No test may need a network; and one thread, as here: other sums come out of several.
CONTAINERS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
#: What a container of ours is slow to import, of packages that read nothing of what a deployment sets.
PACKAGES = (
    "aiohttp",
    "grpclib.client",
    "modal_proto.api_pb2",
    "peft",
    "safetensors.torch",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl",
    "transformers.models.qwen3_vl.modeling_qwen3_vl",
    "transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe",
)


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


def is_token(message: Any) -> bool:
    """Whether a container says a piece of an answer: work is in its middle."""
    return bool(message["kind"] == "token")


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    log = tmp_path_factory.mktemp("modal") / "containers.log"
    options = {"containers_per_function": 2, "extra_env": CONTAINERS, "packages": PACKAGES}
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


@pytest.fixture(scope="package")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of many layers: an answer takes far longer than it takes to hear of its beginning."""
    return write_checkpoint(tmp_path_factory.mktemp("slow"), "dense", layers=48)


@pytest.fixture(scope="package")
def local() -> Iterator[Backend]:
    """The embedded model in this process."""
    backend = open_backend("local", model="demo", device="cpu")
    yield backend
    backend.close()


@pytest.fixture
def handles(client: modal.Client) -> Callable[..., Handles]:
    """What is deployed, for tests that look at it or put something in between."""

    def handles(app: str = EXACT, model: str = "") -> Handles:
        engine = modal.Cls.from_name(app, "RemoteEngine", client=client)
        catalog = modal.Function.from_name(app, "catalog", client=client)
        events = modal.Queue.from_name(f"{app}-events", client=client)
        return Handles(engine(model=model) if model else engine(), catalog, events)

    return handles


@pytest.fixture
def connect(client: modal.Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModalBackend]:
    """Open the backend as `open_backend("modal")` does, with the stand-in's client."""
    monkeypatch.setattr(modal.Client, "from_env", lambda: client)

    def connect(app: str = EXACT, model: str = "", handles: Handles | None = None, **cloud: Any) -> ModalBackend:
        given = {"modal_app": app, "modal_gpu": ("H100", "L40S"), "modal_attempts": 2} | cloud
        return ModalBackend(Settings(backend="modal", model=model, cloud=Cloud(**given)), handles=handles)

    return connect


class SpawnedCalls:
    """The deployed class, whose spawned calls a test has in hand."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.calls: list[Any] = []

    def __getattr__(self, method: str) -> Any:
        return getattr(self.engine, method)

    @property
    def compare(self) -> "SpawnedCalls":
        return self

    def spawn(self, *arguments: Any) -> Any:
        self.calls.append(self.engine.compare.spawn(*arguments))
        return self.calls[-1]
