"""How the items of a batch are done: looked up, answered in any order, kept; it knows no command line.

Images are opened one after another as the backend asks for them, and answers are saved as they come, in a thread of
their own, so that neither memory grows with their number nor the engine waits for the disk.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from inference.backend import Backend
from inference.batch.answers import Answers
from inference.batch.focus import Focus, compare_at
from inference.batch.items import Item, PromptLine, file_name, items_of, read_image, safe_stem, shown
from inference.batch.measures import Cell, Row
from inference.batch.progress import ProgressBar
from inference.errors import (
    BackendError,
    CancelledError,
    ModelError,
    ResultSizeError,
    UnexpectedError,
    VersionMismatchError,
    VisualizerError,
)
from inference.photo import Photo, decode_photo
from inference.records import Comparison, Outcomes
from inference.request import Request, digest
from inference.settings import Limits
from inference.version import VERSION

#: So many errors in a row that are not the items' own, and the run stops: the engine is gone.
ENOUGH = 5
#: Those errors. Nobody presses Stop here: what is cancelled was cancelled on Modal, or the app was stopped there.
_OF_ENGINE = (BackendError, CancelledError, ModelError, UnexpectedError)
#: So many answers at most are not saved yet; the engine waits when the disk is slower.
UNSAVED = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """An item that is being answered: its index, and the name of its answer's file."""

    index: int
    name: str


class _InARow:
    """Counts errors that follow one another, and gives up after `ENOUGH`: thousands of items need not fail singly."""

    def __init__(self) -> None:
        self._count = 0

    def end(self) -> None:
        self._count = 0

    def add(self, error: VisualizerError) -> None:
        self._count += 1
        if self._count >= ENOUGH:
            raise error


class Batch:
    """The items of one command: which are there, which failed, and how the rest is done.

    Args:
        folder: of the images.
        lines: the prompts.
        images: what the folder holds.
        templates: for each prompt its request, with any image.
        limits: bounds on the images.
        engine: digest of all that an answer depends on beside its image and request.
        answers: the files of `--out`.
        focus: at which tokens of its answer an item is measured.
    """

    def __init__(
        self,
        folder: Path,
        lines: Sequence[PromptLine],
        images: Sequence[str],
        templates: Sequence[Request],
        limits: Limits,
        engine: str,
        answers: Answers,
        focus: Focus,
    ) -> None:
        self.items: tuple[Item, ...] = items_of(lines, images)
        self.failed: dict[int, VisualizerError] = {}
        self._folder, self._lines, self._templates, self._answers = folder, lines, templates, answers
        self._focus = focus
        self._digests = [f"{engine} {digest(template)} {focus.given}" for template in templates]
        self._limits = limits
        self._names: dict[int, str] = {}
        self._begun: dict[str, int] = {}
        self._saver = ThreadPoolExecutor(max_workers=1, thread_name_prefix="save")
        self._unsaved: deque[tuple[Job, Future[None]]] = deque()
        self._engine_errors, self._saving_errors = _InARow(), _InARow()

    @property
    def done(self) -> int:
        """How many items are there."""
        return sum(self._answers.known(name) for index, name in self._names.items() if index not in self.failed)

    def look(self) -> list[int]:
        """Look up which items are there, opening only images that a file is named after.

        Returns:
            Indices of the others.
        """
        stems = self._answers.stems()
        there: set[int] = set()
        for image, indices in self._by_image(range(len(self.items))):
            if safe_stem(image) not in stems:
                continue
            try:
                content = read_image(self._folder, image, self._limits)
            except VisualizerError:
                continue  # said when its turn comes
            for index in indices:
                with suppress(VisualizerError):  # the same
                    self._name(index, content)
            here = [index for index in indices if self._answers.has(self._names.get(index, ""))]
            there.update(here)
            for index in here:
                self._measure(index)
        return [index for index in range(len(self.items)) if index not in there]

    def run(self, backend: Backend, todo: Iterable[int], bar: ProgressBar) -> None:
        """Answer the items `todo`, and save each answer as it comes; once in the life of a batch.

        Raises:
            VisualizerError: the last of `ENOUGH` in a row that are not the items' own.
            InputError: an answer cannot be saved.
        """
        jobs = self._jobs(todo, bar)
        with self._saver:  # left only when every answer that came is saved, also after Ctrl-C
            while not self._answer(backend, jobs, bar):
                pass
            self._wait_until_saved(0, bar)

    def rows(self) -> Iterator[Row]:
        """The summary's rows of the items that are there or failed, read one item at a time."""
        for index, item in enumerate(self.items):
            line, name = self._lines[item.line], self._names.get(index, "")
            about: dict[str, Cell] = {"item": index + 1, "id": line.label}
            about |= {"image": shown(item.image), "prompt": str(line.prompt), "focus": self._focus.given}
            if line.target:  # which lies on the last of several images
                about["target_image"] = shown((item.image, *line.more_images)[-1])
            if self._answers.known(name) and index not in self.failed:
                for measures in self._answers.measures(name, line.target):
                    yield {**about, **measures, "file": name}
                continue
            error = self.failed.get(index) or self.failed.get(self._begun.get(name, index))
            if error is not None:
                for adapter in self._templates[item.line].adapters:
                    yield {**about, "adapter": adapter or "base", "error": error.code, "message": str(error)}

    def _measure(self, index: int) -> None:
        """Measure in the target of an item that is there; one whose target misses its photo fails."""
        target = self._lines[self.items[index].line].target
        try:
            if target:
                self._answers.measures(self._names[index], target)
        except VisualizerError as error:
            self.failed[index] = error

    def _by_image(self, indices: Iterable[int]) -> Iterator[tuple[str, list[int]]]:
        for image, group in groupby(indices, key=lambda index: self.items[index].image):
            yield image, list(group)

    def _name(self, index: int, content: bytes) -> None:
        """Name an item's file after all of its images.

        Raises:
            ImageError: one after the first cannot be read.
        """
        item = self.items[index]
        more = [read_image(self._folder, name, self._limits) for name in self._lines[item.line].more_images]
        self._names[index] = file_name(item.image, b"\0".join((content, *more)), self._digests[item.line])

    def _jobs(self, todo: Iterable[int], bar: ProgressBar) -> Iterator[tuple[Job, Request]]:
        """Open one image after another, as they are asked for; one that cannot be opened fails here."""
        for image, indices in self._by_image(todo):
            try:
                content = read_image(self._folder, image, self._limits)
                photo = decode_photo(content, self._limits)
            except VisualizerError as error:
                for index in indices:
                    self._fail(index, error, bar)
                continue
            for index in indices:
                line = self._lines[self.items[index].line]
                try:
                    self._name(index, content)
                    photos = (photo, *map(self._photo, line.more_images))
                    line.target.check(photos[-1].size)
                except VisualizerError as error:
                    self._fail(index, error, bar)
                    continue
                name = self._names[index]
                if self._begun.setdefault(name, index) != index:
                    bar.step()  # the same image and words again: the same answer
                    continue
                template = self._templates[self.items[index].line]
                yield Job(index, name), replace(template, image=photo, more_images=photos[1:])

    def _photo(self, image: str) -> Photo:
        return decode_photo(read_image(self._folder, image, self._limits), self._limits)

    def _answer(self, backend: Backend, jobs: Iterator[tuple[Job, Request]], bar: ProgressBar) -> bool:
        """Answer until the jobs are used up (True), or until an error that is a bug took those under way (False)."""
        under_way: dict[int, Job] = {}

        def requests() -> Iterator[Request]:
            for index, (job, request) in enumerate(jobs):
                under_way[index] = job
                yield request

        try:
            with closing(self._outcomes(backend, requests())) as outcomes:
                for index, outcome in outcomes:
                    self._settle(under_way[index], outcome, bar)
                    del under_way[index]
        except VisualizerError:
            raise
        except Exception as error:  # noqa: BLE001 - one item's bug must not cost the night; its traceback is logged
            bug = _unexpected(error)
            for job in under_way.values():
                self._fail(job.index, bug, bar)
            self._engine_errors.add(bug)
            return False
        return True

    def _outcomes(self, backend: Backend, requests: Iterable[Request]) -> Outcomes:
        if self._focus.given == "first":  # which is known before the answer is
            return backend.compare_many(replace(request, focus="first") for request in requests)
        return compare_at(backend, requests, self._focus)

    def _settle(self, job: Job, outcome: Comparison | VisualizerError, bar: ProgressBar) -> None:
        if isinstance(outcome, Comparison) and outcome.model.version != VERSION:
            outcome = _other_version(outcome.model.version)
        if isinstance(outcome, Comparison):
            self._engine_errors.end()
            self._wait_until_saved(UNSAVED - 1, bar)
            self._unsaved.append((job, self._saver.submit(self._save, job, outcome, bar)))
            return
        self._fail(job.index, outcome, bar)
        if isinstance(outcome, _OF_ENGINE) and not isinstance(outcome, ResultSizeError):
            self._engine_errors.add(outcome)
        else:
            self._engine_errors.end()

    def _save(self, job: Job, comparison: Comparison, bar: ProgressBar) -> None:
        self._answers.keep(job.name, comparison, self._lines[self.items[job.index].line].target)
        bar.step()

    def _wait_until_saved(self, most: int, bar: ProgressBar) -> None:
        """Wait until at most `most` answers are not saved yet, and look at what became of the others.

        Raises:
            InputError: one cannot be saved.
            UnexpectedError: the last of `ENOUGH` bugs in a row.
        """
        while self._unsaved and (len(self._unsaved) > most or self._unsaved[0][1].done()):
            job, saved = self._unsaved.popleft()
            try:
                saved.result()
                self._saving_errors.end()
            except VisualizerError:
                raise
            except Exception as error:  # noqa: BLE001 - the same
                bug = _unexpected(error)
                self._fail(job.index, bug, bar)
                self._saving_errors.add(bug)

    def _fail(self, index: int, error: VisualizerError, bar: ProgressBar) -> None:
        self.failed[index] = error
        bar.step(failed=True)


def _unexpected(error: Exception) -> UnexpectedError:
    _log.error("an item failed", exc_info=error)
    return UnexpectedError(hint="Its class and places are on stderr.")


def _other_version(version: str) -> VersionMismatchError:
    return VersionMismatchError(
        f"Version {version[:40]} of this tool answered; here runs {VERSION}.", "Deploy again, or update this package."
    )
