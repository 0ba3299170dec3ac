"""A backend that plays a script: real records with made-up numbers, fast, deterministic, with hostile words."""

import threading
import time
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import cast

import numpy as np

from inference.conversation import Conversation
from inference.descriptions import AdapterInfo, BackendStatus, ModelInfo
from inference.errors import SelectionError, UnknownAdapterError, VisualizerError
from inference.explanations import Explanation, ExplanationEvent
from inference.focus import focus_of
from inference.questions import Answer, Question
from inference.recording import Recording, Token
from inference.records import AnswerToken, Comparison, Event, Outcomes, Progress
from inference.request import Request
from inference.version import VERSION
from tests.scripted_explanations import explanation

HOSTILE = "<img src=x onerror=alert(1)>"
TEMPLATE = "${globalThis.owned = 1}{{value}}`"
LAYERS, HEADS, CELL = 6, 4, 32
PROMPT = [" What", " is", " here", "?"]
ANSWER = ["The", " red", f" {HOSTILE}", TEMPLATE]

MODEL = ModelInfo("scripted", "", "Qwen3-VL", LAYERS, HEADS, 3, 4, 16, 2, "float32", "cpu", VERSION)


def adapter(name: str, touches_vision: bool = False) -> AdapterInfo:
    return AdapterInfo(name, f"Says {HOSTILE}", "LoRA", 8, 16.0, ("q_proj",), touches_vision, 1_024, "scripted")


ADAPTERS = (adapter("find-red"), adapter("vision-lora", touches_vision=True), adapter("silent"))


class ScriptedBackend:
    """Every request is answered by the same words; the maps follow from the request alone.

    Args:
        pause: seconds between events.
        fail: raised instead of an answer.
        gate: an answer waits here, where given.
        offered: its adapters.
        answer: the words that every variant answers with.
    """

    def __init__(
        self,
        pause: float = 0.0,
        fail: Exception | None = None,
        gate: threading.Event | None = None,
        offered: tuple[AdapterInfo, ...] = ADAPTERS,
        answer: Sequence[str] = ANSWER,
    ) -> None:
        self.answer = tuple(answer)
        self.pause, self.fail, self.gate, self.offered = pause, fail, gate, offered
        self.requests: list[Request] = []
        self.questions: list[Question[Explanation]] = []
        self.closed_early = 0
        self.warmed = 0

    def model_info(self) -> ModelInfo:
        return MODEL

    def status(self) -> BackendStatus:
        return BackendStatus(MODEL.id, "local", MODEL.device, MODEL.dtype)

    def at_once(self) -> int:
        return 1

    def warm(self) -> None:
        self.warmed += 1

    def adapters(self) -> tuple[AdapterInfo, ...]:
        return self.offered

    def compare(self, request: Request) -> Comparison:
        *_, comparison = self.stream(request)
        assert isinstance(comparison, Comparison)
        return comparison

    def stream(self, request: Request) -> Generator[Event, None, None]:
        self.requests.append(request)
        self._check(request)
        if isinstance(request.focus, tuple) and max(request.focus) >= len(_tokens(self.answer)):
            raise SelectionError(f"focus {request.focus} does not fit {len(_tokens(self.answer))} tokens.")
        done = False
        try:
            yield Progress("vision", "Looking at the image", 0.0)
            if self.gate is not None:
                self.gate.wait(60)
            if self.fail is not None:
                raise self.fail
            if request.answer is None:
                for name in request.adapters:
                    for index, text in enumerate(self.answer):
                        time.sleep(self.pause)
                        yield AnswerToken(name, index, text)
            done = True
            yield comparison(request, self.answer)
        finally:
            self.closed_early += not done

    def compare_many(self, requests: Iterable[Request]) -> Outcomes:
        """Two at a time, the later of a pair first: nobody may rely on the order."""
        numbered = enumerate(requests)
        while waiting := list(islice(numbered, 2)):
            while waiting:
                index, request = waiting.pop()
                try:
                    outcome: Comparison | VisualizerError = self.compare(request)
                except VisualizerError as error:
                    outcome = error
                yield index, outcome

    def explain(self, request: Request, question: Question[Answer]) -> Answer:
        *_, last = self.stream_explanation(request, question)
        return cast("Answer", last)

    def stream_explanation(
        self, request: Request, question: Question[Explanation]
    ) -> Generator[ExplanationEvent, None, None]:
        self.requests.append(request)
        self.questions.append(question)
        self._check(request)
        done = False
        try:
            yield Progress("prompt", "reading the image", 0.0)
            if self.gate is not None:
                self.gate.wait(60)
            if self.fail is not None:
                raise self.fail
            answer = explanation(request, question, MODEL, _tokens(self.answer), _grid(request))
            for index in range(answer.replays):
                time.sleep(self.pause)
                yield Progress("replays", f"replay {index + 1} of {answer.replays}", 0.0)
            done = True
            yield answer
        finally:
            self.closed_early += not done

    def close(self) -> None:
        pass

    def _check(self, request: Request) -> None:
        known = {adapter.name for adapter in self.offered}
        for name in request.adapters:
            if name is not None and name not in known:
                raise UnknownAdapterError(
                    f"No adapter is called {name!r}.", f"Choose one of {', '.join(sorted(known))}."
                )


def comparison(request: Request, answer: Sequence[str] = ANSWER) -> Comparison:
    grid = _grid(request)
    tokens = _tokens(answer)
    recordings = tuple(
        _recording(name, tokens, grid, request, 0 if name in (None, "silent") else 1 + index)
        for index, name in enumerate(request.adapters)
    )
    own = request.answer_from == "own"
    return Comparison(
        model=MODEL,
        prompt=request.prompt,
        system=request.system,
        image=request.image.pixels,
        grid=grid,
        tokens=() if own else tokens,
        recordings=recordings,
        timings={"vision": 0.1, "prompt": 0.4, "replay": 0.2},
        notes=(*request.image.notes, f"A note with {HOSTILE}"),
        before=_before(request),
    )


def _before(request: Request) -> tuple[Token, ...]:
    """Of a conversation, a token for the template and one for each of its texts; of plain words nothing."""
    texts = request.prompt.texts if isinstance(request.prompt, Conversation) else ()
    words = [("<|im_start|>", "template"), *((text, "prompt") for text in texts)] if texts else []
    return tuple(Token(2_000 + at, text, role, at, at) for at, (text, role) in enumerate(words))  # type: ignore[arg-type]


def _grid(request: Request) -> tuple[int, int]:
    return max(2, request.image.size[0] // CELL), max(2, request.image.size[1] // CELL)


def _tokens(answer: Sequence[str]) -> tuple[Token, ...]:
    start = 100
    texts = [(text, "prompt") for text in PROMPT] + [("<|im_end|>", "template")]
    texts += [(text, "answer") for text in answer] + [("", "end")]
    tokens = []
    for index, (text, role) in enumerate(texts):
        position = start + index
        query = position if role in ("prompt", "template") else position - 1
        tokens.append(Token(1_000 + index, text, role, position, query))  # type: ignore[arg-type]
    return tuple(tokens)


def _recording(
    name: str | None, tokens: tuple[Token, ...], grid: tuple[int, int], request: Request, seed: int
) -> Recording:
    rng = np.random.default_rng(seed)
    cells = rng.random((len(tokens), LAYERS, HEADS, *grid), dtype=np.float32) ** 8
    for layer in range(LAYERS):  # a sink of its own in every layer and variant: a sixth of each row's look at the image
        cells[:, layer, :, layer % grid[0], -1 - seed % grid[1]] = cells[:, layer].sum(axis=(-2, -1)) / 5
    share = rng.uniform(0.05, 0.6, (len(tokens), LAYERS, HEADS)).astype(np.float32)
    by_all = cells / cells.sum(axis=(-2, -1), keepdims=True) * share[..., None, None]
    rest = (1 - share)[..., None] * np.array([0.5, 0.3, 0.2], dtype=np.float32)
    first = next(index for index, token in enumerate(tokens) if token.role == "answer")
    focus = focus_of(tokens, request.focus)
    rows = by_all[: first - 1].mean(axis=2)  # (rows, layers, grid_h, grid_w); the last one predicts the answer
    answer = [token.text for token in tokens if token.role == "answer"]
    logprobs = -rng.exponential(size=len(answer) + 1).astype(np.float32)
    written = request.answer is None
    return Recording(
        adapter=name,
        answer="".join(answer) if written else None,
        answer_ids=tuple(token.id for token in tokens if token.role in ("answer", "end")) if written else (),
        answer_pieces=(*answer, "") if written else (),
        tokens=tokens,
        focus=focus,
        attention="eager",
        logprobs=logprobs,
        by_token=by_all.mean(axis=2),
        by_head=by_all[list(focus)].mean(axis=0),
        group_share=np.concatenate([share[..., None], rest], axis=-1),
        background=rows.mean(axis=0),
        background_low=np.percentile(rows, 10, axis=0).astype(np.float32),
        background_rows=first - 1,
        **_extra_views(request, grid, rng),
    )


def _extra_views(request: Request, grid: tuple[int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Made-up numbers of what was asked for beside attention, drawn after all else: the rest stays what it is."""
    heads = (LAYERS, HEADS, *grid)
    shapes = {"general": ("relative", heads), "gradient": ("gradient", heads)}
    shapes |= {"named": ("named", grid), "named_alone": ("named", grid)}
    made = {name: rng.random(shape, dtype=np.float32) for name, (_, shape) in shapes.items()}
    return {name: made[name] for name, (view, _) in shapes.items() if view in request.views}
