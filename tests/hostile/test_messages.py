"""Whatever somebody pastes as the messages of a training set: a conversation, or an error."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference.conversation import Conversation
from inference.errors import PromptError, VisualizerError
from inference.messages import MOST_JSON, as_prompt, image_names, prompt_text, read_messages
from inference.request import Request, digest
from inference.serialization import pack_request, unpack_request
from tests.conftest import picture
from tests.hostile.values import anything, plain, texts

SPEAKERS = ["system", "user", "human", "assistant", "gpt", "tool", "observation", "function_call", "nobody"]
IMAGE, WHAT = {"type": "image"}, {"type": "text", "text": "What?"}

contents = st.one_of(
    texts,
    st.builds("<image>".join, st.lists(texts, min_size=1, max_size=3)),
    st.lists(st.one_of(st.just(IMAGE), st.builds(lambda words: {"type": "text", "text": words}, texts), plain)),
)
calls = st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": texts, "arguments": anything})})
turns = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(SPEAKERS), "content": contents},
        optional={"tool_calls": st.lists(calls, max_size=2), "name": plain, "never_heard_of": plain},
    ),
    st.fixed_dictionaries({"from": st.sampled_from(SPEAKERS), "value": contents}),
    anything,
)
tools = st.one_of(st.lists(st.fixed_dictionaries({"name": texts}, optional={"parameters": anything})), anything)
usual = st.just({"role": "user", "content": [IMAGE, WHAT]})
messages = st.builds(lambda before, last: [*before, *last], st.lists(turns, max_size=4), st.lists(usual, max_size=1))
objects = st.one_of(
    messages,
    st.fixed_dictionaries({"messages": messages}, optional={"tools": tools, "system": plain}),
    st.fixed_dictionaries({"conversations": messages}, optional={"tools": tools, "image": plain, "videos": plain}),
    anything,
)


def refusal(error: VisualizerError) -> None:
    """An error's sentence: short, and sendable."""
    assert error.message
    assert len(str(error)) < 2_000
    json.dumps(str(error), ensure_ascii=False).encode("utf-8")


@given(objects, st.booleans())
@example(
    [{"role": "user", "content": [IMAGE]}, {"role": "user", "content": [{"type": "text", "text": "<image>"}]}], False
)
@example(
    [{"role": "assistant", "content": [""], "tool_calls": [{"name": "x"}]}, {"role": "user", "content": "x"}], False
)
def test_messages_are_a_conversation_or_refused(value: Any, as_text: bool):
    try:
        read = read_messages(json.dumps(value) if as_text else value)
    except PromptError as error:
        refusal(error)
        return
    assert read_messages(read.json()) == read
    assert as_prompt(prompt_text(read)) == read
    assert hash(read) == hash(read_messages(json.dumps(read.json())))
    assert str(read).endswith(f"({read.summary})")
    assert read.asked[-1].speaker in ("user", "tool")
    json.dumps(read.messages(), allow_nan=False, ensure_ascii=False).encode()
    image_names(value)
    if read.images == 1:
        request = Request(picture(8, 8), read)
        again = unpack_request(pack_request(request))
        assert again.prompt == read
        assert digest(again) == digest(request)


@given(st.one_of(texts, st.text('[]{}":,rolefm ', max_size=60), st.builds(json.dumps, objects)))
@example('[{"role": "user", "content": "<image>"')
@example('{"messages": ')
@example("[" * 100_000)
@example('{"messages": [{"role": "user", "content": ' + "[" * 100_000)
@example('{"messages": ' + "9" * 5_000 + "}")
@example('{"messages": NaN}')
def test_what_is_written_as_a_prompt_is_words_or_messages_or_refused(written: str):
    try:
        read = as_prompt(written)
    except PromptError as error:
        refusal(error)
        return
    assert read == written or isinstance(read, Conversation)


def _deep(depth: int) -> Any:
    return "x" if not depth else {"inside": [_deep(depth - 1)]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"messages": [{"role": "user", "content": "<image>x"}] * 257}, "257 turns; at most 256"),
        ({"tools": [{"name": "x"}] * 129}, "129 tools; at most 128"),
        ({"messages": [{"role": "user", "content": [WHAT] * 1_025}]}, "1,025 parts; at most 1024"),
        ({"messages": [{"role": "user", "content": [WHAT] * 800}] * 2}, "1,600 parts; at most 1024"),
        ({"tools": [{"name": "x", "parameters": _deep(20)}]}, "nested more than 32 deep"),
        ({"tools": [{"name": "x", "parameters": float("nan")}]}, "Tool 1 holds what is no JSON"),
        ({"tools": [{"name": "x", "parameters": {1, 2}}]}, "Tool 1 holds what is no JSON"),
        ({"tools": [{"name": "\ud800"}]}, "half of a surrogate pair"),
        ({"tools": json.dumps("x") + " " * MOST_JSON}, "at most 2,000,000 are read"),
    ],
)
def test_what_is_too_much_is_refused_before_anything_reads_it(change: dict[str, Any], said: str):
    with pytest.raises(PromptError, match=said) as caught:
        read_messages({"messages": [{"role": "user", "content": [IMAGE, WHAT]}]} | change)
    refusal(caught.value)
