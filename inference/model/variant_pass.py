"""One variant's way from the image to its recording, while its adapter is on; it knows no other variant.

Steps 2–5 of the main path (see `engine.py`), each a method, in order: `see`, `read_image`, `read`, `write`, `replay`.
What was seen, read and written before is taken from the cache, bit for bit what would be computed anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from inference.adapters.portion import Portion
from inference.image_maps import ImageMaps
from inference.model.cache import CacheKey, Generation, InferenceCache, PrefixCache, VisionFeatures
from inference.model.context import RequestContext
from inference.model.extra_views import ExtraViews
from inference.model.image_input import ImageInput
from inference.model.passes import Passes
from inference.model.pieces import PieceDecoder
from inference.model.prompt import answer_tokens
from inference.model.recorders import TextRecorder
from inference.recording import FloatArray, Recording, Token, background_of
from inference.records import AnswerToken

#: What tells one variant from another: the loading of its adapter, and how much of it is on; None for base.
Variant = tuple[str, Portion]


class VariantPass:
    """One variant answering one request.

    Args:
        context: the request with its input.
        adapter: the variant's name, None for base.
        variant: what its numbers depend on beside the input.
        own_vision: whether it changes the vision tower.
        passes: run the model, with this variant's adapter on.
        cache: what was computed before; this pass owns what it takes out of it until `keep`.
    """

    prefix: PrefixCache | None
    positions: torch.Tensor
    recorder: TextRecorder
    first_logits: torch.Tensor
    received: tuple[FloatArray | None, ...] = ()
    answer_ids: tuple[int, ...] = ()
    answer_pieces: tuple[str, ...] = ()
    answer: str | None = None

    def __init__(
        self,
        context: RequestContext,
        adapter: str | None,
        variant: Variant | None,
        own_vision: bool,
        passes: Passes,
        cache: InferenceCache,
    ) -> None:
        self.context, self.adapter, self.name = context, adapter, adapter or "base"
        self._passes, self._cache = passes, cache
        self._tokenizer, self._end_ids = passes.checkpoint.tokenizer, passes.checkpoint.end_ids
        request, prompt = context.request, context.prompt
        image = CacheKey(prompt.digest, request.vision_tower, variant)
        self.path = passes.text_path(prompt)
        self._vision_key = image if own_vision else image._replace(variant=None)
        self._prefix_key = image._replace(ids=prompt.input_ids[: prompt.image_end].tobytes(), path=self.path)
        self._generation_key = image._replace(
            ids=prompt.input_ids.tobytes(), path=self.path, new_tokens=request.max_new_tokens
        )
        self.prefix = cache.take(self._prefix_key, PrefixCache)
        if own_vision:
            context.notes.append(
                f"{self.name} also changes the vision tower: it sees other features of the image than base, so its "
                "maps differ for two reasons at once."
            )

    # 2. vision features

    def see(self) -> tuple[VisionFeatures, ...] | None:
        """Each image's features, once for all variants that leave the tower alone; None if nothing needs them."""
        if self.prefix is not None and not self.context.request.vision_tower:
            return None
        features = tuple(map(self._see, self.context.prompt.images))
        self.received = tuple(each.received for each in features)
        return features

    def _see(self, image: ImageInput) -> VisionFeatures:
        key = self._vision_key._replace(image=image.digest)
        features = self._cache.get(key, VisionFeatures)
        if features is None:
            stages = self.context.stages
            with stages.stage("vision", "the vision tower reads the image"):
                features = self._passes.vision(image, self.context.request.vision_tower, stages.check)
            self._cache.keep(key, features)
        return features

    # 3. the image's rows, the words, the answer

    def read_image(self, features: tuple[VisionFeatures, ...] | None) -> None:
        """Everything up to the image's end, unless that is kept."""
        context, prompt = self.context, self.context.prompt
        with context.stages.stage("prompt", f"{self.name} reads the image"):
            self.positions = self._passes.positions(prompt, prompt.length + context.longest)
            if self.prefix is None:
                assert features is not None
                self.prefix = self._passes.image(prompt, features, self.positions, context.stages.check)

    def read(self) -> None:
        """The words, with their rows recorded."""
        context, prompt = self.context, self.context.prompt
        with context.stages.stage("prompt", f"{self.name} reads the prompt"):
            assert self.prefix is not None
            self.recorder = self._passes.recorder(prompt, prompt.rows(context.early_focus), context.longest)
            self.first_logits = self._passes.words(
                prompt, self.prefix, self.positions, self.recorder, context.stages.check
            )

    def write(self) -> None:
        """Greedy decoding; what this variant wrote to the same prompt before is only said again."""
        with self.context.stages.stage("answer", f"{self.name} writes its answer"):
            assert self.prefix is not None
            limit = self.context.request.max_new_tokens
            kept = self._cache.get(self._generation_key, Generation)
            decoded = self._passes.decode(self.context.prompt, self.prefix, self.positions, self.first_logits, limit)
            decoder, ids, pieces = PieceDecoder(self._tokenizer), list[int](), list[str]()
            for token in kept.ids if kept is not None else decoded:
                self.context.stages.check()
                ids.append(token)
                ended = token in self._end_ids
                piece = "" if ended else decoder.add(token)
                last = ended or len(ids) == limit
                piece = piece + decoder.flush() if last else piece
                pieces.append(piece)
                self.context.stages.emit(AnswerToken(self.adapter, len(ids) - 1, piece))
            self._cache.keep(self._generation_key, Generation(tuple(ids)))
            written = [token for token in ids if token not in self._end_ids]
            self.answer_ids, self.answer_pieces = tuple(ids), tuple(pieces)
            self.answer = self._tokenizer.decode(written, skip_special_tokens=False)
            if len(written) == len(ids):
                self.context.notes.append(f"The answer of {self.name} was cut at {len(ids)} tokens.")

    # 4. the chosen answer

    def replay(self, answer: tuple[int, ...]) -> Recording:
        """The chosen answer through this variant, and with it the whole recording.

        Raises:
            SelectionError: the focus lies beyond this answer, or names tokens that it does not have.
        """
        context, prompt = self.context, self.context.prompt
        tokens = prompt.tokens + answer_tokens(self._tokenizer, answer, prompt.length, self._end_ids)
        self.recorder.refocus(prompt.rows(context.focus(tokens)))
        with context.stages.stage("replay", f"replaying the answer through {self.name}"):
            assert self.prefix is not None
            following = self._passes.replay(
                prompt, self.prefix, self.positions, self.recorder, answer, context.stages.check
            )
            logits = torch.cat([self.first_logits[None], following])  # (answer tokens, vocabulary)
            if self.answer_ids == answer and bool((logits.argmax(dim=-1).cpu() != torch.tensor(answer)).any()):
                context.notes.append(
                    f"Replayed in one pass, {self.name} would have chosen another token than it wrote: "
                    "the two ways of computing differ by rounding, and two tokens were nearly tied."
                )
            recording = self._recording(tokens, answer, logits)
        if not context.request.views:
            return recording
        return replace(recording, **self._extra_views(tokens, answer))  # outside of inference mode: gradients are asked

    # 5. records

    @torch.inference_mode()
    def _recording(self, tokens: tuple[Token, ...], answer: tuple[int, ...], logits: torch.Tensor) -> Recording:
        prompt, recorder = self.context.prompt, self.recorder
        rows = torch.tensor([token.query - prompt.image_end for token in tokens], device=recorder.by_row.device)
        sizes = [image.tokens for image in prompt.images]
        received = self.received or (None,) * len(sizes)
        maps, background_rows = list[ImageMaps](), 0
        for image, by_row, by_head, seen in zip(
            prompt.images, recorder.by_row.split(sizes, -1), recorder.by_head.split(sizes, -1), received, strict=True
        ):
            # (rows, layers, cells) → (tokens, layers, grid_h, grid_w)
            by_token = by_row[rows].unflatten(-1, image.grid).cpu().numpy()
            background, background_low, background_rows = background_of(by_token, tokens)
            of_heads = by_head.unflatten(-1, image.grid).cpu().numpy()  # (layers, heads, grid_h, grid_w)
            maps.append(ImageMaps(by_token, of_heads, background, background_low, seen))
        *elsewhere, shown = maps
        logprobs = torch.log_softmax(logits, dim=-1)[range(len(answer)), list(answer)]  # (answer tokens,)
        return Recording(
            adapter=self.adapter,
            answer=self.answer,
            answer_ids=self.answer_ids,
            answer_pieces=self.answer_pieces,
            tokens=tokens,
            focus=self.context.focus(tokens),
            attention=self.path,
            logprobs=logprobs.cpu().numpy(),
            by_token=shown.by_token,
            by_head=shown.by_head,
            group_share=recorder.group_share[rows].cpu().numpy(),  # (tokens, layers, heads, groups)
            background=shown.background,
            background_low=shown.background_low,
            background_rows=background_rows,
            vision_received=shown.vision_received,
            elsewhere=tuple(elsewhere),
        )

    def _extra_views(self, tokens: tuple[Token, ...], answer: tuple[int, ...]) -> dict[str, Any]:
        """What was asked for beside attention, on what was read of the image."""
        context, made = self.context, dict[str, Any]()
        with context.stages.stage("views", f"recording {', '.join(context.request.views)} of {self.name}"):
            views = ExtraViews(context, self.image_cache(), self.positions, self._passes)
            if context.general is not None:
                made["general"] = views.general(context.general)
            if "gradient" in context.request.views:
                made["gradient"] = views.gradient(tokens, answer)
            if "named" in context.request.views:
                made["named"], made["named_alone"] = views.named(tokens, answer)
        return made

    def image_cache(self) -> PrefixCache:
        """What was read of the image, and nothing after it; still owned by this pass."""
        assert self.prefix is not None
        self.prefix.cut(self.context.prompt.image_end)
        return self.prefix

    def keep(self) -> None:
        """Give back what was read of the image; whoever failed before leaves nothing half read."""
        self._cache.keep(self._prefix_key, self.image_cache())
