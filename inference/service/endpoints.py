"""The endpoints for `gradio_client`: the same fields and answers as the HTTP routes, through Gradio's queue."""

from html import escape
from typing import Any

import gradio as gr

from inference.errors import VisualizerError
from inference.service.analysis import AnalysisService
from inference.service.schema import AnalyzeFields, parse
from inference.service.uploads import address_of, uploaded
from visualize.analysis_json import adapter_json, analysis_json, model_json


class Endpoints:
    """What programs may call by name.

    Args:
        service: where analyses happen.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service

    def analyze(
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
        sent = {"prompt": prompt, "adapter": adapter, "layer": layer, "head": head, "token": token, "view": view}
        try:
            content = uploaded(image).read_bytes()  # left to Gradio's cleaning: others may have sent the same file
            fields = parse(AnalyzeFields, {"image": content, "overlay": overlay, **sent})
            return analyzed(self._service, fields, address=address_of(request))
        except VisualizerError as error:
            raise _gradio_error(error) from error

    def adapters(self) -> list[dict[str, Any]]:
        """The adapters on offer."""
        try:
            return [dict(adapter_json(info)) for info in self._service.adapters()]
        except VisualizerError as error:
            raise _gradio_error(error) from error

    def layers(self) -> dict[str, Any]:
        """Layers, heads and the geometry of the image's cells."""
        try:
            return dict(model_json(self._service.model_info()))
        except VisualizerError as error:
            raise _gradio_error(error) from error


def analyzed(service: AnalysisService, fields: AnalyzeFields, *, address: str, cancelled: Any = None) -> dict[str, Any]:
    """Answer the fields of one analysis."""
    result = service.result(fields.request(service.settings.limits), address=address, cancelled=cancelled)
    return dict(
        analysis_json(
            result.comparison,
            layer=fields.layer,
            head=fields.head,
            token=fields.token,
            view=fields.view,
            pictures=fields.overlay,
        )
    )


def _gradio_error(error: VisualizerError) -> gr.Error:
    return gr.Error(escape(str(error)), print_exception=False)  # Gradio shows it as HTML
