"""The main path, top to bottom; it knows nothing of pages, pictures or clouds.

1. The photos and the words become grids, input ids and tokens (`image_input.py`, `prompt.py`).
2. The vision tower runs once for all variants that leave it alone.
3. Each variant, one after another, reads everything up to the image's end once, for all questions about it; then the
   words, with their rows recorded (`capture.py`, `recorders.py`); then it writes its answer on the same cache.
4. The chosen answer is replayed on that cache, cut back to the prompt: teacher forcing at batch 1 on one fixed path,
   with explicit positions. What was read of the image, and what was written, is kept (`cache.py`): equal requests give
   bit-identical numbers, whatever was asked before.
5. Numpy records leave; a value that is not finite is an error, not a picture.

Steps 2–5 of one variant are `variant_pass.py`, what the model runs for them is `passes.py`. Questions about a change
are answered from the same steps, by replays (`explainer.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from inference.adapters.catalog import AdapterCatalog
from inference.adapters.manager import AdapterManager, BaseChangedError
from inference.conversation import Conversation
from inference.descriptions import ModelInfo
from inference.errors import AdapterRefusedError, OutOfMemoryError
from inference.explanations import Explanation
from inference.image_maps import SeenImage
from inference.limits import check_answer_length, check_limits
from inference.model.cache import InferenceCache
from inference.model.capture import register_attention
from inference.model.checkpoint import load_checkpoint
from inference.model.context import Emit, RequestContext, Stages, Stop
from inference.model.explainer import Explainer
from inference.model.image_input import read_image
from inference.model.passes import Passes
from inference.model.prompt import Prompt, PromptBuilder
from inference.model.variants import Variants
from inference.questions import Question
from inference.recording import Recording
from inference.records import Comparison
from inference.request import Request
from inference.settings import MIB, Settings

logger = logging.getLogger(__name__)

_Record = TypeVar("_Record", Comparison, Explanation)


class Engine:
    """One base model with its adapters, answering one request at a time (the caller sees to that).

    Args:
        settings: model, device, dtype, attention mode and the bounds of the caches.
        catalog: the adapters on offer.

    Raises:
        ModelError: the model cannot be loaded.

    `model_info` describes the model; `checkpoint`, `prompts`, `passes`, `cache` and `adapters` are its parts, all of
    them new when it must be loaded again.
    """

    def __init__(self, settings: Settings, catalog: AdapterCatalog) -> None:
        register_attention()
        self._settings = settings
        self._catalog = catalog
        self._load()

    def _load(self) -> None:
        settings, self._ready = self._settings, False
        self.checkpoint = load_checkpoint(settings.model, settings.device, settings.dtype)
        self.model_info: ModelInfo = self.checkpoint.info
        config = self.checkpoint.model.config
        self.prompts = PromptBuilder(self.checkpoint.tokenizer, config.image_token_id, config.text_config.vocab_size)
        free = _free_bytes(self.checkpoint.device)
        self.cache = InferenceCache(settings.kept_bytes if settings.kept_bytes >= 0 else free // 4)
        self.passes = Passes(self.checkpoint, settings)
        self.adapters = AdapterManager(
            self.checkpoint.model,
            self._catalog,
            self.checkpoint.skeleton,
            lambda: self.passes.probe(self.prompts),
            settings.adapter_cache_bytes if settings.adapter_cache_bytes >= 0 else free // 4,
        )
        self._variants = Variants(self.passes, self.cache, self.adapters)
        forced_bytes = settings.forced_bytes if settings.forced_bytes >= 0 else free // 4
        self.explainer = Explainer(self.passes, self._variants, forced_bytes)
        self._ready = True

    def refresh_adapters(self) -> None:
        """Look again at what is on offer, between two requests; one whose files were replaced is loaded again.

        Raises:
            InputError: the adapters folder is not there any more.
        """
        self._catalog.refresh()
        if self._ready:
            self.adapters.evict_replaced()

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
        return self._answer(lambda: self._compare(request, Stages(emit, stop)))

    def explain(
        self,
        request: Request,
        question: Question[Explanation],
        emit: Emit = lambda event: None,
        stop: Stop = lambda: False,
    ) -> Explanation:
        """Explain the change between a request's variants; see `inference.questions`.

        Args:
            request: of two variants, first and second.
            question: what is asked about them.
            emit: told what happens, while it happens.
            stop: asked between layers; true ends the work with `CancelledError`.

        Raises:
            VisualizerError: whatever went wrong, as the member of the tree that fits; the model is as before.
        """
        check_limits(request, self._settings.limits)
        return self._answer(lambda: self.explainer.explain(self._read(request, Stages(emit, stop)), question))

    def _answer(self, work: Callable[[], _Record]) -> _Record:
        """Do a request's work, once more where kept things may have been what lacked."""
        if not self._ready:
            self._load()
        kept = self.cache.bytes
        try:
            return self._once(work)
        except OutOfMemoryError:
            if not kept:
                raise
        # what was kept of other images is gone: perhaps that was what lacked
        return self._once(work)

    def _once(self, work: Callable[[], _Record]) -> _Record:
        """Do a request's work, and leave the model as it was, whatever happens."""
        try:
            return work()
        except BaseChangedError as error:
            adapter, cause = str(error), type(error.__cause__)
        except (MemoryError, RuntimeError) as error:
            if _is_out_of_memory(error):
                self.cache.clear()
                raise OutOfMemoryError(*_REDUCE) from error
            raise
        # outside of `except`, so that no traceback keeps the changed model while it is loaded again
        logger.error("adapter %s changed the base model; loading it again", adapter)
        del self.explainer, self._variants, self.adapters, self.cache, self.passes, self.prompts, self.checkpoint
        self._load()
        if issubclass(cause, torch.OutOfMemoryError):
            raise OutOfMemoryError(*_REDUCE)
        raise AdapterRefusedError(
            f"Adapter {adapter!r} changes the base model even when it is off: there is nothing true to compare it "
            "with. The base model was loaded again.",
            "Save it as plain LoRA.",
        )

    def _compare(self, request: Request, stages: Stages) -> Comparison:
        context = self._read(request, stages)  # 1
        answer, recordings = context.given, dict[str | None, Recording]()
        for adapter in context.order:
            recordings[adapter] = self._record(context, adapter, answer)  # 2–5
            if context.given is None and adapter == request.answer_from:
                answer = recordings[adapter].answer_ids
        grids = [image.grid for image in context.prompt.images]
        images = tuple(SeenImage(photo.pixels, grid) for photo, grid in zip(request.images, grids, strict=True))
        return Comparison(
            model=self.model_info,
            prompt=request.prompt,
            system=request.system,
            image=images[-1].pixels,
            grid=images[-1].grid,
            shown=len(images) - 1,
            elsewhere=images[:-1],
            before=context.prompt.before,
            tokens=recordings[request.adapters[0]].tokens if answer else (),
            recordings=tuple(recordings[adapter] for adapter in request.adapters),
            timings=stages.timings | {"total": stages.seconds},
            notes=tuple(context.notes),
        )

    # 1. the photo and the words

    def prompt(self, request: Request) -> Prompt:
        """The model's input for a request, before any answer.

        Raises:
            InputError: a photo or words that make none, as the member of the tree that fits.
        """
        limit = request.max_image_tokens or self._settings.limits.max_image_tokens
        images = [read_image(photo, self.checkpoint.image_processor, limit) for photo in request.images]
        return self.prompts.build(images, request.conversation)

    def _read(self, request: Request, stages: Stages) -> RequestContext:
        with stages.stage("image", "reading the image and the words"):
            prompt, given = self.prompt(request), None
            if request.answer is not None:
                given = self.prompts.answer_ids(request.answer, self.checkpoint.end_ids)
                check_answer_length(len(given), self._settings.limits)
            general = None
            if "relative" in request.views:
                general = self.prompts.build(prompt.images, request.conversation.instead(GENERAL))
            notes = _numbered([photo.notes for photo in request.images])
            context = RequestContext(request, prompt, given, stages, notes, general)
            context.check_room(int(self.checkpoint.model.config.text_config.max_position_embeddings))
            context.check_record(
                self.passes.recorded_bytes(prompt, context.longest), self._settings.limits.max_recorded_bytes
            )
        context.notes.extend(_numbered([[note] if (note := image.note()) else [] for image in prompt.images]))
        if isinstance(request.prompt, Conversation):
            context.notes.append(request.prompt.note)
        return context

    # 2–5. each variant, one after another

    def _record(self, context: RequestContext, adapter: str | None, answer: tuple[int, ...] | None) -> Recording:
        """One variant from the image to its recording; nothing of its pass stays but what is kept."""
        with self._variants.open(context, adapter) as variant:
            variant.read_image(variant.see())  # 2, 3: nothing here holds the features any longer
            variant.read()
            if context.given is None:
                variant.write()
            recording = variant.replay(answer or variant.answer_ids)  # 4, 5
            variant.keep()
        return recording


#: What the relative view divides by is asked with these words (mllms_know, arXiv 2502.17422).
GENERAL = "Write a general description of the image."
_REDUCE = (
    "The device ran out of memory for this request.",
    "Reduce the image (max_image_tokens), the number of adapters or the answer's length.",
)


def _numbered(notes: Sequence[Sequence[str]]) -> list[str]:
    """Sentences about images, with the image's number where there are several."""
    where = [f"Image {number}: " if len(notes) > 1 else "" for number in range(1, len(notes) + 1)]
    return [f"{image}{note}" for image, of_image in zip(where, notes, strict=True) for note in of_image]


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a class for CUDA's own; other failed allocations are a RuntimeError that names the allocator."""
    allocators = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(name in str(error) for name in allocators)


def _free_bytes(device: torch.device) -> int:
    """What the loaded model leaves on a GPU; on a CPU, whose memory is not ours alone, 8 GiB."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 8 * 1_024 * MIB
