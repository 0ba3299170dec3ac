"""The passes that the model makes over an image, its words and an answer; it knows nothing of requests or adapters.

At batch 1, always in the same steps and with explicit positions, so that equal input gives equal bits:
the vision tower · everything up to the last image token · the words after it, recorded · the answer token by token ·
the answer replayed in one pass, recorded · or words and answer in one pass, recorded or with forced attention.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from inference.conversation import Conversation
from inference.model.cache import PrefixCache, VisionFeatures
from inference.model.capture import EAGER, ROWS, Forbidding, Forcing, Recorder
from inference.model.checkpoint import Checkpoint
from inference.model.image_input import ImageInput, read_image, unblock
from inference.model.prompt import Prompt, PromptBuilder
from inference.model.recorders import TextRecorder, VisionRecorder, WatchedRow
from inference.photo import upright_rgb
from inference.recording import CapturePath
from inference.settings import MIB, AttentionMode, Settings

OnLayer = Callable[[], None]


def _nothing() -> None:
    pass


class Passes:
    """Runs one model.

    Args:
        checkpoint: the model; whichever adapter is on is the caller's affair.
        settings: attention mode and byte bounds.

    `attention` and `tile_bytes`, the bytes of scores held at once while rows are recorded, may be set between two
    requests; what was computed on another path is kept under another key.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Settings) -> None:
        self.checkpoint = checkpoint
        self.attention: AttentionMode = settings.attention
        self.tile_bytes = settings.tile_bytes or (256 if checkpoint.device.type == "cuda" else 32) * MIB
        self._model, self._device, self._settings = checkpoint.model, checkpoint.device, settings

    @torch.inference_mode()
    def vision(self, image: ImageInput, record: bool, on_layer: OnLayer = _nothing) -> VisionFeatures:
        """The vision tower's features of an image; with `record` also what each patch received."""
        info, count = self.checkpoint.info, image.grid_thw[1] * image.grid_thw[2]
        self._set_attention(vision=self._path(info.num_vision_heads, count))
        blocks = [block.attn for block in self._model.model.visual.blocks]
        recorder = VisionRecorder(blocks, info.num_vision_heads, count, self._device) if record else None
        output = self._model.model.get_image_features(
            torch.from_numpy(image.patches()).to(self._device),
            torch.tensor([image.grid_thw], device=self._device),
            cu_seqlens=torch.tensor([0, count], dtype=torch.int32),  # one image; on a GPU, layers would ask back
            return_dict=True,
            **self._capture(recorder, on_layer),
        )
        received = None
        if recorder is not None:
            recorder.check()
            received = unblock(recorder.received.cpu().numpy(), image.grid_thw, info.merge_size)
        return VisionFeatures(output.pooler_output[0], tuple(layer[0] for layer in output.deepstack_features), received)

    @torch.inference_mode()
    def image(
        self, prompt: Prompt, features: Sequence[VisionFeatures], positions: torch.Tensor, on_layer: OnLayer
    ) -> PrefixCache:
        """Everything up to the last image token; no question asks for its rows: they are not recorded.

        `features` are those of the prompt's images, in order.
        """
        self._set_attention(text=self.text_path(prompt))
        prefix = PrefixCache(DynamicCache(config=self._model.config.text_config))
        output = self._model.model(
            input_ids=torch.from_numpy(prompt.input_ids[: prompt.image_end])[None].to(self._device),
            position_ids=positions[:, :, : prompt.image_end],
            mm_encoder_outputs={"image": _upstream_features(features)},
            past_key_values=prefix.cache,
            use_cache=True,
            **self._capture(None, on_layer),
        )
        prefix.hidden = output.last_hidden_state[0, prompt.image_start : prompt.image_end].clone()
        return prefix

    def recorder(self, prompt: Prompt, focus_rows: list[int], longest: int) -> TextRecorder:
        """For the rows of the words and of an answer.

        Args:
            prompt: the words.
            focus_rows: rows whose per-head maps are averaged.
            longest: most answer tokens that may follow.
        """
        groups = torch.nn.functional.pad(torch.from_numpy(prompt.groups), (0, longest), value=3)
        return TextRecorder(
            self.checkpoint.info.num_layers,
            self.checkpoint.info.num_heads,
            prompt.spans,
            first_row=prompt.image_end,
            last_row=prompt.length + longest - 2,
            groups=groups.to(self._device),
            focus_rows=focus_rows,
        )

    def recorded_bytes(self, prompt: Prompt, longest: int) -> int:
        """Bytes of what `recorder` holds of one variant."""
        info, rows = self.checkpoint.info, prompt.length + longest - 1 - prompt.image_end
        return TextRecorder.bytes_of(info.num_layers, info.num_heads, prompt.spans, rows)

    @torch.inference_mode()
    def words(
        self, prompt: Prompt, prefix: PrefixCache, positions: torch.Tensor, recorder: Recorder, on_layer: OnLayer
    ) -> torch.Tensor:
        """The words after the image, recorded, on its cache: float32 logits of the answer's first token.

        Args:
            prompt, prefix: the words, and what was read before them.
            positions: of the whole sequence, see `positions`.
            recorder: takes their rows.
            on_layer: called before each layer; may raise to stop.
        """
        self._set_attention(text=self.text_path(prompt))
        ids = torch.from_numpy(prompt.input_ids[prompt.image_end :])
        logits = self._text(
            ids, prompt.image_end, prefix, positions, logits_to_keep=1, **self._capture(recorder, on_layer)
        )
        return logits[-1]

    @torch.inference_mode()
    def decode(
        self, prompt: Prompt, prefix: PrefixCache, positions: torch.Tensor, logits: torch.Tensor, limit: int
    ) -> Iterator[int]:
        """Greedy, token after token on the fast path, nothing recorded; at the end the cache is cut back."""
        self._set_attention(text="rows")
        for position in range(prompt.length, prompt.length + limit):
            token = int(logits.argmax())
            yield token
            if token in self.checkpoint.end_ids or position == prompt.length + limit - 1:
                break
            logits = self._text(torch.tensor([token]), position, prefix, positions)[-1]
        prefix.cut(prompt.length)

    @torch.inference_mode()
    def replay(
        self,
        prompt: Prompt,
        prefix: PrefixCache,
        positions: torch.Tensor,
        recorder: TextRecorder,
        answer: tuple[int, ...],
        on_layer: OnLayer,
    ) -> torch.Tensor:
        """The answer in one pass, recorded: float32 logits after all but its last token, `(tokens − 1, vocabulary)`."""
        self._set_attention(text=self.text_path(prompt))
        ids = torch.tensor(answer[:-1], dtype=torch.int64)
        if len(ids):
            logits = self._text(ids, prompt.length, prefix, positions, **self._capture(recorder, on_layer))
        else:  # the words' last row predicts the only token
            logits = torch.empty(0, self._model.config.text_config.vocab_size, device=self._device)
        recorder.check(prompt.length + len(ids) - 1)
        return logits

    @torch.inference_mode()
    def text(
        self,
        prompt: Prompt,
        prefix: PrefixCache,
        positions: torch.Tensor,
        answer: tuple[int, ...],
        on_layer: OnLayer,
        *,
        recorder: Recorder | None = None,
        forcing: Forcing | None = None,
        forbidding: Forbidding | None = None,
        path: CapturePath | None = None,
    ) -> torch.Tensor:
        """Words and the beginning of an answer in one pass: float32 logits `(vocabulary,)` of what follows them.

        Args:
            prompt, prefix, positions: see `words`; the cache, of whichever variant, is cut back to the image's end.
            answer: its ids before the row that is asked for.
            on_layer: see `words`.
            recorder: takes the rows.
            forcing: overwrites their weights.
            forbidding: closes keys to them.
            path: of attention, where not the one of all other passes on this prompt.
        """
        self._set_attention(text=path or self.text_path(prompt))
        ids = torch.tensor([*prompt.input_ids[prompt.image_end :].tolist(), *answer])
        options = self._capture(recorder, on_layer, forcing) | {"forbidding": forbidding}
        logits = self._text(ids, prompt.image_end, prefix, positions, logits_to_keep=1, **options)
        prefix.cut(prompt.image_end)
        return logits[-1]

    @torch.inference_mode()
    def text_logits(
        self, prompt: Prompt, prefix: PrefixCache, positions: torch.Tensor, answer: tuple[int, ...], on_layer: OnLayer
    ) -> torch.Tensor:
        """The same of every row of words and answer: float32 `(rows, vocabulary)`."""
        self._set_attention(text=self.text_path(prompt))
        ids = torch.tensor([*prompt.input_ids[prompt.image_end :].tolist(), *answer])
        logits = self._text(ids, prompt.image_end, prefix, positions, **self._capture(None, on_layer))
        prefix.cut(prompt.image_end)
        return logits

    @torch.inference_mode()
    def named(self, prefix: PrefixCache, tokens: list[int]) -> torch.Tensor:
        """What each image token's last hidden state says of tokens: float32 logits `(tokens, image tokens)`."""
        assert prefix.hidden is not None
        head = self._model.get_output_embeddings()
        logits: torch.Tensor = head(prefix.hidden)[:, tokens].float().T
        return logits

    def row_gradient(
        self,
        prompt: Prompt,
        prefix: PrefixCache,
        positions: torch.Tensor,
        ids: tuple[int, ...],
        token: int,
        on_layer: OnLayer,
    ) -> torch.Tensor:
        """Weight × ∂ logit of a token / ∂ weight of the last row: float32 `(layers, heads, image tokens)`.

        All rows before the last are read without gradients; the last row runs alone with them, on a copy of the cache
        that shares its tensors, on the eager path: its weights are one row per head. Nothing of it stays.

        Args:
            prompt, prefix, positions, on_layer: see `text`.
            ids: of the text after the image, up to the row.
            token: whose logit is derived.
        """
        row = prompt.image_end + len(ids) - 1
        if len(ids) > 1:
            with torch.inference_mode():
                self._set_attention(text=self.text_path(prompt))
                options = self._capture(None, on_layer)
                self._text(torch.tensor(ids[:-1]), prompt.image_end, prefix, positions, logits_to_keep=1, **options)
        watched = WatchedRow(slice(prompt.image_start, prompt.image_end))
        self._set_attention(text="eager")
        options = self._capture(None, on_layer) | {"watching": watched}
        try:
            with torch.enable_grad():
                shared = PrefixCache(_shallow(prefix.cache))
                logits = self._text(torch.tensor(ids[-1:]), row, shared, positions, **options)
                return watched.products(logits[-1, token])
        finally:
            prefix.cut(prompt.image_end)

    def positions(self, prompt: Prompt, stop: int) -> torch.Tensor:
        """Explicit mRoPE positions `(3, 1, stop)` of the full sequence up to `stop`, never from kept deltas."""
        # (1, stop); the answer's ids are text: any id will do
        ids = torch.nn.functional.pad(torch.from_numpy(prompt.input_ids), (0, stop - prompt.length))[None]
        image = torch.zeros_like(ids)
        for span in prompt.spans:
            image[:, span] = 1
        grids = torch.tensor([image.grid_thw for image in prompt.images])
        positions, _ = self._model.model.get_rope_index(ids, image, grids)
        return torch.as_tensor(positions).to(self._device)

    def text_path(self, prompt: Prompt) -> CapturePath:
        """The same for every pass of every request on this prompt: the longest answer is counted in."""
        longest = prompt.length + self._settings.limits.max_new_tokens
        return self._path(self.checkpoint.info.num_heads, longest)

    @torch.inference_mode()
    def probe(self, prompts: PromptBuilder) -> torch.Tensor:
        """Logits and image features of a fixed input, as the model stands: the base's fingerprint."""
        info = self.checkpoint.info
        size = 32 * max(2, info.patch_size * info.merge_size // 16)
        pattern = np.indices((size, size)).sum(axis=0) % 251
        photo = upright_rgb(np.stack([pattern, pattern.T[::-1], 250 - pattern], axis=-1).astype(np.uint8))
        image = read_image(photo, self.checkpoint.image_processor, self._settings.limits.max_image_tokens)
        prompt = prompts.build([image], Conversation.of("probe", None))
        self._set_attention(text="rows")
        features = self.vision(image, record=False)
        output = self._model(
            input_ids=torch.from_numpy(prompt.input_ids)[None].to(self._device),
            position_ids=self.positions(prompt, prompt.length),
            mm_encoder_outputs={"image": _upstream_features([features])},
            use_cache=False,
            logits_to_keep=4,
        )
        return torch.cat([output.logits.flatten().float(), features.pooled.flatten().float()]).cpu()

    def _text(
        self, ids: torch.Tensor, first: int, prefix: PrefixCache, positions: torch.Tensor, **options: Any
    ) -> torch.Tensor:
        """Text ids from position `first` on, on what was read before: float32 logits `(ids, vocabulary)`."""
        output = self._model(
            input_ids=ids[None].to(self._device),
            position_ids=positions[:, :, first : first + len(ids)],
            past_key_values=prefix.cache,
            use_cache=True,
            **options,
        )
        logits: torch.Tensor = output.logits[0].float()
        return logits

    def _path(self, heads: int, length: int) -> CapturePath:
        """Eager while one layer's matrix (scores and float32 softmax) fits the byte budget, else rows beside SDPA."""
        if self.attention != "auto":
            return self.attention
        layer_bytes = heads * length * length * (self._model.dtype.itemsize + 4)
        return "eager" if layer_bytes <= self._settings.eager_layer_bytes else "rows"

    def _set_attention(self, *, text: CapturePath | None = None, vision: CapturePath | None = None) -> None:
        for config, path in ((self._model.config.text_config, text), (self._model.config.vision_config, vision)):
            if path is not None:
                config._attn_implementation = EAGER if path == "eager" else ROWS

    def _capture(self, recorder: Recorder | None, on_layer: OnLayer, forcing: Forcing | None = None) -> dict[str, Any]:
        return {"recorder": recorder, "forcing": forcing, "on_layer": on_layer, "tile_bytes": self.tile_bytes}


def _shallow(cache: DynamicCache) -> DynamicCache:
    """A cache that shares its tensors: what is added to it is not added to the other."""
    shared = copy.copy(cache)
    shared.layers = [copy.copy(layer) for layer in cache.layers]
    return shared


def _upstream_features(features: Sequence[VisionFeatures]) -> SimpleNamespace:
    """As upstream's `get_image_features` returns them: each a list over images."""
    layers = zip(*(each.deepstack for each in features), strict=True)
    return SimpleNamespace(
        pooler_output=[each.pooled for each in features], deepstack_features=[list(layer) for layer in layers]
    )
