"""What is stored of a volume, what containers see of it, and when the one becomes the other; it knows no RPC."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

States = dict[str, str]  # path in the volume -> a text that changes with what lies there


class Volume:
    """One volume as two folders, which differ until a container reloads or commits.

    `committed` is what clients put, list, get and remove. `mounted` is where mount paths lead: what was committed
    appears there when a container starts or reloads, what containers write leaves it when one of them commits, and what
    nobody has committed stays. On Modal each container has a view of its own; here all share one, so a start, a reload
    or a write of one is seen by the others. Whoever wants to see a missing reload keeps to one container, and whoever
    wants to see a missing commit looks as a client.
    """

    def __init__(self, root: Path) -> None:
        self.committed, self.mounted, self._half = root / "committed", root / "mounted", root / "half"
        self.committed.mkdir(parents=True)
        self.mounted.mkdir()
        self._carried: States = {}  # what was last carried over, in either direction

    def reload(self) -> None:
        """Show containers what clients have put, changed and removed."""
        self._carry_over(self.committed, self.mounted)

    def commit(self) -> None:
        """Store what containers have written, changed and removed."""
        self._carry_over(self.mounted, self.committed)

    def held_by(self, session: int) -> str:
        """A path in the volume that a process of the session has open, mapped or as its working folder; or ""."""
        for process in Path("/proc").glob("[1-9]*"):
            with suppress(FileNotFoundError, PermissionError, ProcessLookupError):  # it is ending, or is not ours
                if os.getsid(int(process.name)) == session:
                    for path in _held(process):
                        if path.is_relative_to(self.mounted):
                            return path.relative_to(self.mounted).as_posix()
        return ""

    def _carry_over(self, source: Path, target: Path) -> None:
        """Do to the target what was done to the source since; what is the same stays, with its time and open files.

        What both sides have changed is the source's afterwards: on Modal, too, the last writer wins.
        """
        before, now = self._carried, _states(source)
        for name in sorted(before.keys() - now.keys(), reverse=True):  # what lies in a folder, then the folder
            _remove(target / name)
        for name in sorted(name for name, state in now.items() if before.get(name) != state):  # the other way round
            with suppress(FileNotFoundError):  # gone meanwhile
                self._copy(source / name, target / name)
        self._carried = now

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir() and not source.is_symlink():
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(source, self._half, follow_symlinks=False)  # with its time
            self._half.replace(target)  # whoever has the old file open keeps it


def _states(root: Path) -> States:
    found: States = {}
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):  # gone meanwhile
            stat = path.lstat()
            folder = path.is_dir() and not path.is_symlink()
            found[path.relative_to(root).as_posix()] = "folder" if folder else f"{stat.st_size} {stat.st_mtime_ns}"
    return found


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    elif not any(path.iterdir()):  # else something new lies in it
        path.rmdir()


def _held(process: Path) -> Iterator[Path]:
    for link in (process / "cwd", *(process / "fd").iterdir()):
        with suppress(FileNotFoundError):  # closed meanwhile
            yield link.readlink()
    for line in (process / "maps").read_text().splitlines():
        yield Path(line.split(maxsplit=5)[-1])
