"""What a handler changes on the page, as one value per part; what is left alone is skipped. It knows no request.

A part's value is plain JSON that `visualize/page/page.js` turns into text nodes.
"""

from typing import Any, Literal, NamedTuple

import gradio as gr

from visualize.page import Json, notice


class View(NamedTuple):
    """The result column, the status line and the two buttons, in the order of a handler's outputs."""

    notice: Any = gr.skip()
    viewer: Any = gr.skip()
    key: Any = gr.skip()
    status: Any = gr.skip()
    go: Any = gr.skip()
    stop: Any = gr.skip()


class Question(NamedTuple):
    """The photo, the words and the other images of the input column."""

    image: Any = gr.skip()
    prompt: Any = gr.skip()
    more_images: Any = gr.skip()


class Offer(NamedTuple):
    """What is known when the backend is open: its status, adapters to choose from and compare with, their modules."""

    status: Any = gr.skip()
    adapter: Any = gr.skip()
    compare: Any = gr.skip()
    modules: Any = gr.skip()
    about: Any = gr.skip()
    notice: Any = gr.skip()


def result_view(
    ticket: str, key: str, focus: tuple[int, ...] | Literal["digits"] | None = None, view: str = "raw"
) -> View:
    """A result, which the viewer looks at by its ticket.

    Args:
        ticket: see `Tickets`.
        key: the result's; every picture of it carries it.
        focus: the tokens whose single heads were asked for meanwhile, a run or the digits; None opens the result anew.
        view: that was asked for of them.
    """
    asked = focus if focus is None or focus == "digits" else [focus[0], focus[-1]]
    value = {"ticket": ticket, "key": key, "focus": asked, "view": view}
    return View(notice=None, viewer=value, key=key, go=active(True), stop=active(False))


def idle_view(message: Json) -> View:
    """Nothing runs any more; what was shown before stays."""
    return View(notice=message, go=active(True), stop=active(False))


def stopped() -> Json:
    """The notice after Stop."""
    return notice("info", "Stopped.", "What was shown before is still here.")


def active(on: bool) -> Any:
    """A button that can be pressed, or cannot."""
    return gr.update(interactive=on)
