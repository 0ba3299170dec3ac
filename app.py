"""The page, the routes beside it and the start: widgets bound to functions, no model code and no pixel code.

Values for the page's parts are plain JSON that `visualize/page.js` turns into text nodes. gr.HTML evaluates a rendered
template as a JavaScript template literal, so that even an escaped `{{value}}` with `${…}` in it would run: no template
here has a place for a value.
"""

import base64
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from html import escape
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when a page is built

import gradio as gr
import matplotlib
from gradio.events import api
from gradio.utils import get_upload_folder
from PIL import Image

from inference import Backend, Comparison, Request, Settings, VisualizerError, open_backend
from inference.command_line import named_adapters, parse
from inference.demo import EXAMPLE_SCENES, FIRST_VISIT
from inference.errors import CancelledError, InputError, SelectionError, UnexpectedError
from inference.photo import upright_rgb
from inference.records import BackendStatus
from inference.service.analysis import POLL, AnalysisService
from inference.service.query import Asked, read
from inference.service.results import Result, digest
from inference.service.routes import TITLE, app_kwargs
from inference.service.session import Session
from inference.settings import Limits
from visualize import sheet
from visualize.analysis_json import adapter_json, analysis_json, model_json
from visualize.page import (
    FOLDER,
    Choice,
    Json,
    adapter_lines,
    answers_json,
    controls_json,
    data_url,
    draw,
    notice,
    numbers_json,
    opening_choice,
    panes_json,
    progress_notice,
    refusal,
    variants,
)

BASE = "base"
PROMPT = "Describe the image."
NEW_TOKENS = 32
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
REPLAYS = [
    ("the adapter's answer", "adapter"),
    ("the other variant's answer", "compare"),
    ("each its own answer", "own"),
]

_log = logging.getLogger(__name__)


class View(NamedTuple):
    """What a handler changes on the page, in the order of its outputs; what is left alone is skipped."""

    notice: Any = gr.skip()
    answers: Any = gr.skip()
    panes: Any = gr.skip()
    numbers: Any = gr.skip()
    controls: Any = gr.skip()
    key: Any = gr.skip()
    status: Any = gr.skip()
    go: Any = gr.skip()
    stop: Any = gr.skip()


class Inputs(NamedTuple):
    """What a handler changes in the input column."""

    image: Any = gr.skip()
    prompt: Any = gr.skip()


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture to begin with; `kind` says whether the model knows its like."""

    title: str
    kind: str
    image: Image.Image
    prompt: str = PROMPT


class Page:
    """The page's events as plain functions: values in, `View`s out.

    Args:
        service: where analyses happen.
        examples: pictures to begin with.
        first: the result that a first session shows, or None.
    """

    def __init__(self, service: AnalysisService, examples: Sequence[Example], first: Result | None) -> None:
        self.service = service
        self.examples = tuple(examples)
        self.first = first
        self._exports = count(1)
        self._shipped = {upright_rgb(example.image).digest for example in self.examples}
        if first is not None:
            self._shipped.add(first.request.image.digest)
            service.results.share(first)

    def opening(self) -> View:
        """What the page shows before anything ran: the first result, or nothing yet."""
        if self.first is None:
            welcome = notice("info", "Choose a photo or an example,", "then press Analyze.")
            return View(welcome, None, None, None, None, None, self.status())
        return self._result_view(self.first)._replace(notice=None)

    def wait(self) -> Iterator[tuple[Any, ...]]:
        """When the backend is open, or cannot be opened: say so, and offer the adapters."""
        opened = self.service.warm()
        while not opened.done():
            time.sleep(POLL)
        failure = self.service.failure()
        try:
            offered = self._offered()
        except VisualizerError as error:
            failure, offered = error, (gr.skip(), gr.skip(), None)
        yield self.status(), *offered, gr.skip() if failure is None else refusal(failure)

    def leave(self, request: gr.Request) -> None:
        """Forget a session."""
        self.service.leave(str(request.session_hash))

    def receive(self, image: object, request: gr.Request) -> tuple[Any, Json]:
        """Check a picture as soon as it is there; one that cannot be used is taken away, with the reason."""
        if image is None:
            return gr.skip(), None
        try:
            path = _uploaded(image)
            session = self._session(request)
            try:
                photo = self.service.photo(session, path)
            except InputError:
                self.service.own_file(session, path)
                raise
            if photo.digest not in self._shipped:
                self.service.own_file(session, path)
        except VisualizerError as error:
            return None, refusal(error)
        self.service.expect()
        return gr.skip(), notice("info", " ".join(photo.notes)) if photo.notes else None

    def example(self, event: gr.EventData) -> tuple[Any, ...]:
        """Put an example into the input column."""
        index = event._data.get("index") if isinstance(event._data, dict) else None
        if not isinstance(index, int) or not 0 <= index < len(self.examples):
            return tuple(Inputs())
        return tuple(Inputs(self.examples[index].image, self.examples[index].prompt))

    def about(self, adapter: object) -> Json:
        """What the chosen adapter is."""
        try:
            offered = self.service.adapters() if self.service.ready() else ()
        except VisualizerError:
            return None  # whoever analyzes is told
        found = [each for each in offered if each.name == adapter]
        return adapter_lines(found[0]) if found else None

    def analyze(
        self,
        image: object,
        prompt: object,
        system: object,
        adapter: object,
        compare: object,
        replay: object,
        new_tokens: object,
        strength: object,
        controls: object,
        request: gr.Request,
    ) -> Iterator[View]:
        """Answer the question of the input column, and show what is happening meanwhile."""
        session = self._session(request)
        try:
            asked = self._request(session, image, prompt, system, adapter, compare, replay, new_tokens, strength)
        except VisualizerError as error:
            yield View(notice=refusal(error))
            return
        if session.runs("analysis", digest(asked)):
            yield View()  # a widget may say twice that it changed; a handler that yields nothing empties the page
            return
        stop = session.begin("analysis", digest(asked))
        session.asked = asked
        yield View(notice=notice("busy", "Starting…"), go=_active(False), stop=_active(True))
        writing: dict[str, str] = {}
        try:
            for event in self.service.answer(asked, address=_address(request), session=session, cancelled=stop):
                if isinstance(event, Result):
                    yield View(notice=notice("busy", "Drawing…"))
                    yield self._shown(session, event, controls)
                else:
                    yield View(notice=progress_notice(event, writing))
        except CancelledError:
            if not session.runs("analysis"):
                yield self._idle(notice("info", "Stopped.", "What was shown before is still here."))
        except VisualizerError as error:
            yield self._idle(refusal(error))
        except Exception:  # noqa: BLE001 - the boundary: logged with its traceback, said as a sentence
            _log.exception("an analysis failed")
            yield self._idle(refusal(UnexpectedError()))

    def analyze_again(
        self,
        image: object,
        prompt: object,
        system: object,
        adapter: object,
        compare: object,
        replay: object,
        new_tokens: object,
        strength: object,
        controls: object,
        request: gr.Request,
    ) -> Iterator[View]:
        """Ask the last question again, of other variants; a question that was changed since waits for Analyze.

        A menu says that it changed whenever it loses the focus, too: nothing new is asked then.
        """
        session = self._session(request)
        last = session.asked or (self.first.request if self.first else None)
        if image is None or last is None:
            yield View()
            return
        fields = (image, prompt, system, adapter, compare, replay, new_tokens, strength)
        try:
            asked = self._request(session, *fields)
        except VisualizerError as error:
            yield View(notice=refusal(error))
            return
        same = replace(asked, adapters=last.adapters, answer_from=last.answer_from)
        if digest(asked) == digest(last) or digest(same) != digest(last):
            yield View()
            return
        yield from self.analyze(*fields, controls, request)

    def stop(self, request: gr.Request) -> View:
        """Stop whatever runs for this session."""
        self._session(request).stop()
        return self._idle(notice("info", "Stopped.", "What was shown before is still here."))

    def look(self, key: object, controls: object, request: gr.Request) -> Iterator[View]:
        """Show another layer, head, token or view; what is not recorded yet is recorded first."""
        session = self._session(request)
        drawing, stamp = session.next_drawing(), _now()
        try:
            written, choice = self._chosen(session, key, controls)
            result = written
            if not choice.is_recorded(written.comparison):
                yield View(notice=notice("busy", "Recording the heads of this token…"), stop=_active(True))
                result = self._heads(session, written, choice, _address(request))
            view = self._drawn(result.comparison, choice, written.comparison, stamp)
        except CancelledError:
            view = View()
        except VisualizerError as error:
            view = View(notice=refusal(error))
        except Exception:  # noqa: BLE001 - the same
            _log.exception("a drawing failed")
            view = View(notice=refusal(UnexpectedError()))
        if session.is_late(drawing):
            yield View()
        elif session.runs("analysis"):
            yield view._replace(notice=gr.skip()) if view.notice is None else view
        else:
            yield view._replace(stop=_active(False))

    def export_pictures(self, key: object, controls: object, request: gr.Request) -> tuple[Json, Json]:
        """A PNG for the browser to save: the pictures with their captions and bars."""
        return self._exported("png", key, controls, request)

    def export_numbers(self, key: object, controls: object, request: gr.Request) -> tuple[Json, Json]:
        """An NPZ for the browser to save, as `Comparison.load` reads it."""
        return self._exported("npz", key, controls, request)

    def status(self) -> Json:
        """The line on top: model, backend, device, queue."""
        failure, settings = self.service.failure(), self.service.settings
        model = settings.base_model or "the deployed model"
        if failure is not None:
            return {"state": "failed", "words": [model, settings.backend, str(failure)]}
        if not self.service.ready():
            opening = "loading the model…" if settings.backend == "local" else "reaching Modal…"
            return {"state": "loading", "words": [model, settings.backend, opening]}
        waiting = self.service.queue.waiting
        queue = "nobody is waiting" if not waiting else f"{waiting} waiting"
        ready = self.service.backend().status()
        return {"state": "ready", "words": [ready.model, ready.backend, _machine(ready), queue]}

    def api_analyze(
        self,
        image: gr.FileData,
        prompt: str,
        request: gr.Request,
        adapter: list[str] | None = None,
        layer: int | None = None,
        head: str = "mean",
        token: str = "",
        view: str = "raw",
        overlay: bool = True,
    ) -> dict[str, Any]:
        """Answers and attention maps of one image, as JSON; with `overlay`, PNG data URLs at the image's own size."""
        try:
            path = _uploaded(image)
            content = path.read_bytes()
            self.service.own_file(Session(""), path)  # of no session: deleted at once
            fields = {"prompt": prompt, "adapter": adapter, "layer": layer, "head": head, "token": token, "view": view}
            asked = read(fields | {"overlay": overlay}, content, self.service.settings.limits)
            result = self.service.result(asked.request, address=_address(request))
            return dict(_analysis(result.comparison, asked))
        except VisualizerError as error:
            raise _gradio_error(error) from error

    def api_adapters(self) -> list[dict[str, Any]]:
        """The adapters on offer."""
        try:
            return [dict(adapter_json(each)) for each in self.service.adapters()]
        except VisualizerError as error:
            raise _gradio_error(error) from error

    def api_layers(self) -> dict[str, Any]:
        """Layers, heads and the geometry of the image's cells."""
        try:
            return dict(model_json(self.service.model_info()))
        except VisualizerError as error:
            raise _gradio_error(error) from error

    def _session(self, request: gr.Request) -> Session:
        return self.service.session(str(request.session_hash))

    def _offered(self) -> tuple[Any, Any, Json]:
        if not self.service.ready():
            return gr.skip(), gr.skip(), None
        adapters = self.service.adapters()
        names = [each.name for each in adapters]
        nothing: list[Json] = ["No adapter is offered: the base model is shown alone."]
        about = adapter_lines(adapters[0]) if adapters else nothing
        adapter = gr.update(choices=names, value=names[0] if names else None)
        return adapter, gr.update(choices=[BASE, *names]), about

    def _request(self, session: Session, image: object, prompt: object, *rest: Any) -> Request:
        system, adapter, compare, replay, new_tokens, strength = rest
        left = None if compare in (None, BASE) else str(compare)
        right = None if adapter in (None, "", BASE) else str(adapter)
        if right is not None and right == left:
            raise SelectionError(f"{right} would be compared with itself.", "Choose another variant to compare with.")
        answers: dict[object, str | None] = {"own": "own", "compare": left}
        return Request(
            image=self.service.photo(session, _uploaded(image)),
            prompt=str(prompt or ""),
            system=str(system) if system else None,
            adapters=(left,) if right is None else (left, right),
            answer_from=answers.get(replay, right if right is not None else left),
            max_new_tokens=_plain(new_tokens, int),
            scale=_plain(strength, float),
        )

    def _chosen(self, session: Session, key: object, controls: object) -> tuple[Result, Choice]:
        written = self.service.results.get(session.id, str(key)) if key else None
        if written is None:
            raise InputError("This result is no longer kept.", "Press Analyze to get it again.")
        wanted = controls.get("choice") if isinstance(controls, Mapping) else None
        return written, Choice.read(wanted, written.comparison)

    def _heads(self, session: Session, written: Result, choice: Choice, address: str) -> Result:
        """The same answer replayed with the heads of another token recorded; from the cache where it is there."""
        ids = tuple(each.id for each in written.comparison.tokens if each.role in ("answer", "end")) or None
        asked = replace(written.request, answer=ids, focus=(choice.token,))
        stop = session.begin("heads")
        *_, result = self.service.answer(asked, address=address, session=session, cancelled=stop)
        assert isinstance(result, Result)
        return result

    def _exported(self, kind: str, key: object, controls: object, request: gr.Request) -> tuple[Json, Json]:
        session = self._session(request)
        try:
            written, choice = self._chosen(session, key, controls)
            result = written if choice.is_recorded(written.comparison) else None
            result = result or self._heads(session, written, choice, _address(request))
            if kind == "png":
                source = data_url(sheet(draw(result.comparison, choice)), "PNG")
            else:
                source = "data:application/octet-stream;base64," + _saved(result.comparison)
        except VisualizerError as error:
            return None, refusal(error)
        name = f"attention-{written.key[:8]}.{kind}"
        return {"name": name, "source": source, "serial": next(self._exports)}, None

    def _shown(self, session: Session, result: Result, controls: object) -> View:
        session.next_drawing()
        return self._result_view(result, controls.get("choice") if isinstance(controls, Mapping) else None)

    def _result_view(self, result: Result, before: object = None) -> View:
        choice = opening_choice(result.comparison, before)
        view = self._drawn(result.comparison, choice, result.comparison, _now())
        controls = controls_json(result.comparison, choice)
        return view._replace(
            controls=controls, key=result.key, status=self.status(), go=_active(True), stop=_active(False)
        )

    def _drawn(self, comparison: Comparison, choice: Choice, written: Comparison, stamp: int) -> View:
        """The parts that show a result; `stamp` says when it was asked for, and the browser shows nothing older."""
        drawn = draw(comparison, choice)
        return View(
            notice=None,
            answers=answers_json(comparison, choice, written) | {"stamp": stamp},
            panes=panes_json(drawn) | {"stamp": stamp},
            numbers=numbers_json(drawn) | {"stamp": stamp},
        )

    def _idle(self, notice: Json) -> View:
        return View(notice=notice, status=self.status(), go=_active(True), stop=_active(False))


class Visualizer(gr.Blocks):
    """The page with everything that a start needs beside it."""

    handlers: Page

    def start(self) -> int:
        """Serve the page until it is interrupted; return the exit code."""
        settings = self.handlers.service.settings
        try:
            _, _, share_url = self.launch(**self.launch_options(), prevent_thread_lock=True)
        except OSError:
            _log.error("cannot listen on %s:%d: is it in use? choose another --port", settings.host, settings.port)
            return 2
        if settings.share and not share_url:
            _log.warning("there is no share link: gradio.live cannot be reached from here; the local address works")
        self.handlers.service.warm()
        self.block_thread()
        return 0

    def launch_options(self) -> dict[str, Any]:
        """Arguments of `launch`; Gradio's own variables, which a Space sets, count where ours say nothing."""
        settings, usual = self.handlers.service.settings, Settings()
        ours = settings.host != usual.host or "GRADIO_SERVER_NAME" not in os.environ
        return {
            "server_name": settings.host if ours else None,
            "server_port": None if "GRADIO_SERVER_PORT" in os.environ else settings.port,
            "share": settings.share,
            "auth": tuple(settings.auth.split(":", 1)) if settings.auth else None,
            "theme": gr.themes.Base(font=FONT, font_mono=["ui-monospace", "monospace"]),
            "css_paths": FOLDER / "page.css",
            "app_kwargs": app_kwargs(self.handlers.service, _analysis, model_json, adapter_json),
            "max_file_size": 2 * settings.limits.max_upload_bytes,  # up to there the refusal is our own sentence
            "max_threads": settings.limits.queue_length + 40,
            "run_history": False,
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
    service = AnalysisService(settings, open_ or partial(_open, settings))
    demo = Visualizer(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600), fill_width=True)
    demo.handlers = Page(service, _examples(settings), _first_result(settings))
    with demo:
        _bind(demo, _lay_out(demo.handlers, settings.limits))
    demo.queue(max_size=None, default_concurrency_limit=16)
    return demo


class Widgets(NamedTuple):
    """The page's widgets, by what they are for."""

    key: gr.State
    status: gr.HTML
    image: gr.Image
    prompt: gr.Textbox
    adapter: gr.Dropdown
    about: gr.HTML
    compare: gr.Dropdown
    go: gr.Button
    stop: gr.Button
    replay: gr.Dropdown
    strength: gr.Slider
    new_tokens: gr.Slider
    system: gr.Textbox
    examples: gr.HTML
    notice: gr.HTML
    answers: gr.HTML
    panes: gr.HTML
    controls: gr.HTML
    numbers: gr.HTML
    png: gr.Button
    npz: gr.Button
    saver: gr.HTML


def _machine(status: BackendStatus) -> str:
    if not status.device:
        return f"a GPU ({' or '.join(status.gpus)}) starts when it is needed"
    return f"{status.device}, {status.dtype}"


def _lay_out(page: Page, limits: Limits) -> Widgets:
    """Header, input column and result column; the first result is in them from the start."""
    opening, first = page.opening(), page.first
    image_shown = Image.fromarray(first.comparison.image) if first else None
    names = [name for name in variants(first.comparison) if name] if first else []
    key = gr.State(opening.key)
    with gr.Row(elem_id="top"):
        gr.HTML(_HEADER, elem_id="title", js_on_load=None)
        status = _part("status", opening.status)
    with gr.Row(elem_id="work"):
        with gr.Column(elem_id="input"):
            image = gr.Image(image_shown, label="photo", format="png", height=220, buttons=[], elem_id="photo")
            prompt = gr.Textbox(
                first.comparison.prompt if first else PROMPT,
                label="prompt",
                info="Enter analyzes, Shift+Enter starts a new line.",
                lines=1,
                max_lines=8,
                elem_id="prompt",
            )
            adapter = gr.Dropdown(names, value=next(iter(names), None), label="adapter", elem_id="adapter")
            about = _part("about", None)
            compare = gr.Dropdown([BASE], value=BASE, label="compared with", elem_id="compare")
            with gr.Row(elem_id="buttons"):
                go = gr.Button("Analyze", variant="primary", elem_id="go")
                stop = gr.Button("Stop", interactive=False, elem_id="stop")
            with gr.Accordion("More", open=False, elem_id="more"):
                replay = gr.Dropdown(REPLAYS, value="adapter", label="answer replayed through both", elem_id="replay")
                strength = gr.Slider(0, 1.5, 1, step=0.05, label="adapter strength (1 as trained)", buttons=[])
                most = limits.max_new_tokens
                new_tokens = gr.Slider(1, most, min(NEW_TOKENS, most), step=1, label="most new tokens", buttons=[])
                system = gr.Textbox(label="system text", lines=2, max_lines=6)
            gr.HTML(_EXAMPLES_HEAD, js_on_load=None)
            examples = _part("examples", [_thumbnail(each) for each in page.examples])
            gr.HTML(_PROGRAMS, js_on_load=None)
        with gr.Column(elem_id="result"):
            notice = _part("notice", opening.notice)
            answers = _part("answers", opening.answers)
            panes = _part("panes", opening.panes)
            controls = _part("controls", opening.controls)
            numbers = _part("numbers", opening.numbers)
            with gr.Row(elem_id="export"):
                png = gr.Button("Save pictures (PNG)", size="sm")
                npz = gr.Button("Save numbers (NPZ)", size="sm")
            saver = _part("saver", None)
    found = locals()
    return Widgets(**{name: found[name] for name in Widgets._fields})


def _bind(demo: Visualizer, its: Widgets) -> None:
    """Which event runs which handler, on what, and what it changes."""
    page = demo.handlers
    view = [its.notice, its.answers, its.panes, its.numbers, its.controls, its.key, its.status, its.go, its.stop]
    asked = [
        its.image,
        its.prompt,
        its.system,
        its.adapter,
        its.compare,
        its.replay,
        its.new_tokens,
        its.strength,
        its.controls,
    ]
    chosen = [its.key, its.controls]
    at_once = page.service.settings.limits.queue_length + 1
    ours: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    engine = {**ours, "concurrency_limit": at_once, "concurrency_id": "engine"}
    named = {"analyze": page.api_analyze, "adapters": page.api_adapters, "layers": page.api_layers}
    for name, endpoint in named.items():  # first: a name belongs to the endpoint that takes it first
        api(endpoint, api_name=name, concurrency_limit=at_once, concurrency_id="engine")
    offered = [its.status, its.adapter, its.compare, its.about, its.notice]
    demo.load(page.wait, None, offered, **{**ours, "concurrency_limit": None})
    demo.unload(page.leave)
    its.status.input(page.status, None, its.status, **{**ours, "queue": False})
    its.image.input(page.receive, its.image, [its.image, its.notice], **ours)
    its.adapter.change(page.about, its.adapter, its.about, **ours, trigger_mode="always_last")
    run = gr.on([its.go.click, its.prompt.submit], page.analyze, asked, view, **engine, trigger_mode="multiple")
    changes = [its.adapter.input, its.compare.input, its.replay.input]
    again = gr.on(changes, page.analyze_again, asked, view, **engine, trigger_mode="multiple")
    filled = its.examples.select(page.example, None, [its.image, its.prompt], **ours)
    example = filled.then(page.analyze, asked, view, **engine)
    look = its.controls.input(page.look, chosen, view, **engine, trigger_mode="always_last")
    its.stop.click(page.stop, None, view, cancels=[run, again, example, look], **{**ours, "queue": False})
    its.png.click(page.export_pictures, chosen, [its.saver, its.notice], **ours)
    its.npz.click(page.export_numbers, chosen, [its.saver, its.notice], **ours)


def _part(name: str, value: Json) -> gr.HTML:
    """One of the page's own parts: an empty template, filled by `page.js`."""
    return gr.HTML(
        value, html_template="", js_on_load=_script(), apply_default_css=False, elem_id=f"part-{name}", part=name
    )


@cache
def _script() -> str:
    return (FOLDER / "page.js").read_text(encoding="utf-8")


def _open(settings: Settings) -> Backend:
    return open_backend(
        settings.backend,
        model=settings.model or None,
        adapters=named_adapters(settings),
        adapters_dir=settings.adapters_dir or None,
        attention=settings.attention,
        device=settings.device,
        dtype=settings.dtype,
        settings=settings,
    )


def _examples(settings: Settings) -> list[Example]:
    """Two scenes of the embedded model's world, where that is the model, and a photo that matplotlib brings along."""
    own = settings.base_model == "demo"
    scenes = [Example(each.title, "the kind the model was trained on", each.draw().image) for each in EXAMPLE_SCENES]
    photo = Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")).convert("RGB")
    photo.thumbnail((640, 640))
    kind = "a real photo: outside what the embedded model knows" if own else "a real photo"
    return [*(scenes if own else []), Example("Photo: Grace Hopper", kind, photo)]


def _first_result(settings: Settings) -> Result | None:
    """The shipped result of the embedded model, with the request that the page's own fields would make of it."""
    if settings.base_model != "demo" or not FIRST_VISIT.exists():
        return None
    comparison = Comparison.load(FIRST_VISIT)
    request = Request(
        image=Image.fromarray(comparison.image),
        prompt=comparison.prompt,
        system=comparison.system,
        adapters=tuple(each.adapter for each in comparison.recordings),
    )
    return Result(digest(request), request, comparison)


def _thumbnail(example: Example) -> Json:
    small = example.image.copy()
    small.thumbnail((128, 128))
    return {"title": example.title, "kind": example.kind, "source": data_url(small, "JPEG")}


def _uploaded(image: object) -> Path:
    """The file of a picture that came through Gradio's upload; no other file of this machine is opened.

    Raises:
        InputError: no picture, or a file that is not there (any more).
    """
    given = image.get("path") if isinstance(image, Mapping) else None
    if not isinstance(given, str):
        raise InputError("There is no image yet.", "Drop one, paste one, or choose an example.")
    path = Path(given).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise InputError("The image is no longer here.", "Choose it again.")
    return path


def _saved(comparison: Comparison) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "comparison.npz")
        comparison.save(path)
        return base64.b64encode(path.read_bytes()).decode()


def _analysis(comparison: Comparison, asked: Asked) -> dict[str, Json]:
    token, head, pictures = asked.token, asked.head, asked.overlay
    found = analysis_json(comparison, layer=asked.layer, head=head, token=token, view=asked.view, pictures=pictures)
    return dict(found)


def _plain(value: object, kind: type[int] | type[float]) -> Any:
    """A slider's number as `kind` where that loses nothing; whatever else it is, `Request` refuses it."""
    return kind(value) if isinstance(value, (int, float)) and value == kind(value) else value


def _now() -> int:
    """Microseconds since 1970: grows across restarts too, and a browser's numbers hold it exactly."""
    return time.time_ns() // 1_000


def _address(request: gr.Request) -> str:
    return str(request.client.host) if request.client else "unknown"


def _active(on: bool) -> Any:
    return gr.update(interactive=on)


def _gradio_error(error: VisualizerError) -> gr.Error:
    return gr.Error(escape(str(error)), print_exception=False)  # Gradio shows it as HTML


_HEADER = """<h1>LoRA Attention Visualizer</h1><p>Where Qwen3-VL looks, before and after an adapter.</p>"""
_PROGRAMS = '<p class="lav-programs">For programs: <a href="docs" target="_blank">HTTP routes</a></p>'
_EXAMPLES_HEAD = '<p class="lav-head">examples</p>'

demo = build(parse(sys.argv[1:], os.environ) if __name__ == "__main__" else Settings.from_environment(os.environ))

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.exit(demo.start())
