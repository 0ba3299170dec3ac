"""What every test may use, and how a run goes: at random, without what proves the scaffolding alone.

pytest-randomly shuffles files and tests and prints the seed: `--randomly-seed=N` gives the same order again.
Folders stay together, and those whose tests share processes (containers, servers, a browser) on one worker.
"""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need a network
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same sums on every machine

import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from xdist.scheduler import LoadScopeScheduling

from inference import Request

LEFT_OUT = "left out: tests marked slow (browser, cloud, second kinds, scaffolding); all: pytest -m 'slow or not slow'"

#: Folders whose tests start processes, share them and wait for them: each on one worker. These come first, since they
#: take longest. The viewer's tests have pages of their own, and are half of the browser's.
TOGETHER = ("tests/browser", "tests/faults", "tests/inference/cloud")
APART = "tests/browser/test_viewer.py"


class FolderScheduling(LoadScopeScheduling):
    """Hands a worker a module at a time, or all of the folders above; two workers: one of them gets every kind."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        folder = next((folder for folder in TOGETHER if module.startswith(f"{folder}/")), None)
        if folder is None or (module == APART and self.numnodes > 2):
            return module
        return folder if self.numnodes > 2 else "processes"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """In place of the one that `--dist` names; the work begins in the order of the items."""
    config.option.loadscopereorder = False
    return FolderScheduling(config, log)


def _is_whole(config: pytest.Config) -> bool:
    """Whether nothing was chosen: the plain command of the README."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Take the defaults of a plain run; what is given on the command line wins."""
    option = config.option
    if _is_whole(config) and not option.markexpr:
        option.markexpr = "not slow"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.option.markexpr == "not slow":
        terminalreporter.write_line(LEFT_OUT)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a folder's tests together in the shuffled order; real clouds are asked only where that was said by name.

    Files with slow tests come first: the quick ones fill the end, when a worker would have nothing else to do.
    """
    if "hostile" not in (config.option.markexpr or ""):
        left = [item for item in items if item.get_closest_marker("hostile")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    if "cloud" not in (config.option.markexpr or ""):
        skip = pytest.mark.skip(reason="runs on the real cloud: ask for it with pytest -m cloud")
        for item in items:
            if item.get_closest_marker("cloud"):  # not item.keywords: a folder of that name is in them too
                item.add_marker(skip)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    folders: dict[Path, list[pytest.Item]] = {}
    for item in sorted(items, key=lambda item: item.path not in slow):
        folder = item.path.parent
        folders.setdefault(folder, []).append(item)
    first = [folder for folder in folders if folder.relative_to(config.rootpath).as_posix() in TOGETHER]
    items[:] = [item for folder in dict.fromkeys([*first, *folders]) for item in folders[folder]]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[object]:
    """Nothing that is imported here goes, and looking for garbage in it is a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def wait_until(ready: Callable[[], bool], seconds: float = 60) -> None:
    """Return when it is so; how long that takes is the machine's business, up to a bound that only a fault reaches."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """A non-uniform picture whose smallest details are larger than a patch's noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(height // 16, 1), max(width // 16, 1), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture(scope="session", autouse=True)
def decoding_processes() -> Iterator[None]:
    """Pictures are decoded in the same processes in all tests: each takes half a second to start."""
    from inference.service import analysis
    from inference.service.decoder import Decoder
    from inference.settings import Limits

    shared: dict[Limits, Decoder] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "Decoder", lambda limits: shared.setdefault(limits, Decoder(limits)))
        yield
    for decoder in shared.values():
        decoder.close()


@pytest.fixture
def photo(request: pytest.FixtureRequest) -> Image.Image:
    """A picture that no other test has: nothing that a cache or a container kept of another test answers for it."""
    return picture(96, 160, seed=zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def ask(photo: Image.Image) -> Callable[..., Request]:
    """Make a request about a picture that nobody else has asked about."""
    return lambda **more: Request(**{"image": photo, "prompt": "What is it?", "max_new_tokens": 6} | more)


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
