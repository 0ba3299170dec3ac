"""The endpoints for `gradio_client`: the same fields and answers as the HTTP routes, through Gradio's queue."""

import threading
from contextlib import nullcontext
from dataclasses import replace
from html import escape
from typing import Any, Literal

import gradio as gr

from inference.errors import VisualizerError
from inference.explanations import Explanation
from inference.limits import check_count, check_pixels
from inference.photo import Photo
from inference.questions import QUESTIONS, Question
from inference.request import NEW_TOKENS, Request
from inference.service.analysis import AnalysisService
from inference.service.cells import cells_of
from inference.service.fields import PROMPT, parse
from inference.service.page_events import page_event
from inference.service.results import Result
from inference.service.schema import AnalyzeFields, ExplainFields
from inference.service.slots import check_stop
from inference.service.uploads import address_of, uploaded
from visualize.analysis_json import adapter_json, analysis_json, model_json
from visualize.findings.explanation_json import explanation_json
from visualize.numbers.opening import middle_layer
from visualize.numbers.reduce import Selection
from visualize.numbers.token_choice import answer_indices


class Endpoints:
    """What programs may call by name.

    Args:
        service: where analyses happen.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service

    @page_event
    def analyze(
        self,
        image: gr.FileData,
        request: gr.Request,
        prompt: str = PROMPT,
        adapter: list[str] | None = None,
        layer: int | None = None,
        head: str = "mean",
        token: str = "",
        view: str = "raw",
        overlay: bool = False,
        system: str = "",
        answer_from: str = "",
        max_new_tokens: int = NEW_TOKENS,
        scale: float = 1.0,
        box: str = "",
        messages: str = "",
        of_image: int | None = None,
    ) -> dict[str, Any]:
        """Answers and attention maps of one image, as JSON; GET /docs says what each field may hold."""
        sent: dict[str, object] = {
            "prompt": prompt,
            "system": system,
            "adapter": adapter,
            "answer_from": answer_from,
            "layer": layer,
            "head": head,
            "token": token,
            "view": view,
            "overlay": overlay,
            "max_new_tokens": max_new_tokens,
            "scale": scale,
            "box": box,
            "messages": messages,
            "of_image": of_image,
        }
        try:
            content = uploaded(image).read_bytes()  # left to Gradio's cleaning: others may have sent the same file
            fields = parse(AnalyzeFields, {"image": content, **sent})
            address = address_of(request)
            result = answered(self._service, fields, address=address)
            return shown(self._service, fields, result, address=address)
        except VisualizerError as error:
            raise _gradio_error(error) from error

    @page_event
    def explain(
        self,
        image: gr.FileData,
        request: gr.Request,
        question: str = "attribution",
        prompt: str = PROMPT,
        adapter: list[str] | None = None,
        token: str = "",
        layer: int | None = None,
        head: str = "mean",
        view: str = "raw",
        system: str = "",
        answer_from: str = "",
        max_new_tokens: int = NEW_TOKENS,
        scale: float = 1.0,
        by: str = "",
        layers: str = "",
        outcome: str = "",
        cells: str = "",
        top: float | None = None,
        box: str = "",
        rows: str = "",
        controls: int | None = None,
        shape: str = "",
        seed: int | None = None,
        strengths: str = "",
        messages: str = "",
        of_image: int | None = None,
    ) -> dict[str, Any]:
        """One question about what an adapter changed, with its numbers; GET /docs says what each field may hold."""
        sent: dict[str, object] = {
            "question": question,
            "prompt": prompt,
            "adapter": adapter,
            "token": token,
            "layer": layer,
            "head": head,
            "view": view,
            "system": system,
            "answer_from": answer_from,
            "max_new_tokens": max_new_tokens,
            "scale": scale,
            "by": by,
            "layers": layers,
            "outcome": outcome,
            "cells": cells,
            "top": top,
            "box": box,
            "rows": rows,
            "controls": controls,
            "shape": shape,
            "seed": seed,
            "strengths": strengths,
            "messages": messages,
            "of_image": of_image,
        }
        try:
            fields = parse(ExplainFields, {"image": uploaded(image).read_bytes(), **sent})
            address = address_of(request)
            asked = question_of(self._service, fields, address=address)
            return dict(explanation_json(self._service.explained(*asked, address=address, admitted=True)))
        except VisualizerError as error:
            raise _gradio_error(error) from error

    @page_event
    def adapters(self) -> list[dict[str, Any]]:
        """The adapters on offer."""
        try:
            return [dict(adapter_json(info)) for info in self._service.adapters()]
        except VisualizerError as error:
            raise _gradio_error(error) from error

    @page_event
    def layers(self) -> dict[str, Any]:
        """Layers, heads and the geometry of the image's cells."""
        try:
            return dict(model_json(self._service.model_info()))
        except VisualizerError as error:
            raise _gradio_error(error) from error


def answered(
    service: AnalysisService, fields: AnalyzeFields, *, address: str, stop: threading.Event | None = None
) -> Result:
    """Answer the fields of one analysis: whoever asks too often is refused before the image is decoded.

    Args:
        service: where analyses happen.
        fields: what is asked.
        address: who asks, for the rate limit.
        stop: stops the work when it is set; it is set when the work is over, too.

    Raises:
        VisualizerError: whatever went wrong.
    """
    service.admit(address)
    request = fields.request(*_decoded(service, fields, address, stop))
    return service.result(request, address=address, admitted=True, cancelled=stop)


def question_of(
    service: AnalysisService, fields: ExplainFields, *, address: str, stop: threading.Event | None = None
) -> tuple[Request, Question[Explanation]]:
    """What the fields of a question ask; the map that its cells are the top of, or lie on, is recorded for it.

    Args:
        service: where analyses happen.
        fields: what is asked.
        address: who asks, for the rate limit.
        stop: stops the work when it is set; it is set when the work is over, too.

    Raises:
        VisualizerError: whatever went wrong.
    """
    service.admit(address)
    request = fields.request(*_decoded(service, fields, address, stop))
    QUESTIONS[fields.question].check_images(len(request.images))  # before a map is recorded for it
    token = fields.token if isinstance(fields.token, int) else None
    if fields.top is None and not fields.box:
        return request, fields.asked(token, fields.cells)
    focus: tuple[int] | Literal["first"] = "first" if fields.head == "mean" or token is None else (token,)
    result = service.result(replace(request, focus=focus), address=address, admitted=True, cancelled=stop)
    first = result.comparison.recordings[0]
    token = next(iter(answer_indices(first.tokens))) if token is None else token
    selection = Selection(
        middle_layer(first) if fields.layer is None else fields.layer, token, fields.head, fields.view
    )
    cells, _ = cells_of(fields, result.comparison, request.adapters[-1], selection)
    return result.between(*request.adapters), fields.asked(token, cells)


def shown(
    service: AnalysisService,
    fields: AnalyzeFields,
    result: Result,
    *,
    address: str,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """What a program gets of the answer; pictures are drawn when it is their turn.

    Args:
        service: where analyses happen.
        fields: what is asked.
        result: its answer.
        address: who asks.
        stop: ends the waiting and the drawing when it is set.

    Raises:
        SelectionError: a layer, head, token or view that the answer does not have.
        CancelledError: `stop` was set.
    """
    with service.slots.one(address, stop) if fields.overlay else nullcontext():
        return analysis_json(
            result.showing(fields.of_image).comparison,
            layer=fields.layer,
            head=fields.head,
            token=fields.token,
            view=fields.view,
            pictures=fields.overlay,
            boxes=fields.box,
            before_each=lambda: check_stop(stop),
        )


def _decoded(
    service: AnalysisService, fields: AnalyzeFields, address: str, stop: threading.Event | None
) -> list[Photo]:
    check_count(len(fields.image), service.settings.limits)
    photos: list[Photo] = []
    for content in fields.image:
        photos.append(service.decode(content, address, stop))
        check_pixels(photos, service.settings.limits)  # before the next is decoded
    return photos


def _gradio_error(error: VisualizerError) -> gr.Error:
    return gr.Error(escape(str(error)), print_exception=False)  # Gradio shows it as HTML
