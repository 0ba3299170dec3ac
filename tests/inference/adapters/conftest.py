"""A checkpoint whose output layer is not its embedding, so that an adapter may replace it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense checkpoint, untied, as Qwen3-VL-8B is."""
    from tests.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("untied"), "dense-untied")
