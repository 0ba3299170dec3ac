"""What the viewer asks for by a result's ticket: its photo, scene, stacks of maps, numbers in a box; as HTTP answers.

It runs beside Gradio's queue: looking never waits behind somebody's analysis. Nothing here runs the model; what would
need it is refused as not recorded.
"""

import asyncio
import gzip
import io
import json
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from inference.boxes import Box, as_boxes
from inference.errors import SelectionError
from inference.records import Comparison
from inference.service.analysis import AnalysisService
from inference.service.fields import Expected, HeadChoice, Index, number_of, parse
from inference.service.prices import ways
from inference.service.replayed_heads import extra_views
from inference.service.results import Result
from visualize.findings.cards_json import offers_json
from visualize.numbers.token_choice import TokenChoice, token_indices
from visualize.numbers.views import View
from visualize.stacks.box_body import box_body, box_matrix
from visualize.stacks.changes import changes_json
from visualize.stacks.head_changes import head_changes_json
from visualize.stacks.heads_body import heads_body
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

#: Longest side of the photo that the page draws on, in pixels; pictures to keep are drawn on the original.
PHOTO_SIDE = 1_920
_KEPT = {"Cache-Control": "private, max-age=3600"}  # what a ticket's addresses answer never changes


def _tokens(value: object, between: str = "-") -> object:
    """`12` or `12-15` as the indices that it writes; anything else is left as it is."""
    parts = value.split(between) if isinstance(value, str) else []
    whole = all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts)
    return tuple(map(int, parts)) if whole else value


def _each_token(value: object) -> object:
    """`12`, or `12,14,15`, as the indices that it writes."""
    return _tokens(value, ",")


class LookQuery(BaseModel):
    """What is looked at; the stack holds it for all layers, `layer` is for the heads of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[
        tuple[Index] | tuple[Index, Index] | Literal["digits"],
        BeforeValidator(_tokens),
        Expected("a 0-based index, first-last, or digits", SelectionError),
    ]
    head: HeadChoice = "mean"
    view: Annotated[View, Expected("a view's name", SelectionError)] = "raw"
    window: Annotated[Index, BeforeValidator(number_of), Expected("a number of layers", SelectionError)] = 0
    against: Annotated[StrictStr, Expected("a variant's name", SelectionError)] = ""
    layer: Annotated[Index, BeforeValidator(number_of), Expected("a 0-based index", SelectionError)] = 0

    def focus(self, comparison: Comparison) -> tuple[int, ...]:
        """The tokens whose mean is looked at; they may lie beyond a comparison's last.

        Raises:
            SelectionError: digits of an answer that holds none.
        """
        if self.token == "digits":
            return token_indices(comparison.recordings[0], "digits")
        return tuple(range(self.token[0], self.token[-1] + 1))

    def choice(self) -> StackChoice:
        """The same, as drawing knows it."""
        token: TokenChoice = "digits"
        if self.token != "digits":
            token = self.token[0] if len(self.token) == 1 else self.token
        return StackChoice(token, head=self.head, view=self.view, window=self.window, against=self.against)


class MatrixQuery(LookQuery):
    """What is looked at, and the tokens whose heads the viewer has: its matrix is of these."""

    recorded: Annotated[
        tuple[Index, ...] | None,
        BeforeValidator(_each_token),
        Expected("0-based indices, separated by commas", SelectionError),
    ] = None


class BoxQuery(MatrixQuery):
    """The boxes that a person drew."""

    box: Annotated[tuple[Box, ...], BeforeValidator(as_boxes), Expected("top,left,bottom,right", SelectionError)]


class Looking:
    """The viewer's routes as functions of a request; what computes runs in a thread of its own.

    Args:
        service: whose results are looked at.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service

    def add_to(self, api: FastAPI) -> None:
        """Add the routes; they are the viewer's own, and no part of what is promised to programs."""
        for name, answer in (
            ("photo", self._photo),
            ("scene", self._scene),
            ("stack", self._stack),
            ("heads", self._heads),
            ("cards", self._cards),
            ("changes", self._changes),
            ("head_changes", self._head_changes),
            ("box", self._box),
        ):
            api.add_api_route(
                f"/visits/{{ticket}}/{name}", _in_a_thread(answer), include_in_schema=False, response_class=Response
            )

    def _photo(self, ticket: str, sent: dict[str, str]) -> Response:
        photo = Image.fromarray(self._service.looked_at(ticket).comparison.image)
        photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=90)  # WebP is smaller, and takes fifteen times as long
        return Response(buffer.getvalue(), media_type="image/jpeg", headers=_KEPT)

    def _scene(self, ticket: str, sent: dict[str, str]) -> Response:
        result = self._service.looked_at(ticket)
        query = parse(LookQuery, sent) if sent else None
        focus = query.focus(result.comparison) if query else None
        views = extra_views(result.comparison, focus, query.view) if query and focus else ()
        shown = self._service.looked_at(ticket, focus, views)
        scene = scene_json(
            shown.comparison,
            written=result.own,
            families=self._service.families(),
            opens=result.opens,
            heads=False,
            find_changes=shown.changes,
        )
        return _packed(json.dumps(scene).encode(), "application/json")

    def _stack(self, ticket: str, sent: dict[str, str]) -> Response:
        query = parse(LookQuery, sent)
        shown = self._shown(ticket, query, single=query.head != "mean")
        return _packed(stack_body(shown.comparison, query.choice(), shown.ranks), "application/octet-stream")

    def _heads(self, ticket: str, sent: dict[str, str]) -> Response:
        query = parse(LookQuery, sent)
        shown = self._shown(ticket, query, single=True)
        body = heads_body(shown.comparison, query.choice(), query.layer, shown.ranks)
        return _packed(body, "application/octet-stream")

    def _cards(self, ticket: str, sent: dict[str, str]) -> Response:
        offers = offers_json(ways(self._service.looked_at(ticket).comparison, self._service.pace))
        return Response(json.dumps(offers), media_type="application/json")  # not kept: the pace becomes known

    def _changes(self, ticket: str, sent: dict[str, str]) -> Response:
        query = parse(LookQuery, sent)
        result = self._service.looked_at(ticket)
        found = changes_json(result.comparison, query.against, result.changes)
        return _packed(json.dumps(found).encode(), "application/json")

    def _head_changes(self, ticket: str, sent: dict[str, str]) -> Response:
        query = parse(MatrixQuery, sent)
        comparison = self._service.looked_at(ticket, query.recorded).comparison
        return _packed(json.dumps(head_changes_json(comparison, query.against)).encode(), "application/json")

    def _box(self, ticket: str, sent: dict[str, str]) -> Response:
        query = parse(BoxQuery, sent)
        comparison = self._service.looked_at(ticket, query.recorded).comparison
        found = box_body(comparison, query.box, query.choice()) | box_matrix(comparison, query.box, query.against)
        return _packed(json.dumps(found).encode(), "application/json")

    def _shown(self, ticket: str, query: LookQuery, *, single: bool) -> Result:
        written = self._service.looked_at(ticket).comparison
        focus = query.focus(written)
        views = extra_views(written, focus, query.view)
        return self._service.looked_at(ticket, focus if single or views else None, views)


def _in_a_thread(answer: Callable[[str, dict[str, str]], Response]) -> Callable[[Request], object]:
    async def route(request: Request) -> Response:
        return await asyncio.to_thread(answer, request.path_params["ticket"], dict(request.query_params))

    return route


def _packed(body: bytes, media_type: str) -> Response:
    """A body that every browser unpacks; at the lowest level it costs 10 ms and saves a third."""
    return Response(gzip.compress(body, 1), media_type=media_type, headers=_KEPT | {"Content-Encoding": "gzip"})
