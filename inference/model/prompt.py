"""Turn words into the model's input: chat template, the image's tokens in their place, and which token is whose.

The person's words are always plain text: special tokens exist only where the chat template puts them. Video is not
spoken here, so the tokenizer and the image processor are all that is needed of `Qwen3VLProcessor` (which would want
torchvision).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inference.conversation import Conversation
from inference.errors import PromptError, UnsupportedModelError
from inference.model.chat_template import SYSTEM, TEMPLATE, WORDS, ChatTemplate
from inference.model.image_input import ImageInput
from inference.model.pieces import decode_pieces
from inference.recording import GROUPS, Role, Token


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Images and a conversation about them, ready for the model.

    Attributes:
        images: whose tokens stand in it, in order; the last is the one that is shown.
        spans: of each, where its tokens stand, contiguous.
        input_ids: `(sequence,)` int64, image tokens expanded.
        before: every token before the last image token but image tokens, with roles prompt and template: read, but not
            recorded.
        tokens: every token after the last image token, with the same roles.
        groups: `(sequence,)` int64, column of `Recording.group_share` for each id.
    """

    images: tuple[ImageInput, ...]
    spans: tuple[slice, ...]
    input_ids: NDArray[np.int64]
    before: tuple[Token, ...]
    tokens: tuple[Token, ...]
    groups: NDArray[np.int64]

    @property
    def image(self) -> ImageInput:
        """The last image: the only one of most prompts."""
        return self.images[-1]

    @property
    def image_start(self) -> int:
        """Index of the last image's first token."""
        return int(self.spans[-1].start)

    @property
    def image_end(self) -> int:
        """Index one past the last image token: the first row that is recorded."""
        return int(self.spans[-1].stop)

    @property
    def grid(self) -> tuple[int, int]:
        """The last image's cells (grid_h, grid_w)."""
        return self.image.grid

    @property
    def digest(self) -> str:
        """Names all patches, see `ImageInput.digest`."""
        return " ".join(image.digest for image in self.images)

    @property
    def length(self) -> int:
        """Number of tokens; the answer's first stands at this position."""
        return len(self.input_ids)

    def rows(self, indices: Sequence[int]) -> list[int]:
        """Rows that tokens show, the answer's counted on after `tokens`: their own, for the answer's the one before."""
        return [self.image_end + index - (index >= len(self.tokens)) for index in indices]


class PromptBuilder:
    """Builds prompts for one checkpoint.

    Args:
        tokenizer: the checkpoint's (fast) tokenizer, with a chat template.
        image_token_id: the config's `image_token_id`.
        vocabulary_size: rows of the model's embedding, at least the tokenizer's.
    """

    def __init__(self, tokenizer: Any, image_token_id: int, vocabulary_size: int) -> None:
        if not getattr(tokenizer, "is_fast", False) or not tokenizer.chat_template:
            raise UnsupportedModelError("The checkpoint's tokenizer needs a tokenizer.json and a chat template.")
        self._tokenizer = tokenizer
        self._image_token_id = image_token_id
        self._vocabulary_size = vocabulary_size
        own = json.loads(tokenizer.backend_tokenizer.to_str()) | {"post_processor": None}
        # the same tokenizer without special or added tokens: whatever a person writes is characters to it
        self._plain = Tokenizer.from_str(json.dumps(own | {"added_tokens": []}))
        # a model writes the added tokens that are not special, such as <think>, as one token each: so does its answer
        self._answers = Tokenizer.from_str(json.dumps(own))
        self._answers.encode_special_tokens = True  # as characters
        added = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        self._added = re.compile("(" + "|".join(map(re.escape, added)) + ")")
        self._special = frozenset(str(each) for each in tokenizer.added_tokens_decoder.values() if each.special)
        self._template = ChatTemplate(tokenizer, self._added, self._special)

    def build(self, images: Sequence[ImageInput], conversation: Conversation) -> Prompt:
        """Build the model's input.

        Args:
            images: what the words are about, in the order of their places.
            conversation: the words, and where the images stand in them.

        Raises:
            PromptError: words that leave no token, or that the chat template refuses or does not show; nor the images.
        """
        ids, owners = self._tokens(conversation, [image.tokens for image in images])
        spans, start = [], 0
        for image in images:
            start = ids.index(self._image_token_id, start)
            spans.append(slice(start, start + image.tokens))
            start += image.tokens
        groups = np.array([1 if owner == WORDS else 2 for owner in owners], dtype=np.int64)
        for span, group in zip(spans, [*range(len(GROUPS), len(GROUPS) + len(images) - 1), 0], strict=True):
            groups[span] = group
        edges = [0, *(edge for span in spans for edge in (span.start, span.stop))]
        before = [self._named(ids, owners, *edges[at : at + 2]) for at in range(0, len(edges) - 1, 2)]
        tokens = self._named(ids, owners, edges[-1], len(ids))
        if not any(token.role == "prompt" for part in (*before, tokens) for token in part):
            raise PromptError("The prompt leaves no token for the model.", "Write some words.")
        return Prompt(
            tuple(images),
            tuple(spans),
            np.array(ids, dtype=np.int64),
            tuple(chain.from_iterable(before)),
            tokens,
            groups,
        )

    def _named(self, ids: list[int], owners: list[int], start: int, stop: int) -> tuple[Token, ...]:
        pieces = decode_pieces(self._tokenizer, ids[start:stop])
        roles: list[Role] = ["template" if owner == TEMPLATE else "prompt" for owner in owners[start:stop]]
        rows = enumerate(zip(ids[start:stop], pieces, roles, strict=True), start)
        return tuple(Token(id=token, text=piece, role=role, position=i, query=i) for i, (token, piece, role) in rows)

    def _tokens(self, conversation: Conversation, image_tokens: Sequence[int]) -> tuple[list[int], list[int]]:
        """Ids of the whole sequence, each image's placeholder expanded, and whose each is."""
        rendered = self._template.render(conversation)
        ids: list[int] = []
        owners: list[int] = []
        counts, placed = list(image_tokens), 0
        # The text is cut at its special tokens; between them the template's text and the person's words are tokenised
        # together, as the model was trained, but with every special token in them read as characters.
        for start, end, is_token in rendered.parts(self._added, self._special):
            part = rendered.text[start:end]
            if is_token:
                token = self._tokenizer.convert_tokens_to_ids(part)
                count = 1
                if token == self._image_token_id:
                    placed += 1
                    count = counts.pop(0) if counts else 0
                ids += [token] * count
                owners += [TEMPLATE] * count
                continue
            encoded = self._plain.encode(part, add_special_tokens=False)
            ids += encoded.ids
            owners += [_owner(rendered.owners[start + first : start + last]) for first, last in encoded.offsets]
        if placed != len(image_tokens):
            raise PromptError(
                "The checkpoint's chat template does not place each image exactly once.", "Put it elsewhere."
            )
        return ids, owners

    def answer_ids(self, answer: str | Sequence[int], end_ids: frozenset[int]) -> tuple[int, ...]:
        """Ids of a given answer, checked against the vocabulary.

        Text becomes what the model would have written: added tokens that are not special (`<think>`) are one token
        each; special tokens in it are plain text, as everywhere.

        Raises:
            PromptError: no token, an id outside the vocabulary, or an end token before the end.
        """
        if isinstance(answer, str):
            ids = tuple(self._answers.encode(answer, add_special_tokens=False).ids)
        else:
            ids = tuple(answer)
        size = self._vocabulary_size
        wrong = [token for token in ids if not 0 <= token < size]
        if not ids or wrong:
            raise PromptError(f"The answer must hold token ids 0–{size - 1}; got {wrong or 'none'}.")
        if any(token in end_ids for token in ids[:-1]):
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


def _owner(characters: NDArray[np.int8]) -> int:
    """Whose a token is: a turn's where it holds any of its characters, else the system's, else the template's."""
    return next((owner for owner in (WORDS, SYSTEM) if (characters == owner).any()), TEMPLATE)
