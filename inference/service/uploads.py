"""Files that visitors uploaded through Gradio: whose they are, how many bytes of them lie here, and when they go.

No other file of this machine is opened for a visitor, and no file is deleted for one that did not come by an upload:
what the page ships lies in the same folder, under names that its own configuration tells everybody.
"""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import gradio as gr
from filelock import FileLock, Timeout
from gradio.utils import get_upload_folder

from inference.errors import InputError
from inference.settings import Limits

STALE = 600.0  # seconds after which no upload is written to any more
_NAME = "lora-attention-visualizer-"


class Uploads:
    """What visitors uploaded, bounded for each address and in all. Every method may be called from any thread.

    Whoever uploads more than an address may have loses the oldest of its own files; where all addresses together have
    more than is kept, the oldest of all goes. Whoever asks for one that went is told to choose it again.

    Args:
        limits: `uploaded_bytes`, `uploaded_files` and `all_uploaded_bytes`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shipped: frozenset[Path] = frozenset()
        self._files: OrderedDict[Path, tuple[str, int]] = OrderedDict()  # the oldest first: address and bytes
        self._lock = threading.Lock()

    def __contains__(self, path: Path) -> bool:
        return path in self._files

    @property
    def nbytes(self) -> int:
        """Bytes of all files that are here."""
        with self._lock:
            return sum(size for _, size in self._files.values())

    def ship(self, paths: Iterable[Path]) -> None:
        """Say which files in Gradio's folder are everybody's: nobody owns them, whoever uploads the same."""
        self._shipped = frozenset(path.resolve() for path in paths)

    def add(self, address: str, paths: Iterable[Path]) -> None:
        """Remember files that came by an upload, and delete what is too much now.

        Args:
            address: who sent them.
            paths: where they lie.
        """
        with self._lock:
            for path in list(self._files):
                if not path.exists():
                    del self._files[path]
            for path in {path.resolve() for path in paths} - self._shipped:
                with suppress(OSError):
                    self._files[path] = (address, path.stat().st_size)
                    self._files.move_to_end(path)
            own = [path for path, (owner, _) in self._files.items() if owner == address]
            self._shrink(own, self._limits.uploaded_bytes, self._limits.uploaded_files)
            self._shrink(list(self._files), self._limits.all_uploaded_bytes, len(self._files))

    def sweep(self) -> None:
        """Delete what uploads that failed left in this process's own folder; called in the event loop.

        Gradio writes to `tmp…` while an upload comes; one that is not open any more is nobody's. Where the system does
        not say which are open, those that are too old to be.
        """
        folder = Path(get_upload_folder())
        if not folder.name.startswith(_NAME):
            return  # others may keep files there
        opened = _open_files()
        for path in folder.glob("tmp*"):
            with suppress(OSError):
                left = time.time() - path.stat().st_mtime > STALE if opened is None else path.resolve() not in opened
                if left and path.is_file():
                    path.unlink()

    def _shrink(self, paths: list[Path], most_bytes: int, most_files: int) -> None:
        """Delete the first of `paths` until the others are within the bounds; the lock is held."""
        size = sum(self._files[path][1] for path in paths)
        for at, path in enumerate(paths):
            if size <= most_bytes and len(paths) - at <= most_files:
                return
            size -= self._files.pop(path)[1]
            path.unlink(missing_ok=True)


def uploaded(image: object) -> Path:
    """The file of a picture that came through Gradio's upload.

    Raises:
        InputError: no picture, or a file that is not there (any more).
    """
    given = image.get("path") if isinstance(image, Mapping) else None
    if not isinstance(given, str):
        raise InputError("There is no image yet.", "Drop one, paste one, or choose an example.")
    try:
        path = Path(given).resolve()
        known = path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file()
    except (OSError, ValueError):  # a name too long, a null in it
        known = False
    if not known:
        raise InputError("The image is no longer here.", "Choose it again.")
    return path


def address_of(request: gr.Request) -> str:
    """Who sent a request, for the rate limit."""
    return str(request.client.host) if request.client else "unknown"


def use_own_folder() -> Path:
    """Have Gradio keep files in a folder of this process alone, which goes when it ends.

    It lies where Gradio's lies (`GRADIO_TEMP_DIR`). Folders of processes that were killed go now: a lock beside each
    says whether its process still lives.

    Returns:
        The folder.
    """
    above = Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir(), "gradio"))
    above.mkdir(parents=True, exist_ok=True)
    for left in above.glob(_NAME + "*/"):
        with suppress(OSError, Timeout), FileLock(_lock_of(left), timeout=0):
            shutil.rmtree(left, ignore_errors=True)
            Path(_lock_of(left)).unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_NAME, dir=above))
    lock = FileLock(_lock_of(folder))
    lock.acquire()

    def leave() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        Path(_lock_of(folder)).unlink(missing_ok=True)

    atexit.register(leave)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    return folder


def _open_files() -> set[Path] | None:
    """The files that this process has open; None where the system does not say (it does on Linux)."""
    try:
        opened = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    found = set()
    for each in opened:
        with suppress(OSError):  # closed meanwhile
            found.add(each.readlink())
    return found


def _lock_of(folder: Path) -> str:
    return f"{folder}.lock"
