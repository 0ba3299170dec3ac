"""Adapters on the volume: put there by the real command line, listed without a GPU, used without deploying again."""

import shutil

import numpy as np
import pytest

from inference import open_backend
from inference.demo import ADAPTERS_DIR
from tests.inference.cloud.conftest import run_modal

VOLUME = "lora-attention-visualizer-adapters"


@pytest.fixture(autouse=True)
def _no_list_is_young_enough(monkeypatch):
    monkeypatch.setattr("inference.cloud.backend.CATALOG_AGE_SECONDS", -1.0)


def names(backend):
    return [info.name for info in backend.adapters()]


@pytest.mark.slow
def test_an_upload_appears_and_is_used_and_what_is_removed_goes(cloud, connect, ask, tmp_path):
    backend = connect()
    assert "mine" not in names(backend)
    folder = shutil.copytree(ADAPTERS_DIR / "find-red", tmp_path / "mine")
    run_modal(cloud, "volume", "put", VOLUME, str(folder), "/mine")
    assert "mine" in names(backend)
    first = backend.compare(ask(adapters=("mine",))).recordings[0]
    expected = open_backend("local", model="demo", device="cpu", adapters={"mine": str(folder)})
    assert np.array_equal(first.by_token, expected.compare(ask(adapters=("mine",))).recordings[0].by_token)
    expected.close()
    run_modal(cloud, "volume", "rm", "-r", VOLUME, "/mine")
    assert "mine" not in names(backend)


def test_listing_asks_no_gpu(cloud, connect):
    cloud.no_gpu = True
    try:
        assert "find-red" in names(connect())
    finally:
        cloud.no_gpu = False


def test_a_folder_with_an_impossible_name_is_offered_under_a_plain_one(cloud, connect, tmp_path):
    folder = shutil.copytree(ADAPTERS_DIR / "find-red", tmp_path / "x")
    run_modal(cloud, "volume", "put", VOLUME, str(folder), "/not a <name>")
    try:
        backend = connect()
        assert "not-a-name" in names(backend)
        (renamed,) = [info for info in backend.adapters() if info.name == "not-a-name"]
        assert "Its folder is 'not a <name>'." in renamed.notes
    finally:
        run_modal(cloud, "volume", "rm", "-r", VOLUME, "/not a <name>")
