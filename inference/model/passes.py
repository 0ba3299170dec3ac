"""The passes that the model makes over an image, its words and an answer; it knows nothing of requests or adapters.

At batch 1, always in the same steps and with explicit positions, so that equal input gives equal bits:
the vision tower · everything up to the last image token · the words after it, recorded · the answer token by token ·
the answer replayed in one pass, recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DynamicCache

from inference.model.cache import Features, Reading
from inference.model.capture import EAGER, ROWS, TextRecorder, VisionRecorder
from inference.model.checkpoint import Checkpoint
from inference.model.prompt import Prompt, PromptBuilder, unblock
from inference.records import CapturePath, FloatArray
from inference.settings import MIB, Settings

OnLayer = Callable[[], None]


def _nothing() -> None:
    pass


class Passes:
    """Runs one model.

    Args:
        checkpoint: the model; whichever adapter is on is the caller's affair.
        settings: attention mode and byte bounds.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Settings) -> None:
        self._checkpoint, self._model, self._device = checkpoint, checkpoint.model, checkpoint.device
        self._settings = settings
        self._tile_bytes = settings.tile_bytes or (256 if self._device.type == "cuda" else 32) * MIB

    @torch.inference_mode()
    def vision(
        self, patches: FloatArray, grid_thw: tuple[int, int, int], record: bool, on_layer: OnLayer = _nothing
    ) -> Features:
        """The vision tower's features of an image; with `record` also what each patch received."""
        info = self._checkpoint.info
        self._set_attention(vision=self._path(info.num_vision_heads, len(patches)))
        blocks = [block.attn for block in self._model.model.visual.blocks]
        recorder = VisionRecorder(blocks, info.num_vision_heads, len(patches), self._device) if record else None
        output = self._model.model.get_image_features(
            torch.from_numpy(patches).to(self._device),
            torch.tensor([grid_thw], device=self._device),
            cu_seqlens=torch.tensor([0, len(patches)], dtype=torch.int32),  # one image; on a GPU, layers would ask back
            return_dict=True,
            **self._capture(recorder, on_layer),
        )
        received = None
        if recorder is not None:
            recorder.check()
            received = unblock(recorder.received.cpu().numpy(), grid_thw, info.merge_size)
        return Features(output.pooler_output[0], tuple(each[0] for each in output.deepstack_features), received)

    @torch.inference_mode()
    def image(self, prompt: Prompt, features: Features, positions: torch.Tensor, on_layer: OnLayer) -> Reading:
        """Everything up to the last image token; no question asks for its rows: they are not recorded."""
        self._set_attention(text=self.text_path(prompt))
        cache = DynamicCache(config=self._model.config.text_config)
        self._model.model(
            input_ids=torch.from_numpy(prompt.input_ids[: prompt.image_end])[None].to(self._device),
            position_ids=positions[:, :, : prompt.image_end],
            mm_encoder_outputs={"image": _upstream_features(features)},
            past_key_values=cache,
            use_cache=True,
            **self._capture(None, on_layer),
        )
        return Reading(cache)

    @torch.inference_mode()
    def words(
        self,
        prompt: Prompt,
        reading: Reading,
        positions: torch.Tensor,
        focus_rows: list[int],
        longest: int,
        on_layer: OnLayer,
    ) -> tuple[TextRecorder, torch.Tensor]:
        """The words after the image, recorded, on its cache.

        Args:
            prompt, reading: the words, and what was read before them.
            positions: of the whole sequence, see `positions`.
            focus_rows: rows whose per-head maps are averaged; those of the answer come with `replay`.
            longest: most answer tokens that may follow.
            on_layer: called before each layer; may raise to stop.

        Returns:
            (recorder, logits): for the answer's rows too, and the float32 logits of its first token.
        """
        info, length = self._checkpoint.info, len(prompt.input_ids)
        self._set_attention(text=self.text_path(prompt))
        groups = torch.nn.functional.pad(torch.from_numpy(prompt.groups), (0, longest), value=3)
        recorder = TextRecorder(
            info.num_layers,
            info.num_heads,
            slice(prompt.image_start, prompt.image_end),
            first_row=prompt.image_end,
            last_row=length + longest - 2,
            groups=groups.to(self._device),
            focus_rows=focus_rows,
        )
        output = self._model(
            input_ids=torch.from_numpy(prompt.input_ids[prompt.image_end :])[None].to(self._device),
            position_ids=positions[:, :, prompt.image_end : length],
            past_key_values=reading.cache,
            use_cache=True,
            logits_to_keep=1,
            **self._capture(recorder, on_layer),
        )
        return recorder, output.logits[0, -1].float()

    @torch.inference_mode()
    def decode(
        self, prompt: Prompt, reading: Reading, positions: torch.Tensor, logits: torch.Tensor, limit: int
    ) -> Iterator[int]:
        """Greedy, token after token on the fast path, nothing recorded; at the end the cache is cut back."""
        self._set_attention(text="rows")
        length = len(prompt.input_ids)
        for position in range(length, length + limit):
            token = int(logits.argmax())
            yield token
            if token in self._checkpoint.end_ids or position == length + limit - 1:
                break
            output = self._model(
                input_ids=torch.tensor([[token]], device=self._device),
                position_ids=positions[:, :, position : position + 1],
                past_key_values=reading.cache,
                use_cache=True,
            )
            logits = output.logits[0, -1].float()
        reading.cut(length)

    @torch.inference_mode()
    def replay(
        self,
        prompt: Prompt,
        reading: Reading,
        recorder: TextRecorder,
        first_logits: torch.Tensor,
        answer: tuple[int, ...],
        on_layer: OnLayer,
    ) -> torch.Tensor:
        """The answer in one pass, recorded: float32 logits that predict each of its tokens, `(tokens, vocabulary)`."""
        length, logits = len(prompt.input_ids), first_logits[None]
        if len(answer) > 1:
            self._set_attention(text=self.text_path(prompt))
            output = self._model(
                input_ids=torch.tensor([answer[:-1]], device=self._device),
                position_ids=self.positions(prompt, length + len(answer) - 1)[:, :, length:],
                past_key_values=reading.cache,
                use_cache=True,
                **self._capture(recorder, on_layer),
            )
            logits = torch.cat([logits, output.logits[0].float()])
        recorder.check(length + len(answer) - 2)
        return logits

    def positions(self, prompt: Prompt, stop: int) -> torch.Tensor:
        """Explicit mRoPE positions `(3, 1, stop)` of the full sequence up to `stop`, never from kept deltas."""
        ids = torch.from_numpy(prompt.input_ids)
        ids = torch.nn.functional.pad(ids, (0, max(stop - len(ids), 0)))[None]  # answer ids are text: any id will do
        image = torch.zeros_like(ids)
        image[:, prompt.image_start : prompt.image_end] = 1
        positions, _ = self._model.model.get_rope_index(ids, image, torch.tensor([prompt.grid_thw]))
        return torch.as_tensor(positions[:, :, :stop]).to(self._device)

    def text_path(self, prompt: Prompt) -> CapturePath:
        """The same for every pass of every request on this prompt: the longest answer is counted in."""
        longest = len(prompt.input_ids) + self._settings.limits.max_new_tokens
        return self._path(self._checkpoint.info.num_heads, longest)

    @torch.inference_mode()
    def probe(self, prompts: PromptBuilder) -> torch.Tensor:
        """Logits and image features of a fixed input, as the model stands: the base's fingerprint."""
        size = 32 * max(2, self._checkpoint.info.patch_size * self._checkpoint.info.merge_size // 16)
        pattern = np.indices((size, size)).sum(axis=0) % 251
        image = Image.fromarray(np.stack([pattern, pattern.T[::-1], 250 - pattern], axis=-1).astype(np.uint8))
        prompt = prompts.build(image, "probe", None, self._settings.limits.max_image_tokens)
        self._set_attention(text="rows")
        features = self.vision(prompt.pixel_values, prompt.grid_thw, record=False)
        output = self._model(
            input_ids=torch.from_numpy(prompt.input_ids)[None].to(self._device),
            position_ids=self.positions(prompt, len(prompt.input_ids)),
            mm_encoder_outputs={"image": _upstream_features(features)},
            use_cache=False,
            logits_to_keep=4,
        )
        return torch.cat([output.logits.flatten().float(), features.pooled.flatten().float()]).cpu()

    def _path(self, heads: int, length: int) -> CapturePath:
        """Eager while one layer's matrix (scores and float32 softmax) fits the byte budget, else rows beside SDPA."""
        mode = self._settings.attention
        if mode != "auto":
            return mode
        layer_bytes = heads * length * length * (self._model.dtype.itemsize + 4)
        return "eager" if layer_bytes <= self._settings.eager_layer_bytes else "rows"

    def _set_attention(self, *, text: CapturePath | None = None, vision: CapturePath | None = None) -> None:
        for config, path in ((self._model.config.text_config, text), (self._model.config.vision_config, vision)):
            if path is not None:
                config._attn_implementation = EAGER if path == "eager" else ROWS

    def _capture(self, recorder: TextRecorder | VisionRecorder | None, on_layer: OnLayer) -> dict[str, Any]:
        return {"recorder": recorder, "on_layer": on_layer, "tile_bytes": self._tile_bytes}


def _upstream_features(features: Features) -> SimpleNamespace:
    """As upstream's `get_image_features` returns them: each a list over images."""
    return SimpleNamespace(pooler_output=[features.pooled], deepstack_features=[[each] for each in features.deepstack])
