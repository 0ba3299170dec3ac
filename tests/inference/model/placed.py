"""Random checkpoints with adapters whose places are known, and engines on both paths: for the tests of questions."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from inference.adapters.catalog import AdapterCatalog
from inference.model.engine import Engine
from inference.request import Request
from inference.settings import Settings
from tests.adapters import EXPERTS, LANGUAGE, write_adapter
from tests.checkpoints import write_checkpoint
from tests.conftest import picture

PROMPT, ANSWER = "What is in the middle?", (70, 71, 72, 73)
IMAGE = picture(96, 160)
GRID = (3, 5)
TOWER = r".*visual\.blocks\.\d+\.attn\.(qkv|proj)"
#: Which modules an adapter changes.
MODULES = {
    "language": LANGUAGE,
    "other": LANGUAGE,
    "q-and-k": r".*language_model.*\.(q|k)_proj",
    "v-and-o": r".*language_model.*\.(v|o)_proj",
    "mlp": r".*language_model.*mlp\.(gate|up|down)_proj",
    "tower": TOWER,
    "all": rf"({LANGUAGE})|(.*language_model.*mlp\.(gate|up|down)_proj)|({TOWER})",
}


class Placed:
    """A checkpoint of a kind ("dense", "moe", "gqa") with an adapter for every entry of `MODULES`, made when needed."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self._folder = kind, folder
        heads = 8 if kind == "gqa" else 4
        self.checkpoint = write_checkpoint(folder / "model", "moe" if kind == "moe" else "dense", heads=heads, seed=7)
        self.folders = {name: self._adapter(name, number) for number, name in enumerate(MODULES, 1)}
        self.engine: Callable[[str], Engine] = cache(self._engine)

    def _adapter(self, name: str, seed: int) -> Path:
        config = {"target_modules": MODULES[name]}
        if self.kind == "moe" and name in ("mlp", "all"):
            config = {"target_modules": rf"({LANGUAGE})|({TOWER})", "target_parameters": EXPERTS}
        return write_adapter(self._folder / name, self.checkpoint, seed=seed, strength=0.4, **config)

    def _engine(self, attention: str) -> Engine:
        settings = Settings(model=str(self.checkpoint), attention=attention, device="cpu", tile_bytes=3_000)
        return Engine(settings, AdapterCatalog(self.folders))


def engine_of(checkpoint: Path, folders: dict[str, Path]) -> Engine:
    """An engine with other adapters of a checkpoint."""
    return Engine(Settings(model=str(checkpoint), device="cpu"), AdapterCatalog(folders))


def ask(*adapters: str | None, **more) -> Request:
    return Request(IMAGE, PROMPT, adapters=adapters, **{"answer": ANSWER} | more)
