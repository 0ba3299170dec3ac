"""The class through a memory snapshot and its restore: imports before it, the model after it (or, for GPUs, before)."""

import pytest

from inference.cloud.backend import ModalBackend
from inference.settings import Cloud, Settings
from tests.inference.cloud.conftest import ask, deploy
from tests.modal_stand_in import run_in_thread


@pytest.mark.parametrize("of_gpu", [False, True])
def test_a_restored_container_answers(tmp_path, monkeypatch, of_gpu):
    import modal

    options = {"snapshots": True, "extra_env": {"HF_HUB_OFFLINE": "1"}}
    with (tmp_path / "log").open("w") as log, run_in_thread(log=log, **options) as cloud:
        deploy(cloud, "snapshots", MODAL_GPU_SNAPSHOT=str(int(of_gpu)))
        definition = cloud.definitions()["RemoteEngine.*"]
        assert definition.memory_snapshot
        assert bool(definition.experimental_options) == of_gpu
        with modal.Client(cloud.url, 1, cloud.token) as client:
            monkeypatch.setattr(modal.Client, "from_env", lambda: client)
            backend = ModalBackend(Settings(backend="modal", cloud=Cloud(modal_app="snapshots")))
            assert backend.compare(ask(adapters=(None, "find-red"))).recordings[1].answer
