"""A page over one synthetic recording of an 8B model's size, for `looking.py`; runs in any version of the project.

    python looking_server.py PORT CLOCK      # from the root of the version that is measured

36 layers × 32 heads × 34 × 60 cells, 64 tokens, two variants, a photo of 1,920 × 1,080. The moment at which an answer
leaves the engine is written to the file CLOCK, in seconds since 1970.
"""

import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path.cwd()))

import app
from inference import Settings
from inference.descriptions import AdapterInfo, BackendStatus, ModelInfo
from inference.recording import Recording, Token
from inference.records import AnswerToken, Comparison
from inference.request import Request
from inference.settings import Limits

LAYERS, HEADS, GRID, TOKENS, PROMPT = 36, 32, (34, 60), 64, 24
MODEL = ModelInfo("synthetic", "", "Qwen3-VL", LAYERS, HEADS, 3, 4, 16, 2, "float32", "cpu", "0")
ADAPTERS = tuple(
    AdapterInfo(name, "made up", "LoRA", 8, 16.0, ("q_proj",), False, 1_024, "synthetic")
    for name in ("first", "second")
)


def tokens() -> tuple[Token, ...]:
    made = []
    for index in range(TOKENS):
        role = "prompt" if index < PROMPT else "answer" if index < TOKENS - 1 else "end"
        query = 100 + index - (role != "prompt")
        made.append(Token(index, f" word{index}" if role != "end" else "", role, 100 + index, query))
    return tuple(made)


def recording(name: str | None, focus: tuple[int, ...], seed: int) -> Recording:
    rng = np.random.default_rng(seed)
    by_token = rng.random((TOKENS, LAYERS, *GRID), dtype=np.float32) ** 8
    share = rng.uniform(0.05, 0.6, (TOKENS, LAYERS, HEADS)).astype(np.float32)
    by_token *= (share.mean(axis=2) / by_token.sum(axis=(2, 3)))[..., None, None]
    by_head = rng.random((LAYERS, HEADS, *GRID), dtype=np.float32) ** 8
    by_head *= (share[focus[0]] / by_head.sum(axis=(2, 3)))[..., None, None]
    rest = (1 - share)[..., None] * np.array([0.5, 0.3, 0.2], dtype=np.float32)
    before = by_token[: PROMPT - 1]
    return Recording(
        adapter=name,
        answer="made up",
        answer_ids=tuple(range(PROMPT, TOKENS)),
        tokens=tokens(),
        focus=focus,
        attention="rows",
        logprobs=-rng.exponential(size=TOKENS - PROMPT).astype(np.float32),
        by_token=by_token,
        by_head=by_head,
        group_share=np.concatenate([share[..., None], rest], axis=-1),
        background=before.mean(axis=0),
        background_low=np.percentile(before, 10, axis=0).astype(np.float32),
        background_rows=PROMPT - 1,
    )


class SyntheticBackend:
    """Answers at once, with the same records for the same variant and focus."""

    def __init__(self, clock: Path) -> None:
        self._clock = clock
        self._made: dict[Any, Recording] = {}

    def model_info(self) -> ModelInfo:
        return MODEL

    def status(self) -> BackendStatus:
        return BackendStatus(MODEL.id, "local", "cpu", "float32")

    def at_once(self) -> int:
        return 1

    def warm(self) -> None:
        pass

    def adapters(self) -> tuple[AdapterInfo, ...]:
        return ADAPTERS

    def compare(self, request: Request) -> Comparison:
        *_, last = self.stream(request)
        return last

    def compare_many(self, requests: Iterable[Request]) -> Any:
        return ((index, self.compare(request)) for index, request in enumerate(requests))

    def stream(self, request: Request) -> Generator[Any, None, None]:
        focus = request.focus or (PROMPT,)
        for name in request.adapters:
            yield AnswerToken(name, 0, "made up")
            if (name, focus) not in self._made:
                seed = 1 + sum(map(ord, name or "")) + 7 * focus[0]
                self._made[name, focus] = recording(name, focus, seed)
        recordings = tuple(self._made[name, focus] for name in request.adapters)
        answer = Comparison(
            MODEL, request.prompt, request.system, request.image.pixels, GRID, recordings[0].tokens, recordings
        )
        self._clock.write_text(str(time.time()))
        yield answer

    def close(self) -> None:
        pass


if __name__ == "__main__":
    port, clock = int(sys.argv[1]), Path(sys.argv[2])
    settings = Settings(model="synthetic", port=port, limits=Limits(requests_per_minute=100_000))
    sys.exit(app.build(settings, lambda: SyntheticBackend(clock)).start())
