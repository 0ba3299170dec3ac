"""Shared fixtures: random-weight checkpoints (made once per run) and pictures with content."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need a network
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on the real cloud run only where they are asked for by name."""
    if "cloud" not in (config.getoption("markexpr") or ""):
        skip = pytest.mark.skip(reason="runs on the real cloud: ask for it with pytest -m cloud")
        for item in items:
            if "cloud" in item.keywords:
                item.add_marker(skip)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """A non-uniform picture whose smallest details are larger than a patch's noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(height // 16, 1), max(width // 16, 1), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Gradio keeps uploaded files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense checkpoint with tied embeddings, as Qwen3-VL-2B and 4B have."""
    from tests.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("dense"), "dense")


@pytest.fixture(scope="session")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture-of-experts checkpoint, untied, as Qwen3-VL-30B-A3B is."""
    from tests.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("moe"), "moe")
