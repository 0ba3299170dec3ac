"""The HTTP routes beside the page: an application of their own inside Gradio's, behind a guard of their own.

What they take is `AnalyzeFields` and `ExplainFields`, which their OpenAPI is made from. Errors are JSON
`{"error": {"code", "message", "hint"}}` with the status of the error's class; never a traceback, never a server path.
"""

import asyncio
import json
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from inference.errors import BadBodyError, BusyError, NotFoundError, VisualizerError
from inference.service.analysis import AnalysisService
from inference.service.documentation import documentation
from inference.service.endpoints import answered, question_of, shown
from inference.service.failures import told
from inference.service.fields import parse
from inference.service.gradio_guard import GradioGuard
from inference.service.looking import Looking
from inference.service.middleware import RouteGuard, error_json
from inference.service.origins import OriginGuard, names_of
from inference.service.request_ids import RequestIds
from inference.service.schema import AnalyzeFields, ExplainFields
from inference.service.slots import counted
from inference.settings import Limits
from visualize.analysis_json import adapter_json, model_json
from visualize.findings.explanation_json import explanation_json
from visualize.page import VIEWER

TITLE = "LoRA Attention Visualizer"
#: Requests for the engine that this process works on at most, whatever its queue holds: each has a thread.
MOST_WAITING = 256
BODY_SECONDS = 120.0  # that a body may take to come: who sends it drop by drop holds a place meanwhile
Value = TypeVar("Value")
Fields = TypeVar("Fields", bound=BaseModel)


class ErrorDetail(BaseModel):
    """What went wrong: a stable name for programs, what was got and expected, what to do."""

    code: str
    message: str
    hint: str


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


def app_kwargs(service: AnalysisService) -> dict[str, Any]:
    """What `gr.Blocks.launch(app_kwargs=…)` takes: our routes, guarded, and no other documentation pages.

    Args:
        service: where analyses happen; its settings hold `auth` and the limits.
    """
    settings = service.settings
    guarded = RouteGuard(_api(service), settings.auth, settings.limits.max_upload_bytes)
    paths = ("/api", "/api/{rest:path}", "/docs", "/openapi.json", "/visits/{rest:path}", "/viewer/{rest:path}")
    return {
        "routes": [Route(path, guarded) for path in paths],
        "lifespan": guarded_lifespan(service),
        "exception_handlers": {Exception: _failed_beside_us},
        "openapi_url": None,
        "docs_url": None,
    }


def guarded_lifespan(service: AnalysisService) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan that puts guards, and an id for each request, around all that Gradio put around its application.

    Gradio's CORS middleware, which allows every origin on a public host, stands around whatever `app_kwargs` adds; only
    once the application starts is the whole stack there to be wrapped.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        inner = GradioGuard(app.middleware_stack, service.settings.limits, service.uploads)
        app.middleware_stack = RequestIds(OriginGuard(inner, names_of(service.settings)))
        yield

    return lifespan


def _api(service: AnalysisService) -> FastAPI:
    """The application behind the guard; its exception handlers know nothing of Gradio's routes."""
    api = FastAPI(
        title=TITLE,
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            VisualizerError: _refused,
            HTTPException: _nothing_there,
            ClientDisconnect: _left,
            Exception: _failed,  # whose traceback the server logs
        },
        responses={code: {"model": ErrorBody, "description": "what went wrong"} for code in ("4XX", "5XX")},
    )
    api.state.metrics = service.metrics
    routes = _Routes(service)
    for path, endpoint, summary in (
        (
            "/api/health",
            routes.health,
            "Whether the server is there, what it runs, and why it cannot where that failed.",
        ),
        ("/api/adapters", routes.adapters, "The adapters on offer."),
        ("/api/layers", routes.layers, "Layers, heads and the geometry of the image's cells."),
    ):
        api.add_api_route(path, endpoint, summary=summary, operation_id=path.rpartition("/")[2])
    for path, answer, summary, fields in (
        ("/api/analyze", routes.analyze, "Answers and attention maps of one image.", AnalyzeFields),
        ("/api/explain", routes.explain, "A question about what an adapter changed, with its numbers.", ExplainFields),
    ):
        api.add_api_route(
            path,
            answer,
            methods=["POST"],
            summary=summary,
            operation_id=path.rpartition("/")[2],
            openapi_extra={"requestBody": {"required": True, "content": _content(fields)}},
        )
    Looking(service).add_to(api)
    api.mount("/viewer", StaticFiles(directory=VIEWER))
    page = documentation(TITLE, api.openapi())
    api.add_api_route("/docs", lambda: HTMLResponse(page), include_in_schema=False)
    return api


class _Routes:
    """The routes as functions of a request; whatever waits, waits in a thread of its own.

    Analyses have threads apart from everything else, as many as the queue holds: a full queue is said at once, before a
    body is read, and looking around never waits behind those who wait for the engine. One address has at most half of
    the places.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service
        self._asked: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(MOST_WAITING, thread_name_prefix="asked")

    async def health(self) -> JSONResponse:
        settings, backend = self._service.settings, self._service.backend
        ready = backend.ready()
        model = backend.wait().status().model if ready else settings.base_model
        about = {"status": "ok", "backend": settings.backend, "model": model, "ready": ready}
        failure = backend.failure()
        return JSONResponse(about if failure is None else about | {"status": "failed", "reason": str(failure)})

    async def adapters(self) -> JSONResponse:
        return JSONResponse([adapter_json(info) for info in await asyncio.to_thread(self._service.adapters)])

    async def layers(self) -> JSONResponse:
        return JSONResponse(model_json(await asyncio.to_thread(self._service.model_info)))

    async def analyze(self, request: Request) -> JSONResponse:
        service, address = self._service, _address(request)
        with self._place(address):
            fields = await self._fields(request, AnalyzeFields)
            result = await self._while_there(
                request, lambda stop: answered(service, fields, address=address, stop=stop)
            )
            return JSONResponse(
                await self._while_there(
                    request, lambda stop: shown(service, fields, result, address=address, stop=stop)
                )
            )

    async def explain(self, request: Request) -> JSONResponse:
        service, address = self._service, _address(request)
        with self._place(address):
            fields = await self._fields(request, ExplainFields)
            asked = await self._while_there(
                request, lambda stop: question_of(service, fields, address=address, stop=stop)
            )
            answer = await self._while_there(
                request, lambda stop: service.explained(*asked, address=address, admitted=True, cancelled=stop)
            )
            return JSONResponse(explanation_json(answer))

    @contextmanager
    def _place(self, address: str) -> Iterator[None]:
        """Count a request that is worked on; called in the event loop alone.

        Raises:
            BusyError: as many are worked on as the queue holds, or half as many for this address.
        """
        most = min(self._service.queue.capacity, MOST_WAITING)
        if self._asked.total() >= most:
            raise self._service.queue.full()
        if self._asked[address] >= min(self._service.queue.share, most):
            raise self._service.queue.used_up()
        with counted(self._asked, address):
            yield

    async def _fields(self, request: Request, model: type[Fields]) -> Fields:
        try:
            sent = await asyncio.wait_for(_body(request, self._service.settings.limits), BODY_SECONDS)
        except TimeoutError:
            raise BadBodyError(f"The body did not come within {BODY_SECONDS:.0f} seconds.", "Send it again.") from None
        return await asyncio.to_thread(parse, model, sent)

    async def _while_there(self, request: Request, work: Callable[[threading.Event], Value]) -> Value:
        """Work in a thread of its own, which is told to stop when whoever asked has left."""
        stop = threading.Event()
        work_here = partial(copy_context().run, work, stop)  # with the request's id
        running = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._threads, work_here))
        try:
            while not (await asyncio.wait({running}, timeout=0.5))[0]:
                if await request.is_disconnected():
                    break
        finally:
            stop.set()
        return await running


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def _body(request: Request, limits: Limits) -> dict[str, Any]:
    """The fields of a form or of JSON; the guard in front bounds how much is read.

    Raises:
        BadBodyError: neither, or broken.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            fields = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise BadBodyError("The body is not JSON.", 'Send an object such as {"image": "…base64…"}.') from error
        if not isinstance(fields, dict):
            raise BadBodyError("The body must be a JSON object.")
        return fields
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise BadBodyError(
            f"A body of type {kind[:60]!r} is not read.", "Send multipart/form-data or application/json."
        )
    fields = {}
    try:
        async with request.form(
            max_files=limits.max_images, max_fields=64, max_part_size=limits.max_upload_bytes * 2
        ) as form:
            for name in form:
                values = form.getlist(name)
                files = [value for value in values if not isinstance(value, str)]
                if name == "image" and len(files) == len(values):
                    fields[name] = [await file.read(limits.max_upload_bytes + 1) for file in files]
                elif files:
                    raise BadBodyError(f"The field {name[:40]!r} must be text.", "Only 'image' is a file.")
                else:
                    fields[name] = values if len(values) > 1 else values[0]
    except HTTPException as error:
        raise BadBodyError(f"The form cannot be read: {error.detail}.") from error
    return fields


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, VisualizerError)
    request.app.state.metrics.count(error)
    headers = {"Retry-After": str(math.ceil(error.after))} if isinstance(error, BusyError) else None
    return JSONResponse(error_json(error), status_code=error.status, headers=headers)


async def _nothing_there(request: Request, error: Exception) -> Response:
    missing = NotFoundError(f"There is no {request.method} {request.url.path[:80]}.", "GET /docs lists the routes.")
    return await _refused(request, missing)


async def _failed(request: Request, error: Exception) -> Response:
    return await _refused(request, told(error))


async def _failed_beside_us(request: Request, error: Exception) -> Response:
    """Of Gradio's own routes, such as its upload to a full disk; the server logs the traceback."""
    failure = told(error)
    return JSONResponse(error_json(failure), status_code=failure.status)


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def _content(fields: type[BaseModel]) -> dict[str, Any]:
    """The request's body in OpenAPI: the same fields as a form and as JSON, the image in each one's way."""
    form = fields.model_json_schema()
    image = {**form["properties"]["image"], "contentEncoding": "base64"}
    del image["format"]
    body = {**form, "properties": {**form["properties"], "image": image}}
    return {"multipart/form-data": {"schema": form}, "application/json": {"schema": body}}
