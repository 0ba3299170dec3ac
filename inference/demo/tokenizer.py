"""The embedded model's tokenizer: Qwen's splitting, special tokens and chat layout over a very small vocabulary.

It decides which strings are one token: every colour, shape and question word of the world, with and without a leading
space. All 256 bytes are in the vocabulary, so any prompt in any script can be written and comes back unchanged (after
Qwen's NFC normalisation). It must not know the model.
"""

import json
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from inference.demo.world import COLOURS, PROMPTS, SHAPES

#: Qwen3-VL's special tokens that this model uses, in Qwen's order.
SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

#: The word for a place without an object, used by the auxiliary loss of the first training stage.
NOTHING: Final = "nothing"

_END: Final = "<|im_end|>"
_PAD: Final = "<|endoftext|>"

#: Qwen's marks around a tool call: one token each, but text, not structure: they stay in a decoded answer.
TOOL_CALL_MARKS: Final = ("<tool_call>", "</tool_call>")

#: Rows of the embedding: bytes, merged words and special tokens; ids past the last one in use have no string.
VOCABULARY_SIZE: Final = 576

#: The system turn that a part of the training sees, so that a page with a system prompt is not a new world.
DEFAULT_SYSTEM: Final = "You are a helpful assistant."

#: Qwen3-VL's chat layout for text and images (tools and video left out).
CHAT_TEMPLATE: Final = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif 'text' in part %}
{{- part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

#: Strings of a click's tool call that become one token each, after everything else: older ids stay what they are.
_TOOL_CALL_WORDS: Final = (
    '{"',
    '":',
    ' "',
    '",',
    ' {"',
    " [",
    "]}}\n",
    "ick",
    "lick",
    "click",
    "arguments",
    "coordinate",
)

_EVERYDAY = """
the a an of in on at is are was be it this that these those and or not no yes with to from for by as you i he she they
we me my your there here what which who where when how why many much big small large left right top bottom middle corner
image picture photo scene object objects thing things shape shapes colour colours color colors describe show tell find
look see name one two three four first second largest smallest biggest
"""


def build_tokenizer() -> Qwen2Tokenizer:
    """Build the tokenizer; the same one on every call.

    Returns:
        A `Qwen2Tokenizer` that ends its answers with `<|im_end|>` and pads with `<|endoftext|>`.
    """
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(_corpus(), trainer)
    model = json.loads(trained.to_str())["model"]
    merges: list[Any] = [tuple(merge) for merge in model["merges"]]  # annotated as strings upstream, used as pairs
    vocabulary: dict[str, int] = model["vocab"]
    for token in dict.fromkeys((_END, _PAD, *SPECIAL_TOKENS)):  # the order in which Qwen2Tokenizer would add them
        vocabulary[token] = len(vocabulary)
    _append(trained, vocabulary, merges)
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token=_END,
        pad_token=_PAD,
        model_max_length=4096,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in TOOL_CALL_MARKS])
    return tokenizer


def one_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The id of a string that must be a single token.

    Raises:
        ValueError: the string is split.
    """
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"{text!r} is {len(ids)} tokens; expected one. Is the tokenizer the one this file builds?")
    return ids[0]


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`."""
    tokenizer.save_pretrained(folder)


def _append(trained: Tokenizer, vocabulary: dict[str, int], merges: list[Any]) -> None:
    """Give each of `_TOOL_CALL_WORDS` a token: its pieces are merged from the left, by merges that come last.

    Args:
        trained: splits a word into the pieces that it has so far.
        vocabulary: string to id; gets the new tokens at its end.
        merges: pairs in order of precedence; gets the new ones at its end.
    """
    for word in _TOOL_CALL_WORDS:
        trained.model = models.BPE(vocab=vocabulary, merges=merges)
        first, *rest = trained.encode(word).tokens
        for piece in rest:
            merges.append((first, piece))
            first += piece
            vocabulary[first] = len(vocabulary)


def _corpus() -> list[str]:
    """Lines whose words become tokens, the world's words often enough to be merged first."""
    words = [*COLOURS, *SHAPES, NOTHING]
    lines = [form for word in words for form in (word, f" {word}", f" {word}", word.capitalize())] * 50
    for wordings in PROMPTS.values():
        for wording in wordings:
            lines += [wording.format(colour=colour, shape=shape) for colour in COLOURS for shape in SHAPES]
    lines += [DEFAULT_SYSTEM, "user\n", "assistant\n", "system\n"] * 20
    lines += [f" {word}" for word in _EVERYDAY.split()] * 4
    return lines
