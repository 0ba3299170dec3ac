"""What visitors leave here, and until when: photos, comparisons, explanations, files; it knows no engine, no page.

A result belongs to one session (a browser tab) and is found by the digest of its request's content. Everything of a
session goes when it ends, also what is finished only afterwards; the least recently used goes when the bound on bytes
is reached. Only shipped examples are everyone's, and they stay.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from inference.errors import InputError
from inference.explanations import Explanation
from inference.image_maps import ImageMaps
from inference.photo import Photo
from inference.recording import Recording
from inference.records import Comparison
from inference.request import Request
from visualize.json_values import Json
from visualize.numbers.rank_heads import KeptRanks
from visualize.stacks.changes import KeptChanges

MIB = 2**20


def same_files(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether adapters' files are the same by their stamps (adapter → stamp), as far as both are known."""
    return all(now.get(name, stamp) == stamp for name, stamp in then.items())


@dataclass(frozen=True, slots=True)
class Result:
    """A request with its answer.

    Args:
        key: the request's digest.
        request: what was asked.
        comparison: what was answered.
        stamps: adapter → stamp of its files (`AdapterInfo.stamp`), as known before the engine was asked.
        ranks: how the heads of the answer are ranked, kept as it becomes known.
        changes: how the answer's rows changed, kept as it becomes known.
        opens: parts of a viewer's choice that it opens on (layer, head, boxes, …), in place of what changed most.
        written: where the answer was given, the comparison in which the same variants wrote their own to the same
            question, if that is known.
    """

    key: str
    request: Request
    comparison: Comparison
    stamps: Mapping[str, str] = field(default_factory=dict)
    ranks: KeptRanks = field(default_factory=KeptRanks, repr=False, compare=False)
    changes: KeptChanges = field(default_factory=KeptChanges, repr=False, compare=False)
    opens: Mapping[str, Json] = field(default_factory=dict)
    written: Comparison | None = None

    @property
    def own(self) -> Comparison:
        """The comparison in which the variants wrote their answers, as far as they did."""
        return self.comparison if self.written is None else self.written

    def expect_a_look(self) -> None:
        """Begin what a page asks for first, while the news of the result is on its way to it."""
        run = copy_context().run  # whatever is said of it is of the request
        threading.Thread(target=run, args=(self._first_look,), name="first-look", daemon=True).start()

    def _first_look(self) -> None:
        self.changes(self.comparison)
        for layer in range(self.comparison.model.num_layers if self.comparison.tokens else 0):
            self.ranks(self.comparison.recordings, layer)

    def between(self, *variants: str | None) -> Request:
        """The request of these variants with the answer that this result replayed.

        Args:
            variants: of this result, in their order.
        """
        ids = tuple(token.id for token in self.comparison.tokens if token.role in ("answer", "end")) or None
        own = self.request.answer_from == "own"
        return replace(
            self.request,
            adapters=variants,
            answer_from="own" if own else variants[-1],
            answer=ids,
            focus=None,
            vision_tower=False,
        )

    @property
    def nbytes(self) -> int:
        """Bytes held: all arrays, the picture once or twice, and as many as `ranks` and `changes` may hold."""
        pixels = [*(photo.pixels for photo in self.request.images), *(seen.pixels for seen in self.comparison.images)]
        arrays = list({id(each): each for each in pixels}.values())
        for recording in (*self.comparison.recordings, *(self.written.recordings if self.written else ())):
            held: tuple[Recording | ImageMaps, ...] = (recording, *recording.elsewhere)
            values = (getattr(one, each.name) for one in held for each in fields(one))
            arrays += [value for value in values if isinstance(value, np.ndarray)]
        ranks = self.ranks.most_bytes(self.comparison.model.num_heads)
        return sum(array.nbytes for array in arrays) + ranks + self.changes.most_bytes(self.comparison)

    def showing(self, image: int | None) -> "Result":
        """The same with another of its images shown; None is the one that is shown.

        Raises:
            SelectionError: there is no such image.
        """
        shown = self.comparison if image is None else self.comparison.showing(image)
        if shown is self.comparison:
            return self
        return replace(self, comparison=shown, ranks=KeptRanks())


@dataclass(frozen=True, slots=True)
class Explained:
    """A question about a result with its answer.

    Args:
        key: the digest of request and question.
        of: the result's key; "" where it was asked of no kept result.
        explanation: what was answered.
        about: more words on what was asked, such as which cells.
        stamps: see `Result`.
    """

    key: str
    of: str
    explanation: Explanation
    about: str = ""
    stamps: Mapping[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes held: the arrays."""
        values = (getattr(self.explanation, name) for name in self.explanation.ARRAYS)
        return sum(value.nbytes for value in values if value is not None)


class ResultCache:
    """Results by session and digest, bounded by bytes. Every method may be called from any thread.

    Args:
        max_bytes: bound on the visitors' results and photos together; shared ones do not count.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._shared: dict[str, Result] = {}
        self._kept: OrderedDict[tuple[str, str], Result | Explained | Photo] = OrderedDict()
        self._sessions: dict[str, set[Path]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the visitors' results and photos now."""
        return self._bytes

    def share(self, result: Result) -> None:
        """Offer a shipped example's result to everyone, for as long as the process lives."""
        with self._lock:
            self._shared[result.key] = result

    def forget_others(self, stamps: Mapping[str, str]) -> None:
        """Forget what visitors got from adapters whose files have another stamp now; shipped results stay.

        Args:
            stamps: adapter → stamp, as they are now; nothing is forgotten of an adapter that is not in it.
        """
        with self._lock:
            for key, kept in list(self._kept.items()):
                if not isinstance(kept, Photo) and not same_files(kept.stamps, stamps):
                    self._drop(key)

    def begin(self, session: str) -> None:
        """Say that `session` is open; only open sessions can own results and files."""
        with self._lock:
            self._sessions.setdefault(session, set())

    def end(self, session: str) -> None:
        """Forget everything of `session`, and delete its uploaded files that no other open session uploaded too."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == session]:
                self._drop(key)
            files = self._sessions.pop(session, set())
            orphans = files.difference(*self._sessions.values())
        for path in orphans:
            path.unlink(missing_ok=True)

    def own_file(self, session: str, path: Path) -> None:
        """Delete `path` when `session` ends; at once where it has ended already."""
        with self._lock:
            files = self._sessions.get(session)
            if files is not None:
                files.add(path)
                return
            wanted = any(path in others for others in self._sessions.values())
        if not wanted:
            path.unlink(missing_ok=True)

    def get(self, session: str | None, key: str) -> Result | None:
        """The result `key` if it is this session's own or everyone's, else None; of no session, everyone's alone."""
        own = self._find(session, key) if session is not None else None
        return own if isinstance(own, Result) else self._shared.get(key)

    def photo(self, session: str, path: Path) -> Photo | None:
        """The photo of this session's uploaded file, if it is kept."""
        kept = self._find(session, str(path))
        return kept if isinstance(kept, Photo) else None

    def put_photo(self, session: str, path: Path, photo: Photo) -> None:
        """Keep what an uploaded file was decoded to, where there is room for it."""
        if photo.nbytes <= self._max_bytes:
            self._keep(session, str(path), photo)

    def put(self, session: str, result: Result) -> None:
        """Keep a result for `session`; nothing is kept for a session that has ended.

        Raises:
            InputError: the result alone is larger than the bound.
        """
        size = result.nbytes
        if size > self._max_bytes:
            raise InputError(
                f"The result needs {size / MIB:,.0f} MiB; the page keeps at most {self._max_bytes / MIB:,.0f} MiB.",
                "Shorten the prompt or use a smaller image, or let the operator raise VISUALIZER_RESULT_CACHE_BYTES.",
            )
        self._keep(session, result.key, result)

    def explained(self, session: str, key: str) -> Explained | None:
        """The answer to a question that this session asked, if it is kept."""
        kept = self._find(session, key)
        return kept if isinstance(kept, Explained) else None

    def explained_of(self, session: str, of: str) -> tuple[Explained, ...]:
        """All that is kept of what this session asked about a result, the one used last at the end."""
        with self._lock:
            mine = [kept for (owner, _), kept in self._kept.items() if owner == session]
        return tuple(kept for kept in mine if isinstance(kept, Explained) and kept.of == of)

    def put_explained(self, session: str, explained: Explained) -> None:
        """Keep an answer for `session`, where there is room for it; whoever asks again gets it at once."""
        if explained.nbytes <= self._max_bytes:
            self._keep(session, explained.key, explained)

    def _find(self, session: str, key: str) -> Result | Explained | Photo | None:
        with self._lock:
            kept = self._kept.get((session, key))
            if kept is not None:
                self._kept.move_to_end((session, key))
            return kept

    def _keep(self, session: str, key: str, value: Result | Explained | Photo) -> None:
        with self._lock:
            if session not in self._sessions:
                return
            self._drop((session, key))
            self._kept[session, key] = value
            self._bytes += value.nbytes
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[str, str]) -> None:
        """Forget an entry, if it is there; the lock is held."""
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._bytes -= dropped.nbytes
