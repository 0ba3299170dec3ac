"""`app`, imported and built inside a running event loop: outside one, Gradio makes loops and never closes them."""

import asyncio
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any


async def _import() -> ModuleType:
    return importlib.import_module("app")


app = asyncio.run(_import())  # first, since it imports Gradio in less time

from fastapi import FastAPI
from gradio.routes import App

from inference import Backend, Settings
from inference.service.analysis import AnalysisService
from inference.service.examples import examples, first_result
from inference.service.handlers import Handlers
from inference.service.routes import app_kwargs


def build(settings: Settings, open_: Callable[[], Backend]) -> Any:
    """The page, as `app.build` makes it."""

    async def inside() -> Any:
        return app.build(settings, open_)

    return asyncio.run(inside())


def build_handlers(settings: Settings, open_: Callable[[], Backend]) -> Handlers:
    """The page's handlers as `app.build` makes them, without the widgets that would call them."""
    return Handlers(AnalysisService(settings, open_), examples(settings), first_result(settings))


def build_server(settings: Settings, open_: Callable[[], Backend]) -> App:
    """The page with its routes as one ASGI application."""

    async def inside() -> App:
        demo = app.build(settings, open_)
        return App.create_app(demo, app_kwargs=demo.launch_options()["app_kwargs"])

    return asyncio.run(inside())


def build_server_of(service: AnalysisService) -> FastAPI:
    """The routes alone, over a service that a test has in its hands."""
    return FastAPI(**app_kwargs(service))
