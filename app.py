"""The page's layout, which event runs which handler, and the start: no model code and no pixel code.

Values for the page's parts are plain JSON that `visualize/page/page.js` turns into text nodes. gr.HTML evaluates a
rendered template as a JavaScript template literal, so that even an escaped `{{value}}` with `${…}` in it would run: no
template here has a place for a value.
"""

import logging
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when a page is built
#: uvicorn reads it when it starts, and would believe whoever connects from this machine in whose name he asks.
os.environ.setdefault("FORWARDED_ALLOW_IPS", "")

from inference.imports import heavy_imports, process_is_ours, without_stubs

if __name__ == "__main__":
    process_is_ours()
with heavy_imports(), without_stubs():
    import gradio as gr
from gradio.components import Component
from gradio.events import api
from PIL import Image

from inference import Backend, Settings, open_backend
from inference.command_line import parse
from inference.errors import InputError
from inference.logs import set_up
from inference.messages import prompt_text
from inference.request import NEW_TOKENS
from inference.service.addresses import refuse_addresses
from inference.service.analysis import AnalysisService
from inference.service.cards import Cards
from inference.service.ending import end, told_to_end
from inference.service.endpoints import Endpoints
from inference.service.examples import examples, first_result
from inference.service.exports import Exports
from inference.service.fields import BASE, PROMPT
from inference.service.handlers import Handlers
from inference.service.listening import cannot_listen
from inference.service.metrics_server import serve
from inference.service.origins import names_of
from inference.service.page_form import MOST_ADAPTERS, PageForm
from inference.service.routes import TITLE, app_kwargs
from inference.service.uploads import use_own_folder
from inference.service.view import View
from inference.settings import Limits
from visualize.page import FOLDER, Json

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
REPLAYS = [
    ("the adapter's answer", "adapter"),
    ("the other variant's answer", "compare"),
    ("each its own answer", "own"),
]
#: Of every event of ours: seen by the page alone, its values as the browser sent them. An event that changes what it
#: reads says `show_progress_on` something else: Gradio takes a widget on both sides for pending as long as the page is
#: open, and asks for every frame of the browser to draw it, hidden or not.
_OURS: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}

TOLD = 16  # events at once that find the queue full and are told so
EVENTS = 500  # that wait in Gradio's own queue at most

_log = logging.getLogger(__name__)


class Visualizer(gr.Blocks):
    """The page with everything that a start needs beside it."""

    service: AnalysisService
    handlers: Handlers
    exports: Exports
    cards: Cards
    endpoints: Endpoints

    def start(self) -> int:
        """Serve the page until the process is asked to end; return the exit code."""
        settings = self.service.settings
        with told_to_end() as asked:
            code = self._open_doors(settings)
            if not code:
                asked.wait()
                _log.info("stopping: what runs is cancelled")
                end(self.service.close, partial(self.close, verbose=False))
        return code

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **named: Any) -> list[Any]:
        """Gradio's own first look at an event's values, which would fetch files that a visitor names by an address."""
        try:
            refuse_addresses(inputs)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        values: list[Any] = await super().preprocess_data(block_fn, inputs, *more, **named)
        return values

    def _open_doors(self, settings: Settings) -> int:
        """Listen, and say where; 0, or the code of a process that cannot."""
        try:
            if settings.metrics_port:
                names = names_of(settings)
                serve(self.service.metrics.registry, settings.metrics_host, settings.metrics_port, names)
                _log.info("numbers are on http://%s:%d/metrics", settings.metrics_host, settings.metrics_port)
        except OSError as error:
            return cannot_listen("metrics-", settings.metrics_host, settings.metrics_port, error)
        try:
            _, address, share_url = self.launch(**self.launch_options(), prevent_thread_lock=True, quiet=True)
        except OSError as error:
            return cannot_listen("", settings.host, settings.port, error)
        self.server.config.timeout_graceful_shutdown = 4  # seconds that answers under way have, when it ends
        _log.info("the page is on %s", address)
        if share_url:
            _log.info("and for everyone on %s", share_url)
        elif settings.share:
            _log.warning("there is no share link: gradio.live cannot be reached from here; the local address works")
        self.service.backend.warm()
        self.service.decoder.warm()
        return 0

    def engine_queue(self) -> dict[str, Any]:
        """Arguments of every event that may wait for the engine: they share one of Gradio's pools.

        It holds more than our own queue: who comes too late is told so by that, and does not wait in silence.
        """
        return {"concurrency_limit": self.service.queue.capacity + TOLD, "concurrency_id": "engine"}

    def launch_options(self) -> dict[str, Any]:
        """Arguments of `launch`; Gradio's own variables, which a Space sets, count where ours say nothing."""
        settings, usual = self.service.settings, Settings()
        ours = settings.host != usual.host or "GRADIO_SERVER_NAME" not in os.environ
        return {
            "server_name": settings.host if ours else None,
            "server_port": None if "GRADIO_SERVER_PORT" in os.environ else settings.port,
            "share": settings.share,
            "auth": tuple(settings.auth.split(":", 1)) if settings.auth else None,
            "theme": gr.themes.Base(font=FONT, font_mono=["ui-monospace", "monospace"]),
            "css_paths": FOLDER / "page.css",
            "app_kwargs": app_kwargs(self.service),
            "max_file_size": 2 * settings.limits.max_upload_bytes,  # up to there the refusal is our own sentence
            "max_threads": self.service.queue.capacity + TOLD + 40,
            "run_history": False,
            "state_session_capacity": settings.limits.sessions,
            "enable_monitoring": False,
            "ssr_mode": False,
            "footer_links": [],
            "show_error": False,
        }


def build(settings: Settings, open_: Callable[[], Backend] | None = None) -> Visualizer:
    """Lay the page out and bind its widgets; nothing heavy is loaded.

    Args:
        settings: of this process.
        open_: opens the backend, when it is first needed; None opens what the settings say.
    """
    demo = Visualizer(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600), fill_width=True)
    demo.service = AnalysisService(settings, open_ or partial(_open, settings))
    demo.handlers = Handlers(demo.service, examples(settings), first_result(settings))
    demo.exports, demo.cards, demo.endpoints = Exports(demo.service), Cards(demo.service), Endpoints(demo.service)
    with demo:
        _lay_out(demo)
    demo.service.uploads.ship(Path(file) for block in demo.blocks.values() for file in block.keep_in_cache)
    demo.queue(max_size=EVENTS, default_concurrency_limit=16)
    return demo


class InputColumn(NamedTuple):
    """The widgets of the question, called as the fields of `PageForm`, and what stands between them."""

    image: gr.Image
    prompt: gr.Textbox
    read: gr.HTML
    adapter: gr.Dropdown
    about: gr.HTML
    compare: gr.Dropdown
    go: gr.Button
    stop: gr.Button
    replay: gr.Dropdown
    scale: gr.Slider
    max_new_tokens: gr.Slider
    system: gr.Textbox
    modules: gr.Dropdown
    more_images: gr.File
    examples: gr.HTML


class ResultColumn(NamedTuple):
    """The widgets of the answer; `look` holds what the viewer looks at, for those handlers that must know it."""

    notice: gr.HTML
    viewer: gr.HTML
    look: gr.HTML
    cards: gr.HTML
    png: gr.Button
    pane: gr.Button
    film: gr.Button
    report: gr.Button
    npz: gr.Button
    saver: gr.HTML


def _lay_out_input(handlers: Handlers, limits: Limits) -> InputColumn:
    first, most = handlers.first, limits.max_new_tokens
    shown = Image.fromarray(first.comparison.image) if first else None
    shown_first = [recording.adapter for recording in first.comparison.recordings if recording.adapter] if first else []
    # an example may be chosen before the backend is open: what it brings must be a choice by then
    known = dict.fromkeys([*shown_first, *(example.adapter for example in handlers.examples if example.adapter)])
    words = prompt_text(first.comparison.prompt) if first else PROMPT
    image = gr.Image(shown, label="photo", format="png", height=220, buttons=[], elem_id="photo")
    for example in handlers.examples:  # the files that choosing one gives: they stay, and are everybody's
        image.keep_in_cache.add(getattr(image.postprocess(example.image), "path", ""))
    prompt = gr.Textbox(words, label="prompt", info=_KEYS, lines=1, max_lines=8, elem_id="prompt")
    read = _part("read", None)
    adapter = gr.Dropdown(
        list(known),
        value=shown_first[:1],
        multiselect=True,
        max_choices=MOST_ADAPTERS,
        label="adapter",
        elem_id="adapter",
    )
    about = _part("about", None)
    compare = gr.Dropdown([BASE], value=BASE, label="compared with", elem_id="compare")
    with gr.Row(elem_id="buttons"):
        go = gr.Button("Analyze", variant="primary", elem_id="go")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
    with gr.Accordion("More", open=False, elem_id="more"):
        replay = gr.Dropdown(REPLAYS, value="adapter", label="answer replayed through both", elem_id="replay")
        scale = gr.Slider(0, 1.5, 1, step=0.05, label="adapter strength (1 as trained)", buttons=[])
        tokens = gr.Slider(1, most, min(NEW_TOKENS, most), step=1, label="most new tokens", buttons=[])
        system = gr.Textbox(label="system text", lines=2, max_lines=6)
        modules = gr.Dropdown(
            [], value=[], multiselect=True, label="adapter on only in (empty: everywhere)", elem_id="modules"
        )
        more = gr.File(
            file_count="multiple", file_types=["image"], label=_MORE_IMAGES, height=120, elem_id="more-images"
        )
    gr.HTML(_EXAMPLES_HEAD, js_on_load=None)
    examples = _part("examples", [example.thumbnail() for example in handlers.examples])
    gr.HTML(_PROGRAMS, js_on_load=None)
    return InputColumn(
        image, prompt, read, adapter, about, compare, go, stop, replay, scale, tokens, system, modules, more, examples
    )


def _lay_out_result(opening: View) -> ResultColumn:
    notice = _part("notice", opening.notice)
    viewer, look, cards = _part("viewer", opening.viewer), _part("look", None), _part("cards", None)
    with gr.Row(elem_id="export"):
        gr.HTML("<span>Save</span>", js_on_load=None, elem_id="save")
        png, pane, film, report, npz = (gr.Button(words, size="sm") for words in _SAVES)
    return ResultColumn(notice, viewer, look, cards, png, pane, film, report, npz, _part("saver", None))


def _lay_out(demo: Visualizer) -> None:
    """Header, input column and result column, the first result in them from the start; then what binds them."""
    opening = demo.handlers.opening()
    with gr.Row(elem_id="top"):
        gr.HTML(_HEADER, elem_id="title", js_on_load=None)
        status = _part("status", opening.status)
    with gr.Row(elem_id="work"):
        with gr.Column(elem_id="input"):
            question = _lay_out_input(demo.handlers, demo.service.settings.limits)
        with gr.Column(elem_id="result"):
            result = _lay_out_result(opening)
    _bind_endpoints(demo)  # first: a name belongs to the endpoint that takes it first
    _bind_top(demo, question, result, status)
    _bind_question(demo, question, result, status, gr.State(opening.key))


def _bind_endpoints(demo: Visualizer) -> None:
    endpoints = demo.endpoints
    for name, endpoint in (
        ("analyze", endpoints.analyze),
        ("explain", endpoints.explain),
        ("adapters", endpoints.adapters),
        ("layers", endpoints.layers),
    ):
        api(endpoint, api_name=name, **demo.engine_queue())


def _bind_top(demo: Visualizer, question: InputColumn, result: ResultColumn, status: gr.HTML) -> None:
    """The page's arrival and departure, and the line on top."""
    handlers = demo.handlers
    offered = [status, question.adapter, question.compare, question.modules, question.about, result.notice]
    opened = demo.load(handlers.wait, None, None, **_OURS, concurrency_limit=None)
    # of the menu as it is once the wait is over
    opened.then(handlers.offer, question.adapter, offered, **_OURS, show_progress_on=status)
    demo.unload(handlers.leave)
    status.input(handlers.status, None, status, **_OURS, queue=False)  # asked by `page.js` while it is looked at


def _bind_question(
    demo: Visualizer, question: InputColumn, result: ResultColumn, status: gr.HTML, key: gr.State
) -> None:
    """Which event runs which handler, on what, and what it changes."""
    handlers, exports = demo.handlers, demo.exports
    view: list[Component] = [result.notice, result.viewer, key, status, question.go, question.stop]
    widgets: dict[str, Component] = question._asdict() | result._asdict()
    form, chosen = [widgets[name] for name in PageForm.model_fields], [key, result.look]
    engine = {**_OURS, **demo.engine_queue()}
    last = {**_OURS, "trigger_mode": "always_last"}  # what comes while an answer is on its way is not dropped
    taken = {**last, "show_progress_on": result.notice}
    question.image.input(handlers.receive, question.image, [question.image, result.notice], **taken)
    question.more_images.upload(
        handlers.receive_more, question.more_images, [question.more_images, result.notice], **taken
    )
    question.adapter.change(handlers.about, question.adapter, question.about, **last)
    asks = [question.go.click, question.prompt.submit]
    run = gr.on(asks, handlers.analyze, form, view, **engine, trigger_mode="multiple")
    changes = [question.adapter.input, question.compare.input, question.replay.input]
    again = gr.on(changes, handlers.analyze_again, form, view, **engine, trigger_mode="multiple")
    filling: list[Component] = [question.image, question.prompt, question.more_images, question.adapter]
    filled = question.examples.select(handlers.example, None, filling, **last)
    example = filled.then(handlers.analyze, form, view, **engine)
    record = result.look.input(handlers.record, chosen, view, **engine, trigger_mode="always_last")
    replay = result.look.submit(handlers.replay, chosen, view, **engine, trigger_mode="always_last")
    told = [result.cards, status, question.stop]
    result.cards.submit(demo.cards.explain, chosen, told, **engine, trigger_mode="multiple")  # it ends by itself
    result.cards.stop(demo.cards.stop, **_OURS, queue=False)
    runs = [run, again, example, record, replay]
    question.stop.click(handlers.stop, None, view, cancels=runs, **_OURS, queue=False)
    for event in (question.prompt.blur, question.prompt.submit):
        event(handlers.understood, question.prompt, question.read, **last)
    for changed in (
        question.image.input,
        question.prompt.input,
        question.system.input,
        question.more_images.upload,
        question.more_images.delete,
        question.more_images.clear,
    ):
        changed(None, js=_ANOTHER_QUESTION)
    for button, save in (
        (result.png, exports.pictures),
        (result.pane, exports.picture),
        (result.film, exports.film),
        (result.report, exports.report),
        (result.npz, exports.numbers),
    ):
        button.click(save, chosen, [result.saver, result.notice], **_OURS)


def _part(name: str, value: Json) -> gr.HTML:
    """One of the page's own parts: an empty template, filled by `page.js`."""
    return gr.HTML(
        value, html_template="", js_on_load=_script(), apply_default_css=False, elem_id=f"part-{name}", part=name
    )


@cache
def _script() -> str:
    return (FOLDER / "page.js").read_text(encoding="utf-8")


def _open(settings: Settings) -> Backend:
    return open_backend(settings.backend, settings=settings)


_KEYS = "Enter analyzes, Shift+Enter starts a new line. Or the messages of a training set, as JSON."
_MORE_IMAGES = "more images, after the photo"
_SAVES = ("Pictures (PNG)", "Difference (PNG)", "Film of layers (WebP)", "Report (HTML)", "Numbers (NPZ)")
_ANOTHER_QUESTION = "() => window.attentionPage?.ask?.()"
_HEADER = """<h1>LoRA Attention Visualizer</h1><p>Where Qwen3-VL looks, before and after an adapter.</p>"""
_PROGRAMS = '<p class="lav-programs">For programs: <a href="docs" target="_blank">HTTP routes</a></p>'
_EXAMPLES_HEAD = '<p class="lav-group">examples</p>'

if __name__ == "__main__":
    use_own_folder()
demo = build(parse(sys.argv[1:], os.environ) if __name__ == "__main__" else Settings.from_environment(os.environ))

if __name__ == "__main__":
    set_up(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.exit(demo.start())
