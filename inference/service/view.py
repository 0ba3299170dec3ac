"""What a handler changes on the page, as one value per part; what is left alone is skipped. It knows no request.

A part's value is plain JSON that `visualize/page.js` turns into text nodes.
"""

import time
from typing import Any, NamedTuple

import gradio as gr

from inference.records import Comparison
from inference.service.results import Result
from visualize.page import (
    Choice,
    Json,
    answers_json,
    controls_json,
    draw,
    notice,
    numbers_json,
    opening_choice,
    panes_json,
)


class View(NamedTuple):
    """The result column, the status line and the two buttons, in the order of a handler's outputs."""

    notice: Any = gr.skip()
    answers: Any = gr.skip()
    panes: Any = gr.skip()
    numbers: Any = gr.skip()
    controls: Any = gr.skip()
    key: Any = gr.skip()
    status: Any = gr.skip()
    go: Any = gr.skip()
    stop: Any = gr.skip()


class Question(NamedTuple):
    """The photo and the words of the input column."""

    image: Any = gr.skip()
    prompt: Any = gr.skip()


class Offer(NamedTuple):
    """What is known when the backend is open: its status, the adapters to choose from and to compare with."""

    status: Any = gr.skip()
    adapter: Any = gr.skip()
    compare: Any = gr.skip()
    about: Any = gr.skip()
    notice: Any = gr.skip()


def now() -> int:
    """Microseconds since 1970: grows across restarts too, and a browser's numbers hold it exactly."""
    return time.time_ns() // 1_000


def result_view(result: Result, before: object = None) -> View:
    """A new result with its controls.

    Args:
        result: what was answered.
        before: what the controls said before; colours and the like are kept.
    """
    comparison = result.comparison
    choice = opening_choice(comparison, before)
    view = drawn_view(comparison, choice, comparison, now())
    return view._replace(
        controls=controls_json(comparison, choice), key=result.key, go=active(True), stop=active(False)
    )


def drawn_view(comparison: Comparison, choice: Choice, written: Comparison, stamp: int) -> View:
    """The parts that show a result.

    Args:
        comparison: what is shown.
        choice: what of it is looked at.
        written: the result in which the variants wrote their answers.
        stamp: `now` when it was asked for; the browser shows nothing older than what it shows already.
    """
    drawn = draw(comparison, choice)
    return View(
        notice=None,
        answers=answers_json(comparison, choice, written) | {"stamp": stamp},
        panes=panes_json(drawn) | {"stamp": stamp},
        numbers=numbers_json(drawn) | {"stamp": stamp},
    )


def idle_view(message: Json) -> View:
    """Nothing runs any more; what was shown before stays."""
    return View(notice=message, go=active(True), stop=active(False))


def stopped() -> Json:
    """The notice after Stop."""
    return notice("info", "Stopped.", "What was shown before is still here.")


def active(on: bool) -> Any:
    """A button that can be pressed, or cannot."""
    return gr.update(interactive=on)
