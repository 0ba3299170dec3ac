"""The main path, top to bottom; it knows nothing of pages, pictures or clouds.

1. The photo and the words become input ids, patches and a grid (`prompt.py`).
2. The vision tower runs once for all variants that leave it alone; its features are kept for the last few images.
3. Each variant reads the prompt once, with its rows recorded (`capture.py`), and writes its answer on the kept cache.
4. The chosen answer is replayed through every variant on its own kept cache, cut back to the prompt: teacher forcing,
   one after another at batch 1 on one fixed path, with explicit positions: equal requests give bit-identical numbers.
5. Numpy records leave; a value that is not finite is an error, not a picture.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from transformers import DynamicCache

from inference.adapter_files import AdapterSource, describe
from inference.adapters import AdapterShelf, BaseChangedError
from inference.capture import EAGER, ROWS, TextRecorder, VisionRecorder, register_attention
from inference.checkpoint import load_checkpoint
from inference.errors import AdapterRefusedError, CancelledError, InputError, OutOfMemoryError, SelectionError
from inference.prompt import PieceDecoder, Prompt, PromptBuilder, answer_tokens, resized_note, unblock
from inference.records import (
    AdapterInfo,
    AnswerToken,
    CapturePath,
    Comparison,
    FloatArray,
    ModelInfo,
    Progress,
    Recording,
    Request,
    Token,
)
from inference.settings import Settings

logger = logging.getLogger(__name__)

Emit = Callable[[Progress | AnswerToken], None]
Stop = Callable[[], bool]


@dataclass(slots=True)
class _Features:
    """The vision tower's output for one image, and what each patch received if that was recorded."""

    output: Any
    received: FloatArray | None


@dataclass(slots=True)
class _Draft:
    """One variant after its prompt was read: its cache, its recorder, its first logits, and what it wrote."""

    adapter: str | None
    touches_vision: bool
    features: _Features
    cache: DynamicCache
    by_row: TextRecorder
    first_logits: torch.Tensor
    answer_ids: tuple[int, ...] = ()
    answer: str | None = None


@dataclass(slots=True)
class _Run:
    """What one request carries along: its clock, its listener, its notes."""

    request: Request
    emit: Emit
    stop: Stop
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
        self._vision_cache: OrderedDict[tuple[object, ...], _Features] = OrderedDict()
        self._shelf = AdapterShelf(
            self._model, self._sources, self._checkpoint.skeleton, self._probe, settings.adapter_cache_bytes
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
        if not self._ready:
            self._load()
        try:
            return self._compare(_Run(request, emit, stop))
        except BaseChangedError as error:
            adapter, cause = str(error), type(error.__cause__)
        except (MemoryError, RuntimeError) as error:
            if _is_out_of_memory(error):
                raise OutOfMemoryError(*_REDUCE) from error
            raise
        # outside of `except`, so that no traceback keeps the changed model while it is loaded again
        logger.error("adapter %s changed the base model; loading it again", adapter)
        del self._shelf, self._vision_cache, self._prompts, self._model, self._checkpoint
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
        with run.stage("image", "reading the image and the words"):
            prompt = self._prompts.build(request.image, request.prompt, request.system, self._max_image_tokens(request))
            given = self._given_answer(request)
            self._check_room(prompt, request, given)
            focus = request.focus if request.focus is not None else (len(prompt.tokens),)
            self._check_focus(focus, prompt, request, given)
        drafts = [self._draft(run, prompt, focus, adapter, given) for adapter in request.adapters]
        chosen = given or next((each.answer_ids for each in drafts if each.adapter == request.answer_from), None)
        self._note(run, prompt, drafts)
        recordings = []
        while drafts:  # each draft's cache is freed once it was replayed
            draft = drafts.pop(0)
            recordings.append(self._replay(run, prompt, focus, draft, chosen or draft.answer_ids))
        return Comparison(
            model=self.model_info,
            prompt=request.prompt,
            system=request.system,
            image=np.asarray(request.image, dtype=np.uint8),
            grid=prompt.grid,
            tokens=recordings[0].tokens if chosen else (),
            recordings=tuple(recordings),
            timings=run.timings | {"total": time.perf_counter() - run.started},
            notes=tuple(run.notes),
        )

    def _max_image_tokens(self, request: Request) -> int:
        limit = self._settings.limits.max_image_tokens
        wanted = request.max_image_tokens or limit
        if wanted > limit:
            raise InputError(
                f"max_image_tokens is {wanted:,}; here at most {limit:,} are allowed.",
                "Ask for fewer, or let the operator raise --max-image-tokens.",
            )
        return wanted

    def _given_answer(self, request: Request) -> tuple[int, ...] | None:
        if request.answer is None:
            return None
        ids, limit = self._prompts.answer_ids(request.answer, self._checkpoint.end_ids), request.limits.max_new_tokens
        if len(ids) > limit:
            raise InputError(f"The answer has {len(ids):,} tokens; the limit is {limit:,}.", "Shorten it.")
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

    def _features(self, run: _Run, prompt: Prompt, adapter: str | None) -> _Features:
        """The image's features under the variant in use; from the cache where the tower is the base's."""
        request = run.request
        own = self._touches_vision(adapter)
        digest = hashlib.sha256(prompt.pixel_values.tobytes()).hexdigest()
        variant = (self._shelf.loading(adapter), request.scale, request.modules) if adapter and own else None
        key = (digest, prompt.grid_thw, variant)
        kept = self._vision_cache.get(key)
        if kept is not None and (kept.received is not None or not request.vision_tower):
            self._vision_cache.move_to_end(key)
            return kept if request.vision_tower else replace(kept, received=None)
        with run.stage("vision", "the vision tower reads the image"):
            kept = self._vision_cache[key] = self._run_vision(prompt, request.vision_tower)
        while len(self._vision_cache) > self._settings.vision_cache_images:
            self._vision_cache.popitem(last=False)
        return kept

    def _touches_vision(self, adapter: str | None) -> bool:
        return adapter is not None and self._shelf.load(adapter).touches_vision

    @torch.inference_mode()
    def _run_vision(self, prompt: Prompt, record: bool) -> _Features:
        info, patches = self.model_info, len(prompt.pixel_values)
        self._set_attention(vision=self._path(info.num_vision_heads, patches))
        blocks = [block.attn for block in self._model.model.visual.blocks]
        recorder = VisionRecorder(blocks, patches, self._checkpoint.device) if record else None
        output = self._model.model.get_image_features(
            torch.from_numpy(prompt.pixel_values).to(self._checkpoint.device),
            torch.tensor([prompt.grid_thw], device=self._checkpoint.device),
            return_dict=True,
            **self._capture(recorder),
        )
        if recorder is None:
            return _Features(output, None)
        recorder.check()
        return _Features(output, unblock(recorder.received.cpu().numpy(), prompt.grid_thw, info.merge_size))

    # 3. each variant reads the prompt and writes its answer

    def _draft(
        self, run: _Run, prompt: Prompt, focus: tuple[int, ...], adapter: str | None, given: tuple[int, ...] | None
    ) -> _Draft:
        request, name = run.request, adapter or "base"
        with run.stage("adapter", f"switching to {name}"):
            if adapter is not None:
                self._shelf.load(adapter)
        with self._shelf.use(adapter, request.scale, request.modules):
            features = self._features(run, prompt, adapter)
            with run.stage("prompt", f"{name} reads the prompt"):
                longest = len(given) if given else request.max_new_tokens
                draft = self._read(run, prompt, focus, adapter, features, longest)
            if given is None:
                with run.stage("answer", f"{name} writes its answer"):
                    self._write(run, prompt, draft)
        return draft

    @torch.inference_mode()
    def _read(
        self, run: _Run, prompt: Prompt, focus: tuple[int, ...], adapter: str | None, features: _Features, longest: int
    ) -> _Draft:
        """One pass over image and prompt, rows recorded; `longest` is the longest answer that may follow."""
        device, length = self._checkpoint.device, len(prompt.input_ids)
        self._set_attention(text=self._text_path(prompt))
        groups = torch.nn.functional.pad(torch.from_numpy(prompt.groups), (0, longest), value=3).to(device)
        recorder = TextRecorder(
            self.model_info.num_layers,
            self.model_info.num_heads,
            slice(prompt.image_start, prompt.image_end),
            first_row=prompt.image_end,
            last_row=length + longest - 2,
            groups=groups,
            focus_rows=_focus_rows(focus, prompt),
            on_layer=run.check,
        )
        cache = DynamicCache(config=self._model.config.text_config)
        output = self._model(
            input_ids=torch.from_numpy(prompt.input_ids)[None].to(device),
            position_ids=self._positions(prompt, 0, length),
            mm_encoder_outputs={"image": features.output},
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **self._capture(recorder),
        )
        return _Draft(adapter, self._touches_vision(adapter), features, cache, recorder, output.logits[0, -1].float())

    @torch.inference_mode()
    def _write(self, run: _Run, prompt: Prompt, draft: _Draft) -> None:
        """Greedy decoding on the kept cache, on the fast path, nothing recorded; then the cache is cut back."""
        self._set_attention(text="rows")
        decoder, length = PieceDecoder(self._checkpoint.tokenizer), len(prompt.input_ids)
        ids: list[int] = []
        logits = draft.first_logits
        while True:
            run.check()
            token = int(logits.argmax())
            ids.append(token)
            ended = token in self._checkpoint.end_ids
            done = ended or len(ids) == run.request.max_new_tokens
            piece = "" if ended else decoder.add(token)
            run.emit(AnswerToken(draft.adapter, len(ids) - 1, piece + decoder.flush() if done else piece))
            if done:
                break
            position = length + len(ids) - 1
            output = self._model(
                input_ids=torch.tensor([[token]], device=self._checkpoint.device),
                position_ids=self._positions(prompt, position, position + 1),
                past_key_values=draft.cache,
                use_cache=True,
            )
            logits = output.logits[0, -1].float()
        draft.cache.crop(-(draft.cache.get_seq_length() - length))
        written = [each for each in ids if each not in self._checkpoint.end_ids]
        draft.answer_ids = tuple(ids)
        draft.answer = self._checkpoint.tokenizer.decode(written, skip_special_tokens=False)

    # 4. the chosen answer through every variant

    def _replay(
        self, run: _Run, prompt: Prompt, focus: tuple[int, ...], draft: _Draft, answer: tuple[int, ...]
    ) -> Recording:
        tokens = prompt.tokens + answer_tokens(
            self._checkpoint.tokenizer, answer, len(prompt.input_ids), self._checkpoint.end_ids
        )
        if max(focus) >= len(tokens):
            raise SelectionError(f"focus names token {max(focus)}; the sequence has tokens 0–{len(tokens) - 1}.")
        request = run.request
        with (
            run.stage("replay", f"replaying the answer through {draft.adapter or 'base'}"),
            self._shelf.use(draft.adapter, request.scale, request.modules),
        ):
            logits = self._forced_logits(prompt, draft, answer)
            logprobs = torch.log_softmax(logits, dim=-1)[range(len(answer)), list(answer)]
            own = draft.answer_ids == answer and bool((logits.argmax(dim=-1).cpu() != torch.tensor(answer)).any())
            if own:
                run.notes.append(
                    f"Replayed in one pass, {draft.adapter or 'base'} would have chosen another token than it wrote: "
                    "the two ways of computing differ by rounding, and two tokens were nearly tied."
                )
            return self._recording(prompt, tokens, focus, draft, logprobs)

    @torch.inference_mode()
    def _forced_logits(self, prompt: Prompt, draft: _Draft, answer: tuple[int, ...]) -> torch.Tensor:
        """Float32 logits that predict each answer token, `(answer tokens, vocabulary)`; its rows are recorded."""
        length, logits = len(prompt.input_ids), draft.first_logits[None]
        if len(answer) > 1:
            self._set_attention(text=self._text_path(prompt))
            output = self._model(
                input_ids=torch.tensor([answer[:-1]], device=self._checkpoint.device),
                position_ids=self._positions(prompt, length, length + len(answer) - 1),
                past_key_values=draft.cache,
                use_cache=True,
                **self._capture(draft.by_row),
            )
            logits = torch.cat([logits, output.logits[0].float()])
        draft.by_row.check(length + len(answer) - 2)
        return logits

    # 5. records

    @torch.inference_mode()
    def _recording(
        self, prompt: Prompt, tokens: tuple[Token, ...], focus: tuple[int, ...], draft: _Draft, logprobs: torch.Tensor
    ) -> Recording:
        recorder, grid = draft.by_row, prompt.grid
        rows = torch.tensor([token.query - prompt.image_end for token in tokens], device=recorder.by_row.device)
        by_row = recorder.by_row.unflatten(-1, grid)
        background = by_row[: len(prompt.tokens)].cpu().numpy()
        return Recording(
            adapter=draft.adapter,
            answer=draft.answer,
            answer_ids=draft.answer_ids,
            tokens=tokens,
            focus=focus,
            attention=self._text_path(prompt),
            logprobs=logprobs.cpu().numpy(),
            by_token=by_row[rows].cpu().numpy(),
            by_head=recorder.by_head.unflatten(-1, grid).cpu().numpy(),
            group_share=recorder.group_share[rows].cpu().numpy(),
            background=background.mean(axis=0),
            background_low=np.percentile(background, 10, axis=0).astype(np.float32),
            background_rows=len(background),
            vision_received=draft.features.received if draft.features.received is not None else None,
        )

    def _note(self, run: _Run, prompt: Prompt, drafts: Sequence[_Draft]) -> None:
        """Warnings that a careful colleague would give."""
        run.notes[:0] = run.request.image_notes
        reduced = resized_note(run.request.image, prompt)
        if reduced:
            run.notes.append(reduced)
        for draft in drafts:
            name = draft.adapter or "base"
            if draft.answer_ids and draft.answer_ids[-1] not in self._checkpoint.end_ids:
                run.notes.append(f"The answer of {name} was cut at {len(draft.answer_ids)} tokens.")
            if draft.touches_vision:
                run.notes.append(
                    f"{name} also changes the vision tower: it sees other features of the image than base, so its maps "
                    "differ for two reasons at once."
                )

    # how the model is run

    def _path(self, heads: int, length: int) -> CapturePath:
        """Eager while one layer's matrix (scores and float32 softmax) fits the byte budget, else rows beside SDPA."""
        mode: Literal["auto", "eager", "rows"] = self._settings.attention
        if mode != "auto":
            return mode
        layer_bytes = heads * length * length * (self._model.dtype.itemsize + 4)
        return "eager" if layer_bytes <= self._settings.eager_layer_bytes else "rows"

    def _text_path(self, prompt: Prompt) -> CapturePath:
        """The same for every pass of every request on this prompt: the longest answer is counted in."""
        return self._path(self.model_info.num_heads, len(prompt.input_ids) + self._settings.limits.max_new_tokens)

    def _set_attention(self, *, text: CapturePath | None = None, vision: CapturePath | None = None) -> None:
        for config, path in ((self._model.config.text_config, text), (self._model.config.vision_config, vision)):
            if path is not None:
                config._attn_implementation = EAGER if path == "eager" else ROWS

    def _capture(self, recorder: TextRecorder | VisionRecorder | None) -> dict[str, Any]:
        return {} if recorder is None else {"recorder": recorder, "chunk_bytes": self._settings.rows_chunk_bytes}

    def _positions(self, prompt: Prompt, start: int, stop: int) -> torch.Tensor:
        """Explicit mRoPE positions `(3, 1, stop − start)` of a part of the full sequence, never from kept deltas."""
        device = self._checkpoint.device
        ids = torch.from_numpy(prompt.input_ids)
        ids = torch.nn.functional.pad(ids, (0, max(stop - len(ids), 0)))[None]  # answer ids are text: any id will do
        image = torch.zeros_like(ids)
        image[:, prompt.image_start : prompt.image_end] = 1
        positions, _ = self._model.model.get_rope_index(ids, image, torch.tensor([prompt.grid_thw]))
        return torch.as_tensor(positions[:, :, start:stop]).to(device)

    @torch.inference_mode()
    def _probe(self) -> torch.Tensor:
        """Logits and image features of a fixed input, as the model stands: the base's fingerprint."""
        size = 32 * max(2, self._checkpoint.info.patch_size * self._checkpoint.info.merge_size // 16)
        pattern = np.indices((size, size)).sum(axis=0) % 251
        image = Image.fromarray(np.stack([pattern, pattern.T[::-1], 250 - pattern], axis=-1).astype(np.uint8))
        prompt = self._prompts.build(image, "probe", None, self._settings.limits.max_image_tokens)
        self._set_attention(text="rows", vision="rows")
        features = self._run_vision(prompt, record=False)
        output = self._model(
            input_ids=torch.from_numpy(prompt.input_ids)[None].to(self._checkpoint.device),
            position_ids=self._positions(prompt, 0, len(prompt.input_ids)),
            mm_encoder_outputs={"image": features.output},
            use_cache=False,
            logits_to_keep=4,
        )
        return torch.cat([output.logits.flatten().float(), features.output.pooler_output[0].flatten().float()]).cpu()


_REDUCE = (
    "The device ran out of memory for this request.",
    "Reduce the image (max_image_tokens), the number of adapters or the answer's length.",
)


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA has a class for it; a CPU's failed allocation is a RuntimeError that names the allocator."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def _focus_rows(focus: Sequence[int], prompt: Prompt) -> list[int]:
    """Rows that the tokens of `focus` show: their own for the prompt's, the one before for the answer's."""
    count = len(prompt.tokens)
    return [prompt.image_end + index - (index >= count) for index in focus]
