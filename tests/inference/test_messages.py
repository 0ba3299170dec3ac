"""The messages of training sets become one conversation, whatever their form; what is wrong is said."""

import json
from typing import Any

import pytest

from inference.conversation import Conversation, Turn
from inference.errors import PromptError
from inference.limits import check_limits
from inference.messages import MOST_DEPTH, MOST_JSON, MOST_TURNS, as_prompt, image_names, prompt_text, read_messages
from inference.request import Request, digest
from inference.settings import Limits
from tests.conftest import picture
from tests.conversations import CLICK, IMAGE, WITH_TOOLS, text

CALL = {"name": "click", "arguments": {"coordinate": [412, 233]}}
TOOL = {"name": "click", "parameters": {"type": "object"}}
#: One conversation in OpenAI's, Qwen's and ShareGPT's form.
OPENAI = {
    "messages": [
        {"role": "system", "content": "You click."},
        {
            "role": "user",
            "content": [
                text("Here: "),
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                text(" go"),
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": CALL | {"arguments": json.dumps(CALL["arguments"])}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ],
    "tools": [{"type": "function", "function": TOOL}],
}
QWEN = {
    "messages": [
        {"role": "system", "content": [text("You click.")]},
        {"role": "user", "content": [text("Here: "), {"type": "image", "image": "a.png"}, text(" go")]},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "done"},
    ],
    "tools": [{"type": "function", "function": TOOL}],
}
SHAREGPT = {
    "id": 7,
    "conversations": [
        {"from": "human", "value": "Here: <image> go"},
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "done"},
    ],
    "system": "You click.",
    "tools": json.dumps([TOOL]),
    "images": ["a.png"],
}


@pytest.mark.parametrize("form", [OPENAI, QWEN, SHAREGPT], ids=["OpenAI", "Qwen", "ShareGPT"])
def test_the_same_conversation_is_read_from_each_form(form):
    read = read_messages(form)
    assert [turn.speaker for turn in read.turns] == ["system", "user", "assistant", "tool"]
    assert [turn.parts for turn in read.turns] == [("You click.",), ("Here: ", None, " go"), (), ("done",)]
    assert [json.loads(tool) for tool in read.tools] == [{"type": "function", "function": TOOL}]
    (call,) = read.turns[2].calls
    about = json.loads(call)
    about = about.get("function", about)
    assert about["name"] == "click"
    assert about["arguments"] in (CALL["arguments"], json.dumps(CALL["arguments"]))
    assert read.summary == "system, 1 tool, 3 turns, 1 image"
    assert str(read) == "done (system, 1 tool, 3 turns, 1 image)"
    assert not read.answered
    assert read_messages(json.dumps(form)) == as_prompt(f"\n {json.dumps(form)} ") == read


@pytest.mark.parametrize(("messages", "tools"), [kind[1:] for kind in WITH_TOOLS])
def test_messages_reach_the_template_as_they_were_written(messages, tools):
    read = read_messages({"messages": messages, "tools": tools})
    assert [json.loads(tool) for tool in read.tools] == tools
    for given, passed in zip(messages, read.messages(), strict=True):
        alone = isinstance(given["content"], list) and len(given["content"]) == 1 and given["content"] != [IMAGE]
        assert passed == (given | {"content": given["content"][0]["text"]} if alone else given)


def test_qwens_training_script_takes_the_spaces_around_a_users_texts_away():
    turns = [{"from": "human", "value": "<image>\nWhat is it? \n"}, {"from": "gpt", "value": " red \n"}]
    ours, qwens = read_messages({"conversations": turns}), read_messages({"conversations": turns, "image": "a.jpg"})
    assert ours.asked == (Turn("user", (None, "\nWhat is it? \n")),)
    assert qwens.asked == (Turn("user", (None, "What is it?")),)
    assert qwens.turns[1].parts == (" red \n",)


def test_an_answer_at_the_end_is_not_asked():
    read = read_messages([{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "red"}])
    assert read.answered
    assert [message["role"] for message in read.messages()] == ["user"]
    assert read.note == "The prompt is a conversation: 1 turn, 1 image. The answer at its end is left to the model."
    assert read_messages(read.json()) == read


@pytest.mark.parametrize(
    "words",
    ["What?", '["a", "list"]', '{"a": "plain"} question', "[1, 2] is what?", '{"coordinate": [1, 2]}', "[", "{}", "[]"],
)
def test_a_prompt_that_is_no_messages_stays_words(words):
    assert as_prompt(words) == words


def test_messages_are_known_by_their_keys_in_any_order_and_by_their_length():
    read = as_prompt('[{"content": "<image>What?", "role": "user", "loss": true}]')
    assert read == read_messages([{"role": "user", "content": "<image>What?"}])
    long = json.dumps([{"role": "user", "content": "<image>" + "x" * MOST_JSON}])
    assert as_prompt(long) is long


def test_tools_are_read_after_the_system_text_and_before_all_others():
    system, turn = {"role": "system", "content": "Klick, Ä!"}, {"role": "user", "content": [IMAGE, text("What?")]}
    tool = TOOL | {"description": "Ä"}
    written = json.dumps({"type": "function", "function": tool}, ensure_ascii=False)
    whole = {"tools": [{"type": "function", "function": tool}]}
    assert read_messages(whole | {"messages": [turn]}).texts == (written, "What?")
    assert read_messages(whole | {"messages": [system, turn]}).texts == ("Klick, Ä!", written, "What?")


def test_a_prompt_is_written_as_it_is_read():
    turns = [{"role": "system", "content": "Klick, Ä!"}, {"role": "user", "content": [IMAGE, text("What?")]}]
    written = prompt_text(read_messages(turns))
    assert "Klick, Ä!" in written
    assert as_prompt(written) == read_messages(turns)
    assert prompt_text("What?") == "What?"
    assert Conversation.of("What?", "Klick, Ä!").texts == ("Klick, Ä!", "What?")
    assert Conversation.of("What?", None).turns == (Turn("user", (None, "What?")),)


def calling(argument: object) -> dict[str, Any]:
    """A turn that calls a tool."""
    return {"role": "assistant", "tool_calls": [{"name": "click", "arguments": argument}]}


def nested(depth: int) -> object:
    """Lists in lists, so many deep."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_call_may_be_nested_as_deep_as_is_said():
    deepest = calling(nested(MOST_DEPTH - 2))
    turns = [{"role": "user", "content": "x"}, deepest, {"role": "tool", "content": "y"}]
    assert read_messages(turns).turns[1].calls == (json.dumps(deepest["tool_calls"][0]),)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('[{"role": "user", "content": "<image>What?"}', "^The messages: this is not JSON from line 1"),
        ('{"messages": [{"role": "user"', "not JSON from line 1"),
        (
            '[{"role": "user", "content": "a<image>"}]\n[{"role": "user", "content": "<image>b"}]',
            "not JSON from line 2",
        ),
        ([], "must be a list of turns, not empty"),
        ({"turns": []}, "must be a list of turns"),
        (
            {"messages": [{"role": "user", "content": "x"}], "conversations": [{"from": "human"}]},
            "must be a list of turns",
        ),
        ({"messages": [{"role": "user", "content": "x"}], "videos": ["a.mp4"]}, "hold videos; only images and text"),
        ([3], "Turn 1 of the messages must be an object; got 3"),
        ([{"role": "developer", "content": "x"}], "Turn 1 is said by 'developer'; known are system, user"),
        ([{"role": "user", "content": 3}], "The content of turn 1 must be text or a list of parts"),
        ([{"role": "user", "content": ""}], "Turn 1 of the messages is empty"),
        ([{"role": "user", "content": [{"type": "video", "video": "x"}]}], "part 0 must be text or an image"),
        ([{"role": "user", "content": "x", "audio": "y"}], "Turn 1 has a key 'audio', which is not read"),
        ([{"role": "assistant", "content": [IMAGE]}], "an image may stand in a turn of the user or of a tool"),
        ([{"role": "user", "content": "x", "tool_calls": [CALL]}], "Turn 1 calls tools"),
        ([{"role": "assistant", "tool_calls": [{"arguments": {}}]}], "Turn 1: a call must name its tool"),
        ([{"role": "assistant", "tool_calls": 3}], "The calls of Turn 1 must be a list of calls, not empty"),
        ([calling(float("nan"))], "Turn 1: a call holds what is no JSON"),
        ([calling(nested(MOST_DEPTH - 1))], "Turn 1: a call is nested more than 32 deep"),
        ([{"role": "user", "content": "x"}] * (MOST_TURNS + 1), "The messages: 257 turns; at most 256 are read"),
        ([{"from": "function_call", "value": "click"}], "Turn 1: this is not JSON"),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "must end with a turn of the user"),
        (
            [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}, {"role": "user", "content": "x"}],
            "may only come first",
        ),
        ([{"role": "assistant", "content": "x"}], "must end with a turn of the user"),
        ([{"role": "user", "content": [IMAGE]}], "hold no words"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "Tool 1 has no name"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": "[{"}, "tools: this is not JSON"),
        (
            {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL] * 129},
            "tools: 129 tools; at most 128 are read",
        ),
        ({"messages": [{"role": "user", "content": "x\ud800"}]}, "half of a surrogate pair"),
    ],
)
def test_what_is_wrong_is_said_and_where(value: Any, said: str):
    with pytest.raises(PromptError, match=said):
        as_prompt(value) if isinstance(value, str) else read_messages(value)


@pytest.mark.parametrize("kind", ["image", "image_url", "input_image"])
def test_an_image_is_known_by_each_name_that_it_has(kind: str):
    (turn,) = read_messages([{"role": "user", "content": [{"type": kind, kind: "a.png"}, text("x")]}]).turns
    assert turn.parts == (None, "x")


@pytest.mark.parametrize("name", ["id", "name", "tool_call_id", "loss", "loss_weight", "weight"])
def test_what_else_training_sets_say_of_a_turn_changes_nothing(name: str):
    turn = {"role": "user", "content": "x"}
    assert read_messages([turn | {name: 1}]) == read_messages([turn])


def test_other_words_instead_of_those_after_the_last_image_leave_all_before_it():
    turns = [
        {"role": "system", "content": "You click."},
        {"role": "user", "content": "First <image> here"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "Then <image> where?"},
        {"role": "assistant", "content": "there"},
        {"role": "user", "content": "and now?"},
    ]
    read = read_messages({"conversations": turns, "tools": [TOOL]})
    other = read.instead("Describe it.")
    assert other.asked[:3] == read.asked[:3]
    assert [turn.parts for turn in other.asked[3:]] == [("Then ", None, "Describe it.")]
    assert other.tools == read.tools != ()


def test_a_request_takes_messages_in_place_of_words():
    value = OPENAI
    request = Request(picture(8, 8), value)
    assert request.prompt == read_messages(value)
    assert request.conversation is request.prompt
    assert request == Request(request.image, request.prompt)
    assert digest(request) != digest(Request(request.image, str(request.prompt)))
    words = Request(picture(8, 8), json.dumps(value))
    assert words.prompt == json.dumps(value), "in Python a text is a text"
    assert words.conversation == Conversation.of(json.dumps(value), None)
    with pytest.raises(PromptError, match="brings its own system text"):
        Request(picture(8, 8), value, system="Be brief.")
    for places in ("x", "<image><image>x"):
        with pytest.raises(PromptError, match=f"places for images: {places.count('<image>')}; images that came: 1"):
            Request(picture(8, 8), [{"role": "user", "content": places}])


def test_an_operators_limits_are_on_the_whole_and_on_what_is_recorded():
    limits = Limits(max_prompt_characters=100, max_conversation_characters=1_000)

    def check(before: int, after: int) -> None:
        turns = [{"role": "user", "content": "a" * before}, {"role": "user", "content": f"<image>{'b' * after}"}]
        check_limits(Request(picture(8, 8), turns), limits)

    check(900, 100)
    with pytest.raises(PromptError, match="The conversation has 1,001 characters; the limit is 1,000"):
        check(901, 100)
    with pytest.raises(PromptError, match="What comes after the conversation's image has 101 characters"):
        check(1, 101)
    tools = [CLICK | {"function": CLICK["function"] | {"description": "x" * 1_000}}]
    request = Request(picture(8, 8), {"messages": [{"role": "user", "content": "<image>x"}], "tools": tools})
    with pytest.raises(PromptError, match="The conversation has"):
        check_limits(request, limits)


def test_the_images_of_messages_are_named_where_they_have_names():
    assert image_names(SHAREGPT) == ("a.png",)
    assert image_names({"image": "b.png", "conversations": []}) == ("b.png",)
    assert image_names(QWEN) == ("a.png",)
    assert image_names(OPENAI) == ("https://example.org/a.png",)
    assert image_names({"messages": [{"role": "user", "content": [IMAGE]}]}) == ()


@pytest.mark.parametrize("content", ["<image>" * 2_000, "x" * 2_000_001], ids=["places", "letters"])
def test_a_text_of_too_much_is_refused_before_it_is_cut(content):
    with pytest.raises(PromptError, match="Turn 1 of the messages is too long"):
        read_messages([{"role": "user", "content": content}])


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ({"images": [{"path": "a.png"}]}, ("a.png",)),
        ({"images": [], "image": "a.png"}, ("a.png",)),
        ({"images": None, "image": "a.png"}, ("a.png",)),
        ({"images": ["a.png", "b.png"]}, ("a.png", "b.png")),
        ({}, ()),
    ],
)
def test_images_that_are_listed_beside_the_turns_are_named(listed, names):
    assert image_names({"messages": [{"role": "user", "content": "<image>x"}], **listed}) == names


def test_a_listed_image_without_a_name_is_refused():
    with pytest.raises(PromptError, match="The images must be file names"):
        image_names({"messages": [], "images": [{"bytes": "…"}]})
