"""Python runs this first in every container: the repository's modules exist there only where they were mounted.

The interpreter's environment may hold an editable or plain install of the repository itself. Its modules are looked
for in the container's own folders alone, before any other finder is asked: the finder of an editable install would
answer for a submodule that was not mounted.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

REPOSITORY = Path(os.environ["STAND_IN_REPOSITORY"])
NAMES = {path.stem for path in REPOSITORY.glob("*.py")} | {path.parent.name for path in REPOSITORY.glob("*/*.py")}


class MountedOnly(MetaPathFinder):
    """Finds the repository's modules in the mounted folders or nowhere."""

    def __init__(self, folders: list[str]) -> None:
        self.folders = folders

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in NAMES:
            return None
        spec = PathFinder.find_spec(fullname, self.folders if path is None else path)
        if spec is None:
            raise ModuleNotFoundError(f"'{fullname}' is not mounted in this container", name=fullname)
        return spec


sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != REPOSITORY]
sys.meta_path.insert(0, MountedOnly([entry for entry in os.environ["PYTHONPATH"].split(os.pathsep)[1:] if entry]))
