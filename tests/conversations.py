"""Conversations as training sets write them, for the tests."""

from typing import Any

IMAGE: dict[str, Any] = {"type": "image"}
CLICK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "computer_use",
        "description": 'Click where it says.\n"left_click" takes [x, y] from 0 to 1000 \\ ü 日.',
        "parameters": {
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["left_click", "wait"]},
                "coordinate": {"type": "array"},
            },
            "required": ["action"],
        },
    },
}
WAIT: dict[str, Any] = {"type": "function", "function": {"name": "wait", "parameters": {}}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


#: Of each kind one: (what it is, messages, tools).
KINDS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("one turn", [{"role": "user", "content": [IMAGE, text("Click the red circle.")]}], []),
    ("the image last", [{"role": "user", "content": [text("What is this? "), IMAGE]}], []),
    (
        "system and spaces",
        [
            {"role": "system", "content": "  You click.\n"},
            {"role": "user", "content": [text("Look: "), IMAGE, text(" the red\n\ncircle  ")]},
        ],
        [],
    ),
    (
        "several turns, the image in the first",
        [
            {"role": "user", "content": [IMAGE, text("What is it?")]},
            {"role": "assistant", "content": "red circle"},
            {"role": "user", "content": "And its size?"},
        ],
        [],
    ),
    (
        "several turns, the image in the last",
        [
            {"role": "system", "content": [text("Be brief.")]},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [text("Hello."), text(" What now?")]},
            {"role": "user", "content": [text("This: "), IMAGE, text("?")]},
        ],
        [],
    ),
]
#: The same with tools, calls and what they gave back; for templates that know them.
WITH_TOOLS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("tools", KINDS[0][1], [CLICK]),
    ("tools and a system text", KINDS[2][1], [CLICK, WAIT]),
    (
        "calls and responses",
        [
            {"role": "system", "content": "You click."},
            {"role": "user", "content": [IMAGE, text("Click the red circle.")]},
            {
                "role": "assistant",
                "content": "I wait.",
                "tool_calls": [
                    {
                        "type": "function",
                        "function": {"name": "wait", "arguments": {"why": "not “there”", "time": 2.5}},
                    },
                    {"type": "function", "function": {"name": "wait", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "content": "It came.\n"},
            {"role": "tool", "content": [text("Twice.")]},
        ],
        [CLICK, WAIT],
    ),
    (
        "an image in a response",
        [
            {"role": "user", "content": "Show the screen."},
            {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": {"x": 1, "y": [2, 3]}}]},
            {"role": "tool", "content": [IMAGE]},
        ],
        [WAIT],
    ),
]
