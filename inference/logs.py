"""What may stand in a log line, in every process of this package; it knows no framework.

Whoever writes a line need not think of strangers: each record of the process passes here before any handler sees it.

- A line stays a line: what would steer a terminal or begin another line is written as its escape.
- An exception is written as its class and the places that it came through, without its message: that may hold a
  visitor's words, or an adapter's. Whoever knows that a message is the operator's own puts it into the line.
- A line that is said over a request ends in the request's id, by which its owner's sentence names it, too.
"""

import logging
import secrets
import sys
import threading
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any

#: Whose lines are ours, whole; of the lines in which others tell of an exception, the first line alone is theirs.
_OURS = ("__main__", "app", "inference", "visualize")
_request: ContextVar[str] = ContextVar("request", default="")
_log = logging.getLogger(__name__)


def begin_request() -> str:
    """Give what runs in this context from now on an id of its own; nobody can ask for one.

    Returns:
        Six random hexadecimal digits.
    """
    name = secrets.token_hex(3)
    _request.set(name)
    return name


def request_id() -> str:
    """The id of the request that is worked on in this context; "" where there is none."""
    return _request.get()


def set_up(level: int) -> None:
    """Hold every line of this process to what stands above, and write it to stderr from `level` on.

    It takes in what else is printed there: tracebacks that a library prints itself, exceptions that end a thread or
    that nobody can catch, warnings.
    """
    logging.setLogRecordFactory(_record)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    traceback.print_exception = _print_exception
    threading.excepthook = _end_of_thread
    sys.unraisablehook = _unraisable


def escaped(text: str) -> str:
    """Text with an escape such as `\\x1b` or `\\u2028` in the place of each character that does not print."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _record(*fields: Any, **more: Any) -> logging.LogRecord:
    """A record whose message, and whose exception, may be written by any handler."""
    record = logging.LogRecord(*fields, **more)
    ours, error = record.name.split(".")[0] in _OURS, record.exc_info
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        text = f"a line that cannot be formatted: {record.msg}"
    if error and not ours:
        text = text.split("\n", 1)[0]  # asyncio, for one, shows the exception in the lines below
    name = request_id()
    record.msg, record.args = escaped(text) + (f" (request {name})" if name else ""), None
    if error and error[1] is not None:
        record.exc_text, record.exc_info = "\n".join(_places(error[1])), None
    return record


def _places(error: BaseException, seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """An exception, what it holds and what it came of, as classes and places."""
    yield escaped(f"  {type(error).__module__}.{type(error).__qualname__}")
    for place in traceback.extract_tb(error.__traceback__):
        yield escaped(f"    {place.filename}:{place.lineno} in {place.name}: {place.line}")
    seen |= {id(error)}
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for each in (*within, cause):
        if each is not None and id(each) not in seen:
            yield "  within it:" if each is not cause else "  because of:"
            yield from _places(each, seen)


_print_elsewhere: Any = traceback.print_exception


def _print_exception(
    error: Any, /, value: Any = None, tb: Any = None, *more: Any, file: Any = None, **named: Any
) -> None:
    """In the place of what `traceback.print_exc` and libraries print to stderr; into a file it goes as ever."""
    if file is not None or any(more[1:2]):
        _print_elsewhere(error, value, tb, *more, file=file, **named)
    else:
        _log.error("a library met an error", exc_info=_info(error if isinstance(error, BaseException) else value))


def _end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        _log.error("a thread ended", exc_info=_info(ended.exc_value))


def _unraisable(met: Any) -> None:
    _log.error("an error that nobody can catch", exc_info=_info(met.exc_value))


def _info(error: BaseException | None) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    return None if error is None else (type(error), error, error.__traceback__)
