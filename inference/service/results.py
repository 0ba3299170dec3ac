"""What visitors leave here, and until when: finished comparisons and uploaded files; it knows neither engine nor page.

A result belongs to one visit (a browser tab's session) and is found by the digest of its request's content. Everything
of a visit goes when the visit ends, also what is finished only afterwards; the least recently used results go when the
bound on bytes is reached. Only shipped examples are everyone's, and they stay.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from inference.errors import InputError
from inference.records import Comparison, Request

MIB = 2**20
_NOT_CONTENT = frozenset({"image", "limits", "image_notes"})


def digest(request: Request) -> str:
    """Name a request by everything that its answer depends on: the pixels and every option, not the limits.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    rest = {each.name: getattr(request, each.name) for each in fields(request) if each.name not in _NOT_CONTENT}
    content = hashlib.sha256(json.dumps([request.image.size, rest], ensure_ascii=True).encode())
    content.update(request.image.tobytes())
    return content.hexdigest()


@dataclass(frozen=True, slots=True)
class Result:
    """A request with its answer; `key` is the request's digest."""

    key: str
    request: Request
    comparison: Comparison

    @property
    def nbytes(self) -> int:
        """Bytes held: the arrays and both copies of the picture."""
        width, height = self.request.image.size
        arrays = [self.comparison.image]
        for recording in self.comparison.recordings:
            values = (getattr(recording, each.name) for each in fields(recording))
            arrays += [value for value in values if isinstance(value, np.ndarray)]
        return 3 * width * height + sum(array.nbytes for array in arrays)


class ResultCache:
    """Results by visit and digest, bounded by bytes. Every method may be called from any thread.

    Args:
        max_bytes: bound on the visitors' results together; shared ones do not count.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._shared: dict[str, Result] = {}
        self._results: OrderedDict[tuple[str, str], Result] = OrderedDict()
        self._visits: dict[str, set[Path]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the visitors' results now."""
        return self._bytes

    def share(self, result: Result) -> None:
        """Offer a shipped example's result to everyone, for as long as the process lives."""
        with self._lock:
            self._shared[result.key] = result

    def forget(self, adapters: Iterable[str]) -> None:
        """Forget what visitors got from these adapters; shipped results stay."""
        gone = set(adapters)
        with self._lock:
            for key in [key for key, result in self._results.items() if gone & set(result.request.adapters)]:
                self._bytes -= self._results.pop(key).nbytes

    def begin(self, visit: str) -> None:
        """Say that `visit` is open; only open visits can own results and files."""
        with self._lock:
            self._visits.setdefault(visit, set())

    def end(self, visit: str) -> None:
        """Forget everything of `visit`, and delete its uploaded files that no other open visit uploaded too."""
        with self._lock:
            for key in [key for key in self._results if key[0] == visit]:
                self._bytes -= self._results.pop(key).nbytes
            files = self._visits.pop(visit, set())
            orphans = files.difference(*self._visits.values())
        for path in orphans:
            path.unlink(missing_ok=True)

    def own_file(self, visit: str, path: Path) -> None:
        """Delete `path` when `visit` ends; at once where it has ended already."""
        with self._lock:
            files = self._visits.get(visit)
            if files is not None:
                files.add(path)
                return
            wanted = any(path in others for others in self._visits.values())
        if not wanted:
            path.unlink(missing_ok=True)

    def get(self, visit: str, key: str) -> Result | None:
        """The result `key` if it is this visit's own or everyone's, else None."""
        with self._lock:
            own = self._results.get((visit, key))
            if own is not None:
                self._results.move_to_end((visit, key))
                return own
            return self._shared.get(key)

    def put(self, visit: str, result: Result) -> None:
        """Keep a result for `visit`; nothing is kept for a visit that has ended.

        Raises:
            InputError: the result alone is larger than the bound.
        """
        size = result.nbytes
        if size > self._max_bytes:
            raise InputError(
                f"The result needs {size / MIB:,.0f} MiB; the page keeps at most {self._max_bytes / MIB:,.0f} MiB.",
                "Shorten the prompt or use a smaller image, or let the operator raise VISUALIZER_RESULT_CACHE_BYTES.",
            )
        with self._lock:
            if visit not in self._visits:
                return
            name = (visit, result.key)
            if name in self._results:
                self._bytes -= self._results.pop(name).nbytes
            self._results[name] = result
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, oldest = self._results.popitem(last=False)
                self._bytes -= oldest.nbytes
