"""Turn a photo and words into the model's input: chat template, image tokens, grid, and which token is whose.

The person's words are always plain text: special tokens exist only where the chat template puts them. Video and several
turns are not spoken here, so the image processor and the tokenizer are all that is needed of `Qwen3VLProcessor` (which
would want torchvision).
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from inference.errors import ImageTooLargeError, ImageTooThinError, PromptError, UnsupportedModelError
from inference.records import Role, Token

# Stand-ins for the person's words while the chat template is rendered: private-use characters that no template holds.
_PROMPT, _SYSTEM = "\ue000prompt\ue001", "\ue000system\ue001"
_STANDINS = re.compile(f"({_PROMPT}|{_SYSTEM})")


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One image and one user turn, ready for the model.

    Attributes:
        input_ids: `(sequence,)` int64, image tokens expanded.
        pixel_values: `(patches, channels · temporal · patch²)` float32, patches in merge-block order.
        grid_thw: `(1, patch_h, patch_w)`, the processor's `image_grid_thw` row.
        grid: image cells (grid_h, grid_w) = patch grid over merge size.
        image_start: index of the first image token; the image tokens are contiguous.
        tokens: every token after the last image token, with roles prompt and template.
        groups: `(sequence,)` int64, index into `records.GROUPS` for each id.
        resized: (height, width) in pixels the model sees.
        limit: the bound on image tokens that reduced the image below the processor's own bound; None if none did.
    """

    input_ids: NDArray[np.int64]
    pixel_values: NDArray[np.float32]
    grid_thw: tuple[int, int, int]
    grid: tuple[int, int]
    image_start: int
    tokens: tuple[Token, ...]
    groups: NDArray[np.int64]
    resized: tuple[int, int]
    limit: int | None

    @property
    def image_tokens(self) -> int:
        """Number of image tokens, grid_h · grid_w."""
        return self.grid[0] * self.grid[1]

    @property
    def image_end(self) -> int:
        """Index one past the last image token: the first row that is recorded."""
        return self.image_start + self.image_tokens

    def without_patches(self) -> "Prompt":
        """The same with no patches: 24 KiB per image token that nothing needs once the vision tower has read them."""
        return replace(self, pixel_values=self.pixel_values[:0].copy())


class PromptBuilder:
    """Builds prompts for one checkpoint.

    Args:
        tokenizer: the checkpoint's (fast) tokenizer, with a chat template.
        image_processor: the checkpoint's image processor (PIL backend).
        image_token_id: the config's `image_token_id`.
        vocabulary_size: rows of the model's embedding, at least the tokenizer's.
    """

    def __init__(self, tokenizer: Any, image_processor: Any, image_token_id: int, vocabulary_size: int) -> None:
        if not getattr(tokenizer, "is_fast", False) or not tokenizer.chat_template:
            raise UnsupportedModelError("The checkpoint's tokenizer needs a tokenizer.json and a chat template.")
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.image_token_id = image_token_id
        self.vocabulary_size = vocabulary_size
        # the same tokenizer without special or added tokens: whatever a person writes is characters to it
        plain = json.loads(tokenizer.backend_tokenizer.to_str()) | {"added_tokens": [], "post_processor": None}
        self._plain = Tokenizer.from_str(json.dumps(plain))
        specials = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        self._specials = re.compile("(" + "|".join(map(re.escape, specials)) + ")")

    def build(self, image: Image.Image, prompt: str, system: str | None, max_image_tokens: int) -> Prompt:
        """Build the model's input.

        Args:
            image: upright RGB.
            prompt, system: the person's words.
            max_image_tokens: most image tokens after the processor's resizing.

        Raises:
            ImageTooLargeError: more image tokens than that even after resizing, which happens to thin images.
            ImageTooThinError: an aspect ratio that Qwen's `smart_resize` refuses.
            PromptError: words that leave no token.
        """
        pixel_values, grid_thw = self._patches(image, max_image_tokens)
        merge = int(self.image_processor.merge_size)
        grid = (grid_thw[1] // merge, grid_thw[2] // merge)
        ids, roles = self._tokens(prompt, system, grid[0] * grid[1])
        start = ids.index(self.image_token_id)
        end = start + grid[0] * grid[1]
        pieces = decode_pieces(self.tokenizer, ids[end:])
        tokens = tuple(
            Token(id=ids[i], text=pieces[i - end], role=roles[i], position=i, query=i) for i in range(end, len(ids))
        )
        if not any(token.role == "prompt" for token in tokens):
            raise PromptError("The prompt leaves no token for the model.", "Write some words.")
        groups = np.array([1 if role == "prompt" else 2 for role in roles], dtype=np.int64)
        groups[start:end] = 0
        patch = int(self.image_processor.patch_size)
        return Prompt(
            input_ids=np.array(ids, dtype=np.int64),
            pixel_values=pixel_values,
            grid_thw=grid_thw,
            grid=grid,
            image_start=start,
            tokens=tokens,
            groups=groups,
            resized=(grid_thw[1] * patch, grid_thw[2] * patch),
            limit=max_image_tokens if self._is_reduced_by(image, max_image_tokens) else None,
        )

    def _is_reduced_by(self, image: Image.Image, max_image_tokens: int) -> bool:
        cell = int(self.image_processor.patch_size) * int(self.image_processor.merge_size)
        ours, theirs = max_image_tokens * cell * cell, int(self.image_processor.size["longest_edge"])
        return min(image.width * image.height, theirs) > ours

    def _patches(self, image: Image.Image, max_image_tokens: int) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        processor = self.image_processor
        cell = int(processor.patch_size) * int(processor.merge_size)
        longest = min(int(processor.size["longest_edge"]), max_image_tokens * cell * cell)
        size = {"shortest_edge": min(int(processor.size["shortest_edge"]), longest), "longest_edge": longest}
        try:
            output = processor(images=[image], size=size, return_tensors="np")
        except ValueError as error:
            if "aspect ratio" not in str(error):
                raise
            raise ImageTooThinError(
                f"The image is {image.width:,} × {image.height:,} pixels: its aspect ratio is beyond 200 : 1.",
                "Cut it.",
            ) from error
        time, patch_h, patch_w = (int(each) for each in output["image_grid_thw"][0])
        count = patch_h * patch_w // int(processor.merge_size) ** 2
        if count > max_image_tokens:
            raise ImageTooLargeError(
                f"The image becomes {count:,} image tokens; the limit is {max_image_tokens:,}. Its aspect ratio "
                f"({image.width:,} × {image.height:,}) keeps the processor's resizing from bringing it below.",
                "Cut it to a less extreme shape, or raise the limit of image tokens.",
            )
        return np.asarray(output["pixel_values"], dtype=np.float32), (time, patch_h, patch_w)

    def _tokens(self, prompt: str, system: str | None, image_tokens: int) -> tuple[list[int], list[Role]]:
        """Ids and roles of the whole sequence, the image placeholder expanded."""
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _PROMPT}]}
        ]
        if system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": _SYSTEM}]})
        rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if rendered.count(_PROMPT) != 1 or rendered.count(_SYSTEM) != int(bool(system)):
            raise UnsupportedModelError("The checkpoint's chat template does not show the person's words exactly once.")
        words = {_PROMPT: prompt, _SYSTEM: system or ""}
        ids: list[int] = []
        roles: list[Role] = []
        # The template is cut at its special tokens; between them its text and the person's words are tokenised
        # together, as the model was trained, but with every special token in them read as characters.
        for part in self._specials.split(rendered):
            if self._specials.fullmatch(part):
                token = self.tokenizer.convert_tokens_to_ids(part)
                count = image_tokens if token == self.image_token_id else 1
                ids += [token] * count
                roles += ["template"] * count
            elif part:
                self._plain_text(part, words, ids, roles)
        if ids.count(self.image_token_id) != image_tokens:
            raise UnsupportedModelError("The checkpoint's chat template does not place exactly one image.")
        return ids, roles

    def _plain_text(self, part: str, words: dict[str, str], ids: list[int], roles: list[Role]) -> None:
        text, spans = "", []
        for piece in _STANDINS.split(part):
            own = words.get(piece, piece)
            if piece == _PROMPT:
                spans.append((len(text), len(text) + len(own)))
            text += own
        encoded = self._plain.encode(text, add_special_tokens=False)
        for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            inside = any(start < stop and end > first for first, stop in spans)
            ids.append(token)
            roles.append("prompt" if inside else "template")

    def answer_ids(self, answer: str | Sequence[int], end_ids: frozenset[int]) -> tuple[int, ...]:
        """Ids of a given answer; text is plain text, ids are checked against the vocabulary.

        Raises:
            PromptError: no token, an id outside the vocabulary, or an end token before the end.
        """
        if isinstance(answer, str):
            ids = tuple(self._plain.encode(answer, add_special_tokens=False).ids)
        else:
            ids = tuple(answer)
        size = self.vocabulary_size
        wrong = [each for each in ids if not 0 <= each < size]
        if not ids or wrong:
            raise PromptError(f"The answer must hold token ids 0–{size - 1}; got {wrong or 'none'}.")
        if any(each in end_ids for each in ids[:-1]):
            raise PromptError("The answer holds an end token before its end.", "Cut it after the first one.")
        return ids


def answer_tokens(tokenizer: Any, ids: Sequence[int], start: int, end_ids: frozenset[int]) -> tuple[Token, ...]:
    """Tokens of an answer whose first id stands at position `start`; each shows the row that predicts it."""
    pieces = decode_pieces(tokenizer, ids)
    return tuple(
        Token(
            id=token, text=piece, role="end" if token in end_ids else "answer", position=start + i, query=start + i - 1
        )
        for i, (token, piece) in enumerate(zip(ids, pieces, strict=True))
    )


class PieceDecoder:
    """Decodes a growing sequence: `add` returns the text that each id adds, empty while a character is incomplete."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pending: list[int] = []

    def add(self, token: int) -> str:
        """Text added by `token`."""
        self._pending.append(token)
        text = self._decode()
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._pending.clear()
        return text

    def flush(self) -> str:
        """What is left at the end, if a character stayed incomplete."""
        text = self._decode()
        self._pending.clear()
        return text

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._pending, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def decode_pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text each id adds; pieces joined give the decoded text."""
    decoder = PieceDecoder(tokenizer)
    pieces = [decoder.add(int(token)) for token in ids]
    if pieces:
        pieces[-1] += decoder.flush()
    return pieces


def unblock(values: NDArray[Any], grid_thw: tuple[int, int, int], merge_size: int) -> NDArray[Any]:
    """Bring patches from merge-block order to image order.

    Args:
        values: `(..., patches)` in the order `(grid_h, grid_w, merge, merge)` of Qwen's `patchify`.
        grid_thw: `(1, patch_h, patch_w)`.
        merge_size: patches per cell and side.

    Returns:
        `(..., patch_h, patch_w)`.
    """
    _, patch_h, patch_w = grid_thw
    lead = values.shape[:-1]
    blocked = values.reshape(*lead, patch_h // merge_size, patch_w // merge_size, merge_size, merge_size)
    return np.ascontiguousarray(np.moveaxis(blocked, -2, -3).reshape(*lead, patch_h, patch_w))


def resized_note(image: Image.Image, prompt: Prompt) -> str | None:
    """A sentence when our limit reduced the image, or the model sees less than half its pixels; else None."""
    height, width = prompt.resized
    if prompt.limit is None and height * width * 2 > image.width * image.height:
        return None
    factor = math.sqrt(image.width * image.height / (height * width))
    reason = f"The limit of {prompt.limit:,} image tokens is below the model's own. " if prompt.limit else ""
    return (
        f"{reason}The model sees the image reduced {factor:.1f} times in each direction, to {width} × {height} pixels "
        f"({prompt.image_tokens:,} image tokens); smaller details are not visible to it."
    )
