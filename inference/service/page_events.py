"""The boundary of the page's events: each has an id, and what nobody foresaw is a sentence in the page's corner.

Gradio calls a generator's steps from changing threads, each with a context of its own: here they share one.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from html import escape
from typing import Any, NoReturn, TypeVar

import gradio as gr

from inference.logs import begin_request
from inference.service.failures import unforeseen

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


def page_event(handler: _Handler) -> _Handler:
    """A handler of Gradio's, run as a request with an id of its own.

    Args:
        handler: a function or a generator function; its signature, by which Gradio hands it its request, stays.
    """

    @functools.wraps(handler)
    def answer(*given: Any, **named: Any) -> Any:
        context = _named()
        try:
            return context.run(handler, *given, **named)
        except gr.Error:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary
            _say(context, error, handler.__name__)

    @functools.wraps(handler)
    def steps(*given: Any, **named: Any) -> Iterator[Any]:
        context = _named()
        events = context.run(handler, *given, **named)
        try:
            while True:
                try:
                    event = context.run(next, events)
                except StopIteration:
                    return
                except gr.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - the boundary
                    _say(context, error, handler.__name__)
                yield event
        finally:
            context.run(events.close)

    return steps if inspect.isgeneratorfunction(handler) else answer  # type: ignore[return-value]


def _named() -> Context:
    context = copy_context()
    context.run(begin_request)
    return context


def _say(context: Context, error: Exception, name: str) -> NoReturn:
    told = context.run(unforeseen, error, f"the page's {name} failed")
    raise gr.Error(escape(str(told)), print_exception=False) from None
