"""What a person is told of an exception that nobody foresaw, and where its traceback is found; it knows no door."""

import errno
import logging

from inference.errors import OutOfMemoryError, StorageError, UnexpectedError, VisualizerError
from inference.logs import request_id

#: What a system says where nothing (more) can be written.
_NO_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

_log = logging.getLogger(__name__)


def unforeseen(error: BaseException, what: str) -> VisualizerError:
    """Log an exception with its traceback, and say it as a sentence.

    Args:
        error: no member of the tree of errors; one that is comes back as it is, and is no matter for the log.
        what: what failed, in our own words.
    """
    if isinstance(error, VisualizerError):
        return error
    _log.error("%s", what, exc_info=error)
    return told(error)


def told(error: BaseException) -> VisualizerError:
    """The sentence alone, for an exception that somebody else logs."""
    if isinstance(error, MemoryError):
        return OutOfMemoryError("The server ran out of memory for this request.", "Use a smaller image, or try later.")
    if isinstance(error, OSError) and error.errno in _NO_STORAGE:
        return StorageError("The server's disk has no room for this.", "Try later; the operator's log says where.")
    name = request_id()
    return UnexpectedError(f"Something went wrong inside the tool (request {name}).") if name else UnexpectedError()
