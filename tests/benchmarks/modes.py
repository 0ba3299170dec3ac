"""What is measured: each mode is what it does before, unmeasured, and what it does then, on a loaded engine."""

import contextlib
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from inference.adapters.catalog import AdapterCatalog
from inference.model.engine import Engine
from inference.records import Comparison
from inference.request import Request
from inference.settings import Limits, Settings
from tests.conftest import picture
from tests.upstream import inputs

PROMPT = "Describe what stands in the middle of the picture, and what is beside it."
OTHER = "Is there anything red in the picture, and where?"
LIMITS = Limits(max_image_tokens=4_500)


@dataclass(frozen=True)
class Mode:
    """A row of the table: what it says, which adapters take part, and the figure that was set for it."""

    words: str
    adapters: tuple[str | None, ...] = (None,)
    attention: str = "rows"
    vision_tower: bool = False
    before: tuple[str | None, ...] = ()  # variants that were compared on the same image and prompt before
    again: str = ""  # then: "question" (another one), "click" (another token)
    time_limit: float | None = None
    memory_limit: float | None = None


MODES = {
    "plain": Mode("plain SDPA generation"),
    "naive": Mode("naive: generate(output_attentions=True), eager"),
    "hooks": Mode("hooks that keep every layer's matrix, eager"),
    "eager": Mode("ours, eager matrices", attention="eager"),
    "rows": Mode("ours, rows", time_limit=1.10, memory_limit=1.15),
    "vision": Mode("ours, rows, and the vision tower", vision_tower=True, time_limit=1.3, memory_limit=1.3),
    "base+1": Mode("ours, base + 1 adapter", (None, "a0"), time_limit=1.75, memory_limit=1.3),
    "base+4": Mode("ours, base + 4 adapters", (None, "a0", "a1", "a2", "a3"), time_limit=4.0, memory_limit=1.5),
    "another": Mode("then base + another adapter", (None, "a1"), before=(None, "a0"), time_limit=0.75),
    "question": Mode("then another question, base + 1 adapter", (None, "a0"), before=(None, "a0"), again="question"),
    "click": Mode(
        "then another token, base + 1 adapter", (None, "a0"), before=(None, "a0"), again="click", time_limit=0.5
    ),
}
UPSTREAM = ("plain", "naive", "hooks")


def open_engine(checkpoint: Path, adapters: Sequence[Path], device: str) -> Engine:
    """The engine with its adapters loaded and every code path warm, on a small image."""
    catalog = AdapterCatalog({folder.name: folder for folder in adapters})
    settings = Settings(model=str(checkpoint), device=device, attention="rows", limits=LIMITS)
    engine = Engine(settings, catalog)
    small = Request(picture(64, 96), "warm up", adapters=(None, *catalog.names), max_new_tokens=2, vision_tower=True)
    engine.compare(small)
    _generate(engine, small, "plain")
    return engine


def run(name: str, engine: Engine, grid: tuple[int, int], new_tokens: int) -> dict[str, object]:
    """Seconds and extra peak bytes of one mode, from photo and words on."""
    mode, image = MODES[name], picture(grid[0] * 32, grid[1] * 32)
    wanted = {*mode.adapters, *mode.before} - {None}
    for other in set(engine.adapters.loaded) - wanted:  # plain is upstream's model, with nothing wrapped
        engine.adapters.evict(other)
    for each in sorted(wanted):
        engine.adapters.load(each)
    engine.cache.clear()
    engine.passes.attention = mode.attention
    request = Request(image, PROMPT, adapters=mode.adapters, max_new_tokens=new_tokens, vision_tower=mode.vision_tower)
    if mode.before:
        first = engine.compare(replace(request, adapters=mode.before, answer_from=mode.before[-1]))
        if mode.again == "click":
            request = replace(request, answer=first.recordings[-1].answer_ids, focus=(3,))
        if mode.again == "question":
            request = replace(request, prompt=OTHER)

    def work() -> int:
        if name in UPSTREAM:
            return _generate(engine, request, name)
        compared: Comparison = engine.compare(request)
        assert compared.grid == grid
        return sum(token.role in ("answer", "end") for token in compared.recordings[-1].tokens)

    with Memory(engine) as memory:
        begin = time.perf_counter()
        written = work()
        _synchronise(engine)
        seconds = time.perf_counter() - begin
    assert written == new_tokens
    vision = _vision_seconds(engine, request) if name == "plain" else 0.0
    return {
        "seconds": seconds,
        "bytes": memory.extra,
        "peak": memory.peak,
        "vision": vision,
        "patches": grid[0] * grid[1] * 32 * 32 * 3 * 2 * 4,  # float32; a patch holds two frames
        "series": memory.series,
    }


def _generate(engine: Engine, request: Request, mode: str) -> int:
    """Upstream's own `generate` from the photo on; `naive` asks for the attentions, `hooks` keeps them by hooks."""
    model = engine.checkpoint.model
    prompt = engine.prompt(request)
    given = {name: each.to(model.device) for name, each in inputs(prompt).items()}
    length = len(prompt.input_ids)
    del prompt
    model.set_attn_implementation("sdpa" if mode == "plain" else "eager")
    with torch.inference_mode(), _hooks(model) if mode == "hooks" else contextlib.nullcontext():
        output = model.generate(
            **given,
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_attentions=mode == "naive",
        )
    return output.sequences.shape[1] - length


@contextlib.contextmanager
def _hooks(model: torch.nn.Module) -> Iterator[None]:
    kept: list[torch.Tensor] = []
    handles = [
        layer.self_attn.register_forward_hook(lambda module, given, output: kept.append(output[1].detach()))
        for layer in model.model.language_model.layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _vision_seconds(engine: Engine, request: Request) -> float:
    prompt = engine.prompt(request)
    begin = time.perf_counter()
    engine.passes.vision(prompt.image, record=False)
    _synchronise(engine)
    return time.perf_counter() - begin


def _synchronise(engine: Engine) -> None:
    if engine.checkpoint.device.type == "cuda":
        torch.cuda.synchronize()


class Memory:
    """Peak memory of a block in bytes, alone (`extra`) and altogether (`peak`), and about 200 samples (seconds, bytes).

    On a GPU what torch has allocated; on a CPU the resident memory, whose high-water mark Linux resets on request.
    """

    def __init__(self, engine: Engine) -> None:
        self._cuda = engine.checkpoint.device.type == "cuda"
        self.extra, self.peak, self.series = 0, 0, []

    def __enter__(self):
        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")
        self._before, self._begin, self._done = self._now(), time.perf_counter(), threading.Event()
        self._samples: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()
        self.peak = torch.cuda.max_memory_allocated() if self._cuda else _status("VmHWM")
        self.extra = self.peak - self._before
        self.series = self._samples[:: max(1, len(self._samples) // 200)]

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            self._samples.append((time.perf_counter() - self._begin, self._now() - self._before))

    def _now(self) -> int:
        return torch.cuda.memory_allocated() if self._cuda else _status("VmRSS")


def _status(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1_024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name))
