"""The main path, top to bottom; it knows nothing of pages, pictures or clouds.

1. The photo and the words become input ids, patches and a grid (`prompt.py`).
2. The vision tower runs once for all variants that leave it alone.
3. Each variant, one after another, reads everything up to the image's end once, for all questions about it; then the
   words, with their rows recorded (`capture.py`); then it writes its answer on the same cache.
4. The chosen answer is replayed on that cache, cut back to the prompt: teacher forcing at batch 1 on one fixed path,
   with explicit positions. What was read of the image, and what was written, is kept (`kept.py`): equal requests give
   bit-identical numbers, whatever was asked before.
5. Numpy records leave; a value that is not finite is an error, not a picture.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from inference.adapters.files import AdapterSource, describe
from inference.adapters.manager import AdapterShelf, BaseChangedError
from inference.errors import AdapterRefusedError, CancelledError, InputError, OutOfMemoryError, SelectionError
from inference.limits import check_answer_length, check_limits
from inference.model.cache import Features, Kept, Key, Reading, Written
from inference.model.capture import TextRecorder, register_attention
from inference.model.checkpoint import load_checkpoint
from inference.model.passes import Passes
from inference.model.prompt import PieceDecoder, Prompt, PromptBuilder, answer_tokens, resized_note
from inference.records import (
    AdapterInfo,
    AnswerToken,
    Comparison,
    FloatArray,
    ModelInfo,
    Progress,
    Recording,
    Token,
    background_of,
)
from inference.request import Request
from inference.settings import MIB, Settings

logger = logging.getLogger(__name__)

Emit = Callable[[Progress | AnswerToken], None]
Stop = Callable[[], bool]


@dataclass(slots=True)
class _Draft:
    """One variant after its prompt was read: its cache, its recorder, its first logits, and what it wrote."""

    adapter: str | None
    key: Key
    reading: Reading
    received: FloatArray | None
    positions: torch.Tensor
    by_row: TextRecorder
    first_logits: torch.Tensor
    answer_ids: tuple[int, ...] = ()
    answer: str | None = None


@dataclass(slots=True)
class _Run:
    """What one request carries along: its image, its clock, its listener, its notes."""

    request: Request
    emit: Emit
    stop: Stop
    image: tuple[str, tuple[int, int, int], bool] = ("", (0, 0, 0), False)  # see `Key`
    patches: FloatArray | None = None  # until the vision tower has read them
    started: float = field(default_factory=time.perf_counter)
    timings: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        if self.stop():
            raise CancelledError("The analysis was stopped.")

    @contextmanager
    def stage(self, name: str, sentence: str, fraction: float | None = None) -> Iterator[None]:
        self.check()
        begin = time.perf_counter()
        self.emit(Progress(name, sentence, fraction, begin - self.started))
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - begin


class Engine:
    """One base model with its adapters, answering one request at a time (the caller sees to that).

    Args:
        settings: model, device, dtype, attention mode and the bounds of the caches.
        sources: the adapters on offer, by name.

    Raises:
        ModelError: the model cannot be loaded.
    """

    def __init__(self, settings: Settings, sources: Mapping[str, AdapterSource]) -> None:
        register_attention()
        self._settings = settings
        self._sources = dict(sources)
        self._load()

    def _load(self) -> None:
        settings, self._ready = self._settings, False
        self._checkpoint = load_checkpoint(settings.model, settings.device, settings.dtype)
        self._model = self._checkpoint.model
        self.model_info: ModelInfo = self._checkpoint.info
        self._prompts = PromptBuilder(
            self._checkpoint.tokenizer,
            self._checkpoint.image_processor,
            self._model.config.image_token_id,
            self._model.config.text_config.vocab_size,
        )
        free = _free_bytes(self._checkpoint.device)
        self._kept = Kept(settings.kept_bytes if settings.kept_bytes >= 0 else free // 4)
        self._passes = Passes(self._checkpoint, settings)
        self._shelf = AdapterShelf(
            self._model,
            self._sources,
            self._checkpoint.skeleton,
            lambda: self._passes.probe(self._prompts),
            settings.adapter_cache_bytes if settings.adapter_cache_bytes >= 0 else free // 4,
        )
        self._ready = True

    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters on offer; one that cannot be used or names another base model says so in its notes."""
        return describe(self._sources.values(), self.model_info.id)

    def offer(self, sources: Mapping[str, AdapterSource]) -> None:
        """Replace the adapters on offer, between two requests; one whose files were replaced is loaded again."""
        self._sources = dict(sources)
        if self._ready:
            self._shelf.offer(self._sources)

    def compare(self, request: Request, emit: Emit = lambda event: None, stop: Stop = lambda: False) -> Comparison:
        """Answer one request.

        Args:
            request: what to compare.
            emit: told what happens, while it happens.
            stop: asked between layers and tokens; true ends the work with `CancelledError`.

        Raises:
            VisualizerError: whatever went wrong, as the member of the tree that fits; the model is as before.
        """
        check_limits(request, self._settings.limits)
        if not self._ready:
            self._load()
        kept = self._kept.bytes
        try:
            return self._once(_Run(request, emit, stop))
        except OutOfMemoryError:
            if not kept:
                raise
        # what was kept of other images is gone: perhaps that was what lacked
        return self._once(_Run(request, emit, stop))

    def _once(self, run: _Run) -> Comparison:
        """Answer a request, and leave the model as it was, whatever happens."""
        try:
            return self._compare(run)
        except BaseChangedError as error:
            adapter, cause = str(error), type(error.__cause__)
        except (MemoryError, RuntimeError) as error:
            if _is_out_of_memory(error):
                self._kept.discard(lambda key: True)
                raise OutOfMemoryError(*_REDUCE) from error
            raise
        # outside of `except`, so that no traceback keeps the changed model while it is loaded again
        logger.error("adapter %s changed the base model; loading it again", adapter)
        del self._shelf, self._kept, self._passes, self._prompts, self._model, self._checkpoint
        self._load()
        if issubclass(cause, torch.OutOfMemoryError):
            raise OutOfMemoryError(*_REDUCE)
        raise AdapterRefusedError(
            f"Adapter {adapter!r} changes the base model even when it is off: there is nothing true to compare it "
            "with. The base model was loaded again.",
            "Save it as plain LoRA.",
        )

    def _compare(self, run: _Run) -> Comparison:
        request = run.request
        prompt, focus, given = self._prepare(run)
        chosen, recordings = given, {}
        # whose answer is replayed goes first: then no variant's cache waits for it
        for adapter in sorted(request.adapters, key=lambda each: each != request.answer_from):
            recordings[adapter] = self._record(run, prompt, focus, adapter, given, chosen)
            if given is None and adapter == request.answer_from:
                chosen = recordings[adapter].answer_ids
        return Comparison(
            model=self.model_info,
            prompt=request.prompt,
            system=request.system,
            image=request.image.pixels,
            grid=prompt.grid,
            tokens=recordings[request.adapters[0]].tokens if chosen else (),
            recordings=tuple(recordings[adapter] for adapter in request.adapters),
            timings=run.timings | {"total": time.perf_counter() - run.started},
            notes=tuple(run.notes),
        )

    def _record(
        self,
        run: _Run,
        prompt: Prompt,
        focus: tuple[int, ...],
        adapter: str | None,
        given: tuple[int, ...] | None,
        chosen: tuple[int, ...] | None,
    ) -> Recording:
        """One variant from the image to its recording; nothing of it stays but what is kept."""
        with run.stage("adapter", f"switching to {adapter or 'base'}"):
            if adapter is not None:
                self._shelf.load(adapter)
            loaded = {self._shelf.loading(each) for each in self._shelf.loaded}
            self._kept.discard(lambda key: key.variant is not None and key.variant[0] not in loaded)
        with self._shelf.use(adapter, run.request.scale, run.request.modules):
            draft = self._draft(run, prompt, focus, adapter, given)
            recording = self._replay(run, prompt, focus, draft, chosen or draft.answer_ids)
        draft.reading.cut(prompt.image_end)
        self._kept.keep(draft.key, draft.reading)
        return recording

    # 1. the photo and the words

    def _prepare(self, run: _Run) -> tuple[Prompt, tuple[int, ...], tuple[int, ...] | None]:
        """The prompt without its patches (the run holds them), the focus, and the answer if one is given."""
        request = run.request
        with run.stage("image", "reading the image and the words"):
            image, limit = request.image.to_pil(), self._max_image_tokens(request)
            prompt = self._prompts.build(image, request.prompt, request.system, limit)
            given = self._given_answer(request)
            self._check_room(prompt, request, given)
            focus = request.focus if request.focus is not None else (len(prompt.tokens),)
            self._check_focus(focus, prompt, request, given)
            digest = hashlib.sha256(prompt.pixel_values.data).hexdigest()
        run.image = (digest, prompt.grid_thw, request.vision_tower)
        run.patches = prompt.pixel_values
        reduced = resized_note(image, prompt)
        run.notes += [*request.image.notes, *([reduced] if reduced else [])]
        return prompt.without_patches(), focus, given

    def _max_image_tokens(self, request: Request) -> int:
        return request.max_image_tokens or self._settings.limits.max_image_tokens

    def _given_answer(self, request: Request) -> tuple[int, ...] | None:
        if request.answer is None:
            return None
        ids = self._prompts.answer_ids(request.answer, self._checkpoint.end_ids)
        check_answer_length(len(ids), self._settings.limits)
        return ids

    def _check_room(self, prompt: Prompt, request: Request, given: Sequence[int] | None) -> None:
        room = int(self._model.config.text_config.max_position_embeddings)
        needed = len(prompt.input_ids) + (len(given) if given else request.max_new_tokens)
        if needed > room:
            raise InputError(
                f"Image, prompt and answer make {needed:,} tokens; the model reads at most {room:,}.",
                "Reduce the image, the prompt or the answer's length.",
            )

    def _check_focus(
        self, focus: tuple[int, ...], prompt: Prompt, request: Request, given: Sequence[int] | None
    ) -> None:
        most = len(prompt.tokens) + (len(given) if given else request.max_new_tokens)
        if max(focus) >= most:
            raise SelectionError(f"focus names token {max(focus)}; this request has at most tokens 0–{most - 1}.")

    # 2. vision features

    def _features(self, run: _Run, prompt: Prompt, adapter: str | None) -> Features:
        """The image's features under the variant in use; kept ones where the tower is the base's."""
        request = run.request
        key = Key(run.image, self._variant(request, adapter) if self._changes_vision(request, adapter) else None)
        features = self._kept.get(key, Features)
        if features is None:
            with run.stage("vision", "the vision tower reads the image"):
                if run.patches is None:  # another variant's tower has read them: they are not held through its answer
                    limit = self._max_image_tokens(request)
                    run.patches = self._prompts.build(request.image.to_pil(), request.prompt, None, limit).pixel_values
                features = self._passes.vision(run.patches, prompt.grid_thw, request.vision_tower, run.check)
            self._kept.keep(key, features)
        return features

    def _variant(self, request: Request, adapter: str | None) -> tuple[str, float, tuple[str, ...] | None] | None:
        return None if adapter is None else (self._shelf.loading(adapter), request.scale, request.modules)

    def _changes_vision(self, request: Request, adapter: str | None) -> bool:
        return adapter is not None and self._shelf.changes_vision(adapter, request.scale, request.modules)

    # 3. each variant reads the image and the words, and writes its answer

    def _draft(
        self, run: _Run, prompt: Prompt, focus: tuple[int, ...], adapter: str | None, given: tuple[int, ...] | None
    ) -> _Draft:
        """The variant in use from the image to its own answer."""
        request, name = run.request, adapter or "base"
        path = self._passes.text_path(prompt)
        key = Key(run.image, self._variant(request, adapter), prompt.input_ids[: prompt.image_end].tobytes(), path)
        reading = self._kept.take(key, Reading)
        features = self._features(run, prompt, adapter) if reading is None or request.vision_tower else None
        run.patches = None
        with run.stage("prompt", f"{name} reads the prompt"):
            longest = len(given) if given else request.max_new_tokens
            positions = self._passes.positions(prompt, len(prompt.input_ids) + longest)
            if reading is None:
                assert features is not None
                reading = self._passes.image(prompt, features, positions, run.check)
            by_row, logits = self._passes.words(
                prompt, reading, positions, _focus_rows(focus, prompt), longest, run.check
            )
        received = features.received if features is not None else None
        draft = _Draft(adapter, key, reading, received, positions, by_row, logits)
        if given is None:
            with run.stage("answer", f"{name} writes its answer"):
                self._write(run, prompt, draft)
        if self._changes_vision(request, adapter):
            run.notes.append(
                f"{name} also changes the vision tower: it sees other features of the image than base, so its maps "
                "differ for two reasons at once."
            )
        return draft

    def _write(self, run: _Run, prompt: Prompt, draft: _Draft) -> None:
        """Greedy decoding; what this variant wrote to the same prompt before is only said again."""
        limit = run.request.max_new_tokens
        key = draft.key._replace(ids=prompt.input_ids.tobytes(), new_tokens=limit)
        kept = self._kept.get(key, Written)
        decoder = PieceDecoder(self._checkpoint.tokenizer)
        ids: list[int] = []
        decoded = self._passes.decode(prompt, draft.reading, draft.positions, draft.first_logits, limit)
        for token in kept.ids if kept is not None else decoded:
            run.check()
            ids.append(token)
            ended = token in self._checkpoint.end_ids
            piece = "" if ended else decoder.add(token)
            last = ended or len(ids) == limit
            run.emit(AnswerToken(draft.adapter, len(ids) - 1, piece + decoder.flush() if last else piece))
        self._kept.keep(key, Written(tuple(ids)))
        written = [each for each in ids if each not in self._checkpoint.end_ids]
        draft.answer_ids = tuple(ids)
        draft.answer = self._checkpoint.tokenizer.decode(written, skip_special_tokens=False)
        if len(written) == len(ids):
            run.notes.append(f"The answer of {draft.adapter or 'base'} was cut at {len(ids)} tokens.")

    # 4. the chosen answer through every variant

    def _replay(
        self, run: _Run, prompt: Prompt, focus: tuple[int, ...], draft: _Draft, answer: tuple[int, ...]
    ) -> Recording:
        tokens = prompt.tokens + answer_tokens(
            self._checkpoint.tokenizer, answer, len(prompt.input_ids), self._checkpoint.end_ids
        )
        if max(focus) >= len(tokens):
            raise SelectionError(f"focus names token {max(focus)}; the sequence has tokens 0–{len(tokens) - 1}.")
        with run.stage("replay", f"replaying the answer through {draft.adapter or 'base'}"):
            logits = self._passes.replay(prompt, draft.reading, draft.by_row, draft.first_logits, answer, run.check)
            logprobs = torch.log_softmax(logits, dim=-1)[range(len(answer)), list(answer)]
            own = draft.answer_ids == answer and bool((logits.argmax(dim=-1).cpu() != torch.tensor(answer)).any())
            if own:
                run.notes.append(
                    f"Replayed in one pass, {draft.adapter or 'base'} would have chosen another token than it wrote: "
                    "the two ways of computing differ by rounding, and two tokens were nearly tied."
                )
            return self._recording(prompt, tokens, focus, draft, logprobs)

    # 5. records

    @torch.inference_mode()
    def _recording(
        self, prompt: Prompt, tokens: tuple[Token, ...], focus: tuple[int, ...], draft: _Draft, logprobs: torch.Tensor
    ) -> Recording:
        recorder, grid = draft.by_row, prompt.grid
        rows = torch.tensor([token.query - prompt.image_end for token in tokens], device=recorder.by_row.device)
        by_row = recorder.by_row.unflatten(-1, grid)
        by_token = by_row[rows].cpu().numpy()
        background, background_low, background_rows = background_of(by_token, tokens)
        return Recording(
            adapter=draft.adapter,
            answer=draft.answer,
            answer_ids=draft.answer_ids,
            tokens=tokens,
            focus=focus,
            attention=self._passes.text_path(prompt),
            logprobs=logprobs.cpu().numpy(),
            by_token=by_token,
            by_head=recorder.by_head.unflatten(-1, grid).cpu().numpy(),
            group_share=recorder.group_share[rows].cpu().numpy(),
            background=background,
            background_low=background_low,
            background_rows=background_rows,
            vision_received=draft.received,
        )


_REDUCE = (
    "The device ran out of memory for this request.",
    "Reduce the image (max_image_tokens), the number of adapters or the answer's length.",
)


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a class for CUDA's own; other failed allocations are a RuntimeError that names the allocator."""
    allocators = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(each in str(error) for each in allocators)


def _free_bytes(device: torch.device) -> int:
    """What the loaded model leaves on a GPU; on a CPU, whose memory is not ours alone, 8 GiB."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 8 * 1_024 * MIB


def _focus_rows(focus: Sequence[int], prompt: Prompt) -> list[int]:
    """Rows that the tokens of `focus` show: their own for the prompt's, the one before for the answer's."""
    count = len(prompt.tokens)
    return [prompt.image_end + index - (index >= count) for index in focus]
