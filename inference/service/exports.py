"""Files that a person keeps: the pictures of what is looked at, and its numbers."""

import base64
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import gradio as gr

from inference.errors import VisualizerError
from inference.records import Comparison
from inference.service.analysis import AnalysisService
from inference.service.schema import choice_of
from inference.service.uploads import address_of
from visualize import sheet
from visualize.page import Choice, Json, data_url, draw, refusal

_Encode = Callable[[Comparison, Choice, Comparison], str]


class Exports:
    """Data URLs for the browser to save, each named after its adapter, token and layer.

    Args:
        service: where results are kept; heads of the token looked at that are not recorded yet are recorded.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service
        self._serials = count(1)

    def pictures(self, key: object, controls: object, request: gr.Request) -> tuple[Json, Json]:
        """A PNG: the pictures with their captions and bars; and a notice where there is none."""
        return self._saved("png", _pictures, key, controls, request)

    def numbers(self, key: object, controls: object, request: gr.Request) -> tuple[Json, Json]:
        """An NPZ, as `Comparison.load` reads it, with the heads of the token that is looked at."""
        return self._saved("npz", _numbers, key, controls, request)

    def _saved(
        self, ending: str, encode: _Encode, key: object, controls: object, request: gr.Request
    ) -> tuple[Json, Json]:
        session = self._service.session(str(request.session_hash))
        try:
            written = result = self._service.kept(session, key)
            choice = Choice.read(choice_of(controls), result.comparison)
            if ending == "npz" or not choice.is_recorded(result.comparison):
                focus = choice.focus(result.comparison)
                result = self._service.with_heads(session, result, focus, address=address_of(request))
            name = choice.file_name(result.comparison, ending)
            source = encode(result.comparison, choice, written.comparison)
        except VisualizerError as error:
            return None, refusal(error)
        return {"name": name, "source": source, "serial": next(self._serials)}, None


def _pictures(comparison: Comparison, choice: Choice, written: Comparison) -> str:
    return data_url(sheet(draw(comparison, choice, written=written)), "PNG")


def _numbers(comparison: Comparison, choice: Choice, written: Comparison) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "comparison.npz")
        comparison.save(path)
        return "data:application/octet-stream;base64," + base64.b64encode(path.read_bytes()).decode()
