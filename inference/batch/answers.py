"""What a batch has: one file per answer, whole or not at all; notes of what was measured on each; the summary of all.

A file counts as there when it loads. Reading thousands of them at every start and for every summary would take hours,
so what was measured is noted in `<folder>/.measured.jsonl`, with the file's size and time; a file that has no note, or
another size or time than its note says, is read again. The notes may be deleted at any time.
"""

import csv
import json
import os
import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from inference.batch.measures import Cell, Row, measured
from inference.batch.target import NOWHERE, Target
from inference.errors import InputError, VisualizerError
from inference.records import Comparison

#: Columns of the summary, explained in `inference.batch`.
COLUMNS = (
    *("item", "id", "image", "prompt", "adapter", "answer", "replayed", "replayed_tokens", "logprob"),
    *("focus", "focus_tokens", "focus_text", "said"),
    *("image_share", "effective_cells", "cells", "js_mean", "js_max", "js_layer", "js_head"),
    *("box", "box_share", "box_change", "box_ratio", "box_hits", "box_share_max", "box_layer", "box_head"),
    "said_in_box",
    *("file", "seconds", "notes", "error", "message"),
)
_NOTES = ".measured.jsonl"
#: To be raised when a measure begins to mean something else: notes with another number are made again.
_MEASURES = 5
_LINE_ENDS = re.compile("[\x7f-\x9f\u2028\u2029]")
#: A spreadsheet reads a cell that begins so as a formula; some skip what is blank before it.
_FORMULA = ("=", "+", "-", "@")
_BLANKS = " \t\r\n\v\f\x00\u200b\u2060\ufeff"
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but the tab and the line's end, which cells may hold


class Answers:
    """The files of one folder, of which only one `Answers` may write at a time (see `only_run`).

    Args:
        folder: exists; what a killed run left half written is deleted.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._there: set[str] = set()
        self._reading_or_writing = threading.Lock()  # of the notes, which have one position
        try:
            for half in folder.glob(".*.part"):
                half.unlink()
            self._notes = (folder / _NOTES).open("a+b")
        except OSError as error:
            raise _cannot_write(folder, error) from error
        self._noted = dict(self._read_notes())

    def close(self) -> None:
        """Close the notes."""
        self._notes.close()

    def stems(self) -> frozenset[str]:
        """What the files' names begin with, see `inference.batch.items.safe_stem`."""
        return frozenset(path.name.rpartition("-")[0] for path in self.folder.glob("*.npz"))

    def has(self, name: str) -> bool:
        """Whether the file is there and loads; then it is `known`."""
        path = self.folder / name
        try:
            state = path.stat()
        except OSError:
            return False
        if self._noted.get((name, ""), (0,))[1:] != (state.st_size, state.st_mtime_ns):
            try:
                self._note(name, measured(Comparison.load(path)))
            except VisualizerError:
                return False
        self._there.add(name)
        return True

    def known(self, name: str) -> bool:
        """Whether `has` or `keep` has seen that the file is whole."""
        return name in self._there

    def keep(self, name: str, comparison: Comparison, target: Target = NOWHERE) -> None:
        """Save an answer: the file has its name only when it is whole. May run in a thread, one call at a time.

        Args:
            name: of its file.
            comparison: the answer.
            target: what its item measures in; noted so that the file need not be read again.

        Raises:
            InputError: it cannot be written, or the target misses the photo.
        """
        rows, in_target = measured(comparison), measured(comparison, target) if target else None
        with whole_file(self.folder / name) as part:
            comparison.save(part)
        self._note(name, rows)
        if in_target is not None:
            self._note(name, in_target, target.text)
        self._there.add(name)

    def measures(self, name: str, target: Target = NOWHERE) -> list[Row]:
        """What was measured on a known file, a row per variant in the order of the request.

        Args:
            name: of the file.
            target: what its item measures in; the file is read again where that is not noted yet.

        Raises:
            InputError: the file cannot be read any more, or the target misses the photo.
        """
        box = target.text
        if self._noted.get((name, box), (0,))[1:] != self._noted[name, ""][1:]:
            self._note(name, measured(Comparison.load(self.folder / name), target), box)
        with self._reading_or_writing:
            self._notes.seek(self._noted[name, box][0])
            line = self._notes.readline()
        rows: list[Row] = json.loads(line)["rows"]
        return rows

    def _note(self, name: str, rows: list[Row], box: str = "") -> None:
        state = (self.folder / name).stat()
        note = {"measures": _MEASURES, "file": name, "box": box, "size": state.st_size, "time": state.st_mtime_ns}
        note["rows"] = rows
        try:
            with self._reading_or_writing:
                place = self._notes.seek(0, os.SEEK_END)
                self._notes.write(json.dumps(note).encode() + b"\n")
                self._notes.flush()
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self._noted[name, box] = (place, state.st_size, state.st_mtime_ns)

    def _read_notes(self) -> Iterator[tuple[tuple[str, str], tuple[int, int, int]]]:
        """(file name, its boxes) and (place of its note, size, time in ns); a later note replaces an earlier one."""
        self._notes.seek(0)
        place, row = 0, b"\n"
        for row in self._notes:
            try:
                note = json.loads(row)
                if note["measures"] == _MEASURES:
                    yield (note["file"], note["box"]), (place, note["size"], note["time"])
            except (ValueError, LookupError, TypeError):
                pass  # cut off by a kill: the file is read again
            place += len(row)
        if not row.endswith(b"\n"):
            self._notes.write(b"\n")


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Make the folder, and keep a second run out of it until this one ends, however it ends.

    Raises:
        InputError: another run is writing there, or the folder cannot be made.
    """
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"Another run is writing to {str(folder)!r}.", "Wait until it ends, or choose another --out."
        ) from error
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to; it gets the name `path` only when the block ends well.

    Raises:
        InputError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise _cannot_write(path.parent, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_summary(folder: Path, rows: Iterable[Row]) -> None:
    """Write `summary.csv` and `summary.jsonl`, both whole or not at all, row by row.

    Raises:
        InputError: they cannot be written.
    """
    with (
        whole_file(folder / "summary.csv") as table_part,
        whole_file(folder / "summary.jsonl") as lines_part,
        table_part.open("w", encoding="utf-8", newline="") as table,
        lines_part.open("w", encoding="utf-8", newline="\n") as lines,
    ):
        writer = csv.DictWriter(table, COLUMNS)
        writer.writeheader()
        for row in rows:
            whole = {column: row.get(column) for column in COLUMNS}
            writer.writerow({column: harmless(cell) for column, cell in whole.items()})
            lines.write(_json_line(whole))


def _json_line(row: Row) -> str:
    """One line however it is read: U+2028 and the like, which also end lines for some readers, are escaped."""
    text = json.dumps(row, ensure_ascii=False)
    return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def harmless(cell: Cell) -> Cell:
    """A stranger's text as a cell that no spreadsheet runs and no terminal obeys.

    A formula is one also behind blanks or a byte order mark, and in fullwidth letters, which some programs read as
    plain ones; such a cell begins with an apostrophe. Control characters are written as escapes.
    """
    if not isinstance(cell, str):
        return cell
    text = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", cell)
    start = unicodedata.normalize("NFKC", cell).lstrip(_BLANKS)
    return f"'{text}" if start.startswith(_FORMULA) or cell.startswith(("\t", "\r", "\n")) else text


def _cannot_write(folder: Path, error: OSError) -> InputError:
    return InputError(f"{str(folder)!r} cannot be written to: {error.strerror or error}.", "Choose another --out.")
