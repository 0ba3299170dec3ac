"""Find the folders that are adapters below a folder, and say of the others why they are none; it opens no file.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors`, as PEFT saves it. A folder with
`checkpoint-100`, `checkpoint-200`, … (as `transformers.Trainer`, LLaMA-Factory and ms-swift leave it) is a family of
adapters in step order; what lies beside the checkpoints is the finished adapter. Hidden folders are not looked into.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
ADAPTER_PICKLES = ("adapter_model.bin", "adapter_model.pt")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})")
#: LLaMA-Factory's saves/MODEL/lora/sft/checkpoint-N are 4 below the folder that is given.
MAX_DEPTH = 5
MAX_FOLDERS = 1_000

_NOTHING = "holds no adapter, nor do the folders in it"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A folder that was looked at and is no adapter: its path below the adapters folder, and why."""

    path_name: str
    reason: str


@dataclass(slots=True)
class Search:
    """What was found below a folder: folders of adapters or families, in order, and what was skipped."""

    root: Path
    places: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    looked_at: int = 0


def search_adapters(root: Path) -> Search:
    """Look for adapters in a folder and, bounded in depth and number, in the folders below it."""
    search = Search(root)
    if is_place(root):
        search.places.append(root)
    _look_into(search, root, 1)
    return search


def is_place(folder: Path) -> bool:
    """Whether a folder is an adapter or a family."""
    return holds_adapter(folder) or bool(checkpoints(folder))


def holds_adapter(folder: Path) -> bool:
    """Whether a folder has a file that only adapters have; whether it may be used is not asked."""
    return any((folder / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE, *ADAPTER_PICKLES))


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of `checkpoint-N` sub-folders that hold an adapter, in step order."""
    matches = [(_CHECKPOINT.fullmatch(path.name), path) for path in _folders(folder)]
    return sorted((int(match[1]), path) for match, path in matches if match and holds_adapter(path))


def _look_into(search: Search, folder: Path, depth: int) -> None:
    """Look at the sub-folders of one folder, and below them."""
    inside_place = folder in search.places
    for child in _folders(folder):
        is_checkpoint = _CHECKPOINT.fullmatch(child.name) is not None
        if is_checkpoint and inside_place and holds_adapter(child):
            continue  # it comes with its family
        search.looked_at += 1
        if search.looked_at > MAX_FOLDERS:
            _skip(search, child, f"more than {MAX_FOLDERS:,} folders: this one and those after it are not looked at")
            return
        if is_place(child):
            search.places.append(child)
            _look_into(search, child, depth + 1)
        elif inside_place and not is_checkpoint:
            _look_below(search, child, depth, quiet=True)
        else:
            _look_below(search, child, depth, quiet=False)


def _look_below(search: Search, folder: Path, depth: int, *, quiet: bool) -> None:
    """Look below a folder that is no adapter itself; `quiet` where it lies in one, with its logs and the like."""
    reason = _reason(folder)
    if reason is None and depth == MAX_DEPTH:
        reason = f"lies {MAX_DEPTH} folders deep: what is below it is not looked at"
    if reason is not None:
        if not quiet:
            _skip(search, folder, reason)
        return
    places, skipped = len(search.places), len(search.skipped)
    _look_into(search, folder, depth + 1)
    noted = search.skipped[skipped:]
    if len(search.places) == places and all(entry.reason == _NOTHING for entry in noted):
        del search.skipped[skipped:]  # one line for the folder, not one for each below it
        if not quiet:
            _skip(search, folder, _NOTHING)


def _skip(search: Search, folder: Path, reason: str) -> None:
    search.skipped.append(Skipped(*map(_sendable, (folder.relative_to(search.root).as_posix(), reason))))


def _sendable(name: str) -> str:
    """A file's name as text that can be sent and logged: bytes that are none, and what steers a terminal, are `�`."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _reason(folder: Path) -> str | None:
    """Why a folder is no adapter, in words that follow its name; None where what lies below it must tell."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        return f"cannot be read ({type(error).__name__})"
    files = sorted(path.name for path in entries if path.is_file())
    tensors = [name for name in files if name.endswith(".safetensors")]
    pickles = [name for name in files if name.endswith(_PICKLES)]
    if "config.json" in files and (tensors or pickles):
        return "holds a whole model, not an adapter: give it to --model"
    if pickles and not tensors:
        return f"holds only pickles ({pickles[0][:60]}), which can run code and are not opened"
    if tensors:
        return f"holds {tensors[0][:60]} without an {CONFIG_FILE}"
    if not entries:
        return "is empty"
    return None if any(path.is_dir() for path in entries) else _NOTHING


def _folders(folder: Path) -> list[Path]:
    """Sub-folders by name, but for hidden ones; none where the folder cannot be read, of which `_reason` tells."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
