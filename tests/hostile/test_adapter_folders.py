"""Whatever lies in the adapters folder is an adapter or says why not, and the good one beside it answers as ever."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from inference import Request
from inference.adapters import patterns
from inference.adapters.catalog import AdapterCatalog
from inference.descriptions import AdapterInfo
from inference.errors import AdapterRefusedError
from inference.model.engine import Engine
from inference.settings import Settings
from tests.conftest import picture
from tests.hostile.adapter_folders import GOOD, Folder, folders, lay
from visualize.analysis_json import adapter_json

SEED = 20_261_129
PATIENCE = 60.0  # seconds that one folder may take, also on a busy machine


def described(below: Path) -> tuple[list[AdapterInfo], AdapterCatalog]:
    """What the catalogue says of each folder; all of it can be sent."""
    catalog = AdapterCatalog(adapters_dir=below)
    infos = list(catalog.describe())
    sent = json.dumps([adapter_json(info) for info in infos], ensure_ascii=False, allow_nan=False)
    sent.encode("utf-8")  # as the routes do
    assert str(below) not in sent
    return infos, catalog


def try_all(chosen: Iterable[Folder], below: Path, most: int) -> None:
    """Describe all, load of those that can be used so many, and ask the good one before and after."""
    laid = [(folder, lay(folder, below)) for folder in chosen]
    shutil.copytree(GOOD, below / "the-good-one")
    begun = time.monotonic()
    infos, catalog = described(below)
    seconds = time.monotonic() - begun
    assert len(infos) >= len(laid) - sum(folder.name.startswith(b".") for folder, _ in laid)
    assert all(info.usable or info.notes for info in infos)
    engine = Engine(Settings(model="demo", device="cpu"), catalog)
    request = Request(picture(64, 96), "x", adapters=(None, "the-good-one"), max_new_tokens=2)
    before = engine.compare(request)
    loaded, slowest = Counter[str](), (0.0, "")
    loaded.update(info.kind for info in infos if not info.usable)
    for info in [info for info in infos if info.usable and info.name != "the-good-one"][:most]:
        begun = time.monotonic()
        try:
            engine.compare(Request(picture(64, 96), "x", adapters=(info.name,), max_new_tokens=1))
            loaded["loaded"] += 1
        except AdapterRefusedError:
            loaded["refused when it was loaded"] += 1
        slowest = max(slowest, (time.monotonic() - begun, info.name))
    after = engine.compare(request)
    print(
        f"\n{len(laid)} folders, described in {seconds:.1f} s: {dict(loaded)}; slowest {slowest[0]:.1f} s {slowest[1]}"
    )
    for one, other in zip(before.recordings, after.recordings, strict=True):
        assert np.array_equal(one.by_token, other.by_token)
        assert np.array_equal(one.logprobs, other.logprobs)
    assert not (below / "owned").exists()
    assert slowest[0] < PATIENCE
    assert seconds < PATIENCE


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 2.0)


def test_sixty_folders_of_every_kind_are_described_or_refused(tmp_path: Path):
    rng = np.random.default_rng(SEED)
    whole = list(folders(SEED))
    kinds = sorted({folder.kind for folder in whole})
    chosen = []
    for kind in kinds:
        pool = [folder for folder in whole if folder.kind == kind]
        chosen += [pool[index] for index in rng.permutation(len(pool))[: 60 // len(kinds)]]
    try_all(chosen, tmp_path, 6)


@pytest.mark.hostile
def test_hundreds_of_folders_are_described_or_refused(tmp_path: Path):
    whole = list(folders(SEED))
    assert len(whole) >= 600
    for start in range(0, len(whole), 900):  # the catalogue looks at a thousand
        below = tmp_path / str(start)
        below.mkdir()
        try_all(whole[start : start + 900], below, 900)
