"""The page's events as plain functions: what the widgets hold goes in, what changes on the page comes out.

Which event runs which of them is bound in `app.py`; Gradio hands its request to the parameter annotated so.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from inference.conversation import Conversation
from inference.descriptions import AdapterInfo
from inference.errors import CancelledError, SelectionError, VisualizerError
from inference.limits import check_count, check_pixels
from inference.messages import as_prompt
from inference.photo import Photo
from inference.request import Request, digest
from inference.service.analysis import AnalysisService
from inference.service.examples import Example
from inference.service.failures import unforeseen
from inference.service.fields import BASE
from inference.service.page_events import page_event
from inference.service.page_form import PageForm, choice_of, image_of, with_answer
from inference.service.replayed_heads import extra_views
from inference.service.results import Result
from inference.service.session import Session
from inference.service.status import status_json
from inference.service.uploads import address_of, uploaded
from inference.service.view import (
    Offer,
    Question,
    View,
    active,
    idle_view,
    result_view,
    stopped,
)
from inference.service.worker import POLL
from visualize.page import Choice, Json, adapter_lines, notice, progress_notice, refusal

NAMED = 3  # of the folders that were skipped, so many are named


class Handlers:
    """What the page does.

    Args:
        service: where analyses happen.
        examples: pictures to begin with.
        first: the result that a first visit shows, or None.
    """

    def __init__(self, service: AnalysisService, examples: Sequence[Example], first: Result | None) -> None:
        self.service = service
        self.examples = tuple(examples)
        self.first = first
        if first is not None:
            service.results.share(first)

    def opening(self) -> View:
        """What the page shows before anything ran: the first result, or nothing yet."""
        if self.first is None:
            welcome = notice("info", "Choose a photo or an example,", "then press Analyze.")
            return View(welcome, None, None, self.status())
        shown = result_view(self.service.ticket(None, self.first), self.first.key)
        return shown._replace(status=self.status())

    def status(self) -> Json:
        """The line on top: model, backend, device, queue."""
        return status_json(self.service)

    @page_event
    def wait(self) -> None:
        """Return when the backend is open, or cannot be opened."""
        self._await_backend()

    @page_event
    def offer(self, adapters: object) -> Offer:
        """Say how the wait ended, and offer the adapters; those chosen meanwhile stay chosen where they can be used."""
        if not self.service.backend.ready() and self.service.backend.failure() is None:
            self._await_backend()  # it failed, and somebody has it opened again
        failure = self.service.backend.failure()
        offer = Offer(about=None)
        try:
            if self.service.backend.ready():
                offer = _offer(self.service.adapters(), adapters if isinstance(adapters, list) else [])
        except VisualizerError as error:
            failure = error
        return offer._replace(status=self.status(), notice=offer.notice if failure is None else refusal(failure))

    @page_event
    def leave(self, request: gr.Request) -> None:
        """Forget a session."""
        self.service.leave(str(request.session_hash))

    @page_event
    def receive(self, image: object, request: gr.Request) -> tuple[Any, Json]:
        """Check a picture as soon as it is there; one that cannot be used is taken away, with the reason."""
        if image is None:  # taken away: what is said of the next one may be on the page already
            return gr.skip(), gr.skip()
        session = self._session(request)
        try:
            photo = self.service.photo(session, uploaded(image), address_of(request))
        except VisualizerError as error:
            return None, refusal(error)
        self.service.expect()
        return gr.skip(), notice("info", " ".join(photo.notes)) if photo.notes else None

    @page_event
    def receive_more(self, images: object, request: gr.Request) -> tuple[Any, Json]:
        """Check a conversation's other images; where one cannot be used, all are taken away, with the reason."""
        session, address = self._session(request), address_of(request)
        given = images if isinstance(images, list) else []
        try:
            check_count(1 + len(given), self.service.settings.limits)
            photos = [self.service.photo(session, uploaded(image), address) for image in given]
        except VisualizerError as error:
            return None, refusal(error)
        notes = [note for photo in photos for note in photo.notes]
        return gr.skip(), notice("info", " ".join(notes)) if notes else None

    @page_event
    def example(self, event: gr.EventData) -> Question:
        """Put an example into the input column."""
        index = event._data.get("index") if isinstance(event._data, dict) else None
        if not isinstance(index, int) or not 0 <= index < len(self.examples):
            return Question()
        chosen = self.examples[index]
        return Question(chosen.image, chosen.prompt, None, [chosen.adapter] if chosen.adapter else gr.skip())

    @page_event
    def understood(self, prompt: object) -> Json:
        """What the prompt is read as, where it is not plain words."""
        try:
            read = as_prompt(prompt) if isinstance(prompt, str) else ""
        except VisualizerError as error:
            return [str(error)]
        return [read.note] if isinstance(read, Conversation) else None

    @page_event
    def about(self, adapters: object) -> Json:
        """What the chosen adapters are."""
        try:
            offered = self.service.adapters() if self.service.backend.ready() else ()
        except VisualizerError:
            return None  # whoever analyzes is told
        names = adapters if isinstance(adapters, list) else [adapters]
        found = sorted((info for info in offered if info.name in names), key=lambda info: names.index(info.name))
        return [line for info in found for line in adapter_lines(info, named=len(found) > 1)] or None

    @page_event
    def analyze(self, request: gr.Request, *sent: object) -> Iterator[View]:
        """Answer the question of the input column (`PageForm`), and show what is happening meanwhile."""
        session = self._session(request)
        try:
            asked = self._read(session, sent, address_of(request))
        except VisualizerError as error:
            yield View(notice=refusal(error))
            return
        if session.runs("analysis", digest(asked)):
            yield View()  # asked again while it is being answered; a handler that yields nothing empties the page
            return
        yield from self._answer(session, asked, address_of(request))

    @page_event
    def analyze_again(self, request: gr.Request, *sent: object) -> Iterator[View]:
        """Ask the last question again, of other variants; a question that was changed since waits for Analyze.

        A menu says that it changed whenever it loses the focus, too: nothing new is asked then.
        """
        session = self._session(request)
        last = session.asked or (self.first.request if self.first else None)
        if sent[0] is None or last is None:
            yield View()
            return
        try:
            asked = self._read(session, sent, address_of(request))
        except VisualizerError as error:
            yield View(notice=refusal(error))
            return
        same = replace(asked, adapters=last.adapters, answer_from=last.answer_from)
        if digest(asked) == digest(last) or digest(same) != digest(last):
            yield View()
            return
        yield from self._answer(session, asked, address_of(request))

    @page_event
    def stop(self, request: gr.Request) -> View:
        """Stop whatever runs for this session."""
        self._session(request).stop()
        return self._idle(stopped())

    @page_event
    def record(self, key: object, look: object, request: gr.Request) -> Iterator[View]:
        """Record the single heads of the tokens that are looked at, by a replay."""
        session = self._session(request)
        try:
            written = self.service.kept(session, key)
            choice = Choice.read(choice_of(look), written.showing(image_of(look)).comparison)
            focus = choice.focus(written.comparison)
            views = extra_views(written.comparison, focus, choice.view)
            if "gradient" not in views and choice.view == "gradient":
                raise SelectionError("The gradient view is of the answer's tokens.", "Choose a token of the answer.")
            yield View(
                notice=notice("busy", "Recording the heads of this token…"), status=self.status(), stop=active(True)
            )
            self.service.with_heads(session, written, focus, views, address=address_of(request))
            digits = choice.token if choice.token == "digits" else None
            view = result_view(self.service.ticket(session, written), written.key, digits or focus, choice.view)
        except CancelledError:
            view = View()
        except Exception as error:  # noqa: BLE001 - the boundary: the page stays usable
            view = View(notice=refusal(unforeseen(error, "a recording failed")))
        if session.runs("analysis"):
            yield view._replace(notice=gr.skip()) if view.notice is None else view
        else:
            yield view._replace(status=self.status(), stop=active(False))

    @page_event
    def replay(self, key: object, look: object, request: gr.Request) -> Iterator[View]:
        """Replay an edited answer, or another variant's, through the variants of a result."""
        session = self._session(request)
        try:
            shown = self.service.kept(session, key)
            asked = with_answer(shown.request, look)
        except VisualizerError as error:
            yield View(notice=refusal(error))
            return
        written = None if asked.answer is None else shown
        yield from self._answer(session, asked, address_of(request), written)

    def _read(self, session: Session, sent: Sequence[object], address: str) -> Request:
        form = PageForm.of(sent)
        check_count(1 + len(form.more_images), self.service.settings.limits)
        photos: list[Photo] = []
        for image in (form.image, *form.more_images):
            photos.append(self.service.photo(session, uploaded(image), address))
            check_pixels(photos, self.service.settings.limits)  # before the next is decoded
        return form.request(*photos)

    def _answer(self, session: Session, asked: Request, address: str, written: Result | None = None) -> Iterator[View]:
        """Answer a request, and say what happens meanwhile."""
        stop = session.begin("analysis", digest(asked))
        session.asked = asked
        yield View(notice=notice("busy", "Starting…"), status=self.status(), go=active(False), stop=active(True))
        writing: dict[str, str] = {}
        try:
            with closing(
                self.service.answer(asked, address=address, session=session, written=written, cancelled=stop)
            ) as events:
                for event in events:
                    if isinstance(event, Result):
                        event.expect_a_look()
                        ticket = self.service.ticket(session, event)
                        yield result_view(ticket, event.key)._replace(status=self.status())
                    else:
                        yield View(notice=progress_notice(event, writing), status=self.status())
        except CancelledError:
            if not session.runs("analysis"):
                yield self._idle(stopped())
        except Exception as error:  # noqa: BLE001 - the boundary: the page stays usable
            yield self._idle(refusal(unforeseen(error, "an analysis failed")))

    def _await_backend(self) -> None:
        opened = self.service.backend.warm()
        while not opened.done():
            time.sleep(POLL)

    def _session(self, request: gr.Request) -> Session:
        return self.service.session(str(request.session_hash))

    def _idle(self, message: Json) -> View:
        return idle_view(message)._replace(status=self.status())


def _offer(adapters: Sequence[AdapterInfo], chosen: Sequence[object]) -> Offer:
    """The adapters to choose from, and those that cannot be used say so; who is chosen stays so, else it is the first.

    Args:
        adapters: all that are listed.
        chosen: names, of whatever a browser sent.
    """
    listed = [info for info in adapters if info.kind != "skipped"]  # folders that are no adapters are no choice
    labels = [info.name if info.usable else f"{info.name} (cannot be used)" for info in listed]
    choices = list(zip(labels, [info.name for info in listed], strict=True))
    usable = [info for info in listed if info.usable]
    kept = sorted((info for info in usable if info.name in chosen), key=lambda info: chosen.index(info.name))
    as_it_is = bool(kept) and len(kept) == len(chosen)
    kept = kept or usable[:1]
    value: dict[str, Any] = {} if as_it_is else {"value": [info.name for info in kept]}
    nothing: list[Json] = ["No adapter is offered: the base model is shown alone."]
    return Offer(
        adapter=gr.update(choices=choices, **value),
        compare=gr.update(choices=[(BASE, BASE), *choices]),
        modules=gr.update(choices=sorted({name for info in listed if info.usable for name in info.target_modules})),
        about=[line for info in kept for line in adapter_lines(info, named=len(kept) > 1)] or nothing,
        notice=_skipped([info for info in adapters if info.kind == "skipped"]),
    )


def _skipped(folders: Sequence[AdapterInfo]) -> Any:
    """What lies below the adapters folder and is no adapter, and why; nothing is said where there is none."""
    if not folders:
        return gr.skip()
    count = "1 folder is" if len(folders) == 1 else f"{len(folders)} folders are"
    reasons = " ".join(note for folder in folders[:NAMED] for note in folder.notes)
    more = f" … and {len(folders) - NAMED} more: see /api/adapters." if len(folders) > NAMED else ""
    return notice("info", f"Below the adapters folder {count} not offered.", reasons + more)
