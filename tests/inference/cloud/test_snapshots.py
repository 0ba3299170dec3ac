"""The class through a memory snapshot and its restore: imports before it, the model after it (or, for GPUs, before)."""

import pytest

from tests.inference.cloud.conftest import deploy


@pytest.fixture
def snapshots(cloud):
    cloud.snapshots = True
    yield
    cloud.snapshots = False


@pytest.mark.slow
@pytest.mark.parametrize("of_gpu", [False, True])
def test_a_restored_container_answers(cloud, snapshots, connect, ask, of_gpu):
    app = f"snapshots-{of_gpu}"
    deploy(cloud, app, MODAL_GPU_SNAPSHOT=str(int(of_gpu)))
    definition = cloud.definitions(app)["RemoteEngine.*"]
    assert definition.memory_snapshot
    assert bool(definition.experimental_options) == of_gpu
    before = cloud.rpc_calls["ContainerCheckpoint"]
    assert connect(app).compare(ask(adapters=(None, "find-red"))).recordings[1].answer
    assert cloud.rpc_calls["ContainerCheckpoint"] > before
