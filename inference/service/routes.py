"""The HTTP routes beside the page: what they are called, read and answer; how maps become JSON is handed in.

Imported by `app.py` only; the one file of this package that knows a web framework. Errors are JSON
`{"error": {"code", "message", "hint"}}` with the status of the error's class; never a traceback, never a server path.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from html import escape
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from inference.errors import BadBodyError, BodyTooLargeError, NotFoundError, UnexpectedError, VisualizerError
from inference.records import AdapterInfo, Comparison, ModelInfo
from inference.service.analysis import AnalysisService
from inference.service.middleware import RouteGuard, error_json
from inference.service.query import Asked, read
from inference.settings import Limits

TITLE = "LoRA Attention Visualizer"

_log = logging.getLogger(__name__)
_Endpoint = Callable[[Request], Awaitable[Response]]


def app_kwargs(
    service: AnalysisService,
    analysis: Callable[[Comparison, Asked], Mapping[str, Any]],
    model: Callable[[ModelInfo], Mapping[str, Any]],
    adapter: Callable[[AdapterInfo], Mapping[str, Any]],
) -> dict[str, Any]:
    """What `gr.Blocks.launch(app_kwargs=…)` takes: the routes, their guard, and no other documentation pages.

    Args:
        service: where analyses happen; its settings hold `auth` and the limits.
        analysis: JSON values of a comparison.
        model, adapter: JSON values of a model and of an adapter.
    """
    settings = service.settings
    routes = [
        _route("/api/health", partial(_health, service), "Whether the server is there, and what it runs."),
        _route("/api/adapters", partial(_adapters, service, adapter), "The adapters on offer."),
        _route("/api/layers", partial(_layers, service, model), "Layers, heads and the geometry of the image's cells."),
        _route(
            "/api/analyze", partial(_analyze, service, analysis), "Answers and attention maps of one image.", post=True
        ),
    ]
    documents = [
        APIRoute("/openapi.json", _answering(partial(_schema, routes)), include_in_schema=False),
        APIRoute("/docs", _answering(partial(_docs, routes)), include_in_schema=False),
        APIRoute("/api/{rest:path}", _answering(_nothing), methods=_METHODS, include_in_schema=False),
    ]
    guard = Middleware(RouteGuard, auth=settings.auth, max_upload_bytes=settings.limits.max_upload_bytes)
    return {"routes": [*routes, *documents], "middleware": [guard], "openapi_url": None, "docs_url": None}


async def _health(service: AnalysisService, request: Request) -> Response:
    ready = service.ready()
    model = service.backend().status().model if ready else service.settings.base_model
    return JSONResponse({"status": "ok", "backend": service.settings.backend, "model": model, "ready": ready})


async def _adapters(
    service: AnalysisService, adapter: Callable[[AdapterInfo], Mapping[str, Any]], request: Request
) -> Response:
    return JSONResponse([adapter(each) for each in await asyncio.to_thread(service.adapters)])


async def _layers(
    service: AnalysisService, model: Callable[[ModelInfo], Mapping[str, Any]], request: Request
) -> Response:
    return JSONResponse(model(await asyncio.to_thread(service.model_info)))


async def _analyze(
    service: AnalysisService, analysis: Callable[[Comparison, Asked], Mapping[str, Any]], request: Request
) -> Response:
    fields, image = await _body(request, service.settings.limits)
    asked = await asyncio.to_thread(read, fields, image, service.settings.limits)
    address = request.client.host if request.client else "unknown"
    stop = threading.Event()
    work = asyncio.create_task(asyncio.to_thread(service.result, asked.request, address=address, cancelled=stop))
    try:
        while not (await asyncio.wait({work}, timeout=0.5))[0]:
            if await request.is_disconnected():
                break
    finally:
        stop.set()
    result = await work
    return JSONResponse(await asyncio.to_thread(analysis, result.comparison, asked))


async def _body(request: Request, limits: Limits) -> tuple[dict[str, Any], bytes | None]:
    """Fields and image of a form or of JSON; the guard in front bounds how much is read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            fields = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise BadBodyError("The body is not JSON.", 'Send an object such as {"image": "…base64…"}.') from error
        if not isinstance(fields, dict):
            raise BadBodyError("The body must be a JSON object.")
        return fields, None
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise BadBodyError(
            f"A body of type {kind[:60]!r} is not read.", "Send multipart/form-data or application/json."
        )
    fields, image = {}, None
    try:
        async with request.form(max_files=1, max_fields=64, max_part_size=limits.max_upload_bytes * 2) as form:
            for name in form:
                values = form.getlist(name)
                if name == "image" and not isinstance(values[0], str):
                    image = await values[0].read(limits.max_upload_bytes + 1)
                elif any(not isinstance(each, str) for each in values):
                    raise BadBodyError(f"The field {name[:40]!r} must be text.", "Only 'image' is a file.")
                else:
                    fields[name] = values if len(values) > 1 else values[0]
    except HTTPException as error:
        raise BadBodyError(f"The form cannot be read: {error.detail}.") from error
    return fields, image


async def _nothing(request: Request) -> Response:
    raise NotFoundError(f"There is no {request.method} {request.url.path[:80]}.", "GET /docs lists the routes.")


async def _schema(routes: list[APIRoute], request: Request) -> Response:
    return JSONResponse(get_openapi(title=TITLE, version="1", routes=routes))


async def _docs(routes: list[APIRoute], request: Request) -> Response:
    """A page without scripts or foreign files: what FastAPI ships loads a viewer from elsewhere."""
    rows = "".join(
        f"<h2><code>{''.join(route.methods or ())} {escape(route.path)}</code></h2><p>{escape(route.summary or '')}</p>"
        for route in routes
    )
    fields = "".join(f"<tr><td><code>{name}</code></td><td>{escape(words)}</td></tr>" for name, words in _WORDS.items())
    return HTMLResponse(_DOCS.format(title=TITLE, rows=rows, fields=fields))


def _route(path: str, endpoint: _Endpoint, summary: str, *, post: bool = False) -> APIRoute:
    return APIRoute(
        path,
        _answering(endpoint),
        methods=["POST" if post else "GET"],
        summary=summary,
        operation_id=path.rpartition("/")[2],
        openapi_extra=_ANALYZE_BODY if post else None,
        responses={"4XX": {"description": "error: code, message, hint"}, "5XX": {"description": "the same"}},
    )


def _answering(endpoint: _Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The boundary of every route: errors become JSON, our bugs a log entry and a plain sentence."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (BodyTooLargeError, ClientDisconnect):
            raise  # the guard answers, or nobody listens
        except VisualizerError as error:
            return JSONResponse(error_json(error), status_code=error.status)
        except Exception:  # noqa: BLE001 - the boundary: logged with its traceback, never shown
            _log.exception("a route failed")
            unexpected = UnexpectedError()
            return JSONResponse(error_json(unexpected), status_code=unexpected.status)

    return answer


_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_WORDS = {
    "image": "the picture: a file in a form, base64 in JSON",
    "prompt": "the question; default: Describe the image.",
    "system": "a system text",
    "adapter": "whom to ask, repeatable: base or an adapter's name; default base",
    "answer_from": "whose answer is replayed through all: base, an adapter asked, or own (each its own)",
    "layer": "0-based; default: the middle layer",
    "head": "mean (default), max, or a 0-based head",
    "token": "0-based index into tokens, or answer (mean over the answer); default: the first answer token",
    "view": "raw (default), sink-masked or contrast",
    "overlay": "true adds to each map a PNG data URL at the image's own size",
    "max_new_tokens": "most tokens of an answer; default 32",
    "scale": "strength of the adapters, 1 as trained",
}

_PROPERTIES: dict[str, Any] = {name: {"type": "string", "description": words} for name, words in _WORDS.items()}
_FORM = _PROPERTIES | {
    "image": {"type": "string", "format": "binary", "description": _WORDS["image"]},
    "adapter": {"type": "array", "items": {"type": "string"}, "description": _WORDS["adapter"]},
}
_ANALYZE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "required": ["image"], "properties": _FORM}},
            "application/json": {"schema": {"type": "object", "required": ["image"], "properties": _PROPERTIES}},
        },
    }
}

_DOCS = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}: routes</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1rem; margin: 1.4rem 0 0 }}
p {{ margin: .2rem 0 }}
td {{ padding: .15rem .8rem .15rem 0; vertical-align: top }}
pre {{ overflow: auto; padding: .8rem; border: 1px solid #8886; border-radius: 6px }}
</style>
<h1>{title}: routes</h1><p>The same as OpenAPI: <a href="openapi.json">openapi.json</a>.</p>{rows}
<h2>Fields of POST /api/analyze</h2><table>{fields}</table>
<h2>Example</h2>
<pre>curl -F image=@photo.jpg -F prompt="What is this?" -F adapter=base -F overlay=true …/api/analyze</pre>
<h2>Errors</h2><pre>{{"error": {{"code": "…", "message": "…", "hint": "…"}}}}</pre></html>"""
