"""Files that a person keeps of what is looked at: pictures, a film, a report, the numbers."""

import base64
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import gradio as gr

from inference.explanations import Explanation
from inference.records import Comparison
from inference.service.analysis import AnalysisService
from inference.service.failures import unforeseen
from inference.service.page_events import page_event
from inference.service.page_form import choice_of, image_of
from inference.service.replayed_heads import extra_views
from inference.service.uploads import address_of
from visualize import animation, report_html, sheet
from visualize.page import Choice, Json, data_url, draw, refusal

FILM_SECONDS = 0.4  # that a layer stays
FILM_COLUMN = 420  # pixels of a pane in a film


@dataclass(frozen=True, slots=True)
class Looked:
    """What is saved of.

    Attributes:
        comparison: with the heads that are looked at, where they were asked for.
        written: the result in which the variants wrote their answers.
        choice: what is looked at.
        families: see `AnalysisService.families`.
        explanations: what was found out about it, the last first.
    """

    comparison: Comparison
    written: Comparison
    choice: Choice
    families: Mapping[str, tuple[str, int]]
    explanations: Sequence[Explanation] = ()


class Exports:
    """Data URLs for the browser to save, each named after its adapter, token and layer.

    Args:
        service: where results are kept; heads of the token looked at that are not recorded yet are recorded.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service
        self._serials = count(1)

    @page_event
    def pictures(self, key: object, look: object, request: gr.Request) -> tuple[Json, Json]:
        """A PNG of all pictures with captions and bars, at the photo's own size; and a notice where there is none."""
        return self._saved("png", _pictures, key, look, request)

    @page_event
    def picture(self, key: object, look: object, request: gr.Request) -> tuple[Json, Json]:
        """The same of the rightmost picture alone: the difference, where there is one."""
        return self._saved("one-picture.png", _picture, key, look, request)

    @page_event
    def film(self, key: object, look: object, request: gr.Request) -> tuple[Json, Json]:
        """An animated WebP of the pictures through all layers."""
        return self._saved("webp", _film, key, look, request)

    @page_event
    def report(self, key: object, look: object, request: gr.Request) -> tuple[Json, Json]:
        """One HTML file in which the result can be looked at without a network, see `report_html`."""
        return self._saved("html", _report, key, look, request)

    @page_event
    def numbers(self, key: object, look: object, request: gr.Request) -> tuple[Json, Json]:
        """An NPZ, as `Comparison.load` reads it, with the heads of the token that is looked at."""
        return self._saved("npz", _numbers, key, look, request)

    def _saved(
        self, ending: str, encode: Callable[[Looked], str], key: object, look: object, request: gr.Request
    ) -> tuple[Json, Json]:
        session = self._service.session(str(request.session_hash))
        try:
            kept, image = self._service.kept(session, key), image_of(look)
            shown = result = kept.showing(image)
            choice = Choice.read(choice_of(look), shown.comparison)
            if ending in ("npz", "html") or not choice.is_recorded(shown.comparison):
                focus = choice.focus(shown.comparison)
                views = extra_views(shown.comparison, focus, choice.view)
                result = self._service.with_heads(session, kept, focus, views, address=address_of(request))
                result = result.showing(image)
            found = [each.explanation for each in self._service.results.explained_of(session.id, shown.key)]
            looked = Looked(result.comparison, shown.own, choice, self._service.families(), found[::-1])
            name, source = choice.file_name(result.comparison, ending), encode(looked)
        except Exception as error:  # noqa: BLE001 - the boundary: what was shown stays
            return None, refusal(unforeseen(error, "a file could not be made"))
        return {"name": name, "source": source, "serial": next(self._serials)}, None


def _pictures(looked: Looked) -> str:
    return data_url(sheet(draw(looked.comparison, looked.choice, written=looked.written), column=None), "PNG")


def _picture(looked: Looked) -> str:
    drawn = draw(looked.comparison, looked.choice, written=looked.written)
    *_, last = drawn
    return data_url(sheet(drawn, only=last, column=None), "PNG")


def _film(looked: Looked) -> str:
    layers = range(looked.comparison.model.num_layers)
    choices = [replace(looked.choice, layer=layer) for layer in layers]
    frames = (draw(looked.comparison, choice, written=looked.written) for choice in choices)
    return _encoded("image/webp", animation(frames, seconds=FILM_SECONDS, column=FILM_COLUMN))


def _report(looked: Looked) -> str:
    shown = report_html(
        looked.comparison,
        written=looked.written,
        choice=looked.choice.json(looked.comparison),
        families=looked.families,
        explanations=looked.explanations,
    )
    return _encoded("text/html", shown.encode())


def _numbers(looked: Looked) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "comparison.npz")
        looked.comparison.save(path)
        return _encoded("application/octet-stream", path.read_bytes())


def _encoded(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
