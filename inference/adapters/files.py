"""What an adapter's files say, and whether they may be loaded by what they say; it touches no model.

Files are input from strangers: nothing is unpickled, and of the weights only the header is read here.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from inference.adapters.kinds import refuse_untrue_kinds
from inference.adapters.layout import current_keys, module_of, note
from inference.adapters.search import ADAPTER_PICKLES, CONFIG_FILE, WEIGHTS_FILE
from inference.descriptions import AdapterInfo
from inference.errors import AdapterRefusedError

#: Of an adapter's config, and of its weights: rank 256 on every matrix of a 32B model takes 8 GB in float32.
MOST_CONFIG_BYTES, MOST_WEIGHTS_BYTES = 2**20, 16 * 2**30


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """Where an adapter comes from (a folder or a Hub id), what is known of it before it is opened, and its family."""

    name: str
    location: str
    description: str = ""
    family: str = ""
    step: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """The two files of an adapter, its parsed config, its keys, and what they say.

    Attributes:
        keys: each key that the file holds, as it is written today; see `layout.py`.
        state: what the file system said of both files before they were read; see `file_state`.
    """

    weights: Path
    config: Mapping[str, Any]
    keys: Mapping[str, str]
    info: AdapterInfo
    state: tuple[int, ...]


def read_adapter(source: AdapterSource) -> AdapterFiles:
    """Read and check an adapter's config and the header of its weights.

    Raises:
        AdapterRefusedError: files that are missing, damaged or pickled, or a kind whose picture would be untrue.
    """
    folder = folder_of(source)
    state = file_state(folder)
    config = _config(source.name, folder)
    weights = folder / WEIGHTS_FILE
    _check_file(source.name, weights, MOST_WEIGHTS_BYTES)
    if not weights.is_file():
        pickled = next((name for name in ADAPTER_PICKLES if (folder / name).is_file()), None)
        if pickled:
            raise AdapterRefusedError(
                f"Adapter {source.name!r} has only a pickle ({pickled}); pickles can run code and are not opened.",
                "Save it again with save_pretrained(safe_serialization=True).",
            )
        raise AdapterRefusedError(f"Adapter {source.name!r} has no {WEIGHTS_FILE}.", "Is this the folder PEFT saved?")
    try:
        with safe_open(weights, framework="numpy") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise AdapterRefusedError(
            f"Adapter {source.name!r}: {WEIGHTS_FILE} is damaged or not a safetensors file.", "Copy it again."
        ) from error
    refuse_untrue_kinds(source.name, config)
    try:
        keys = current_keys(shapes)
    except ValueError as error:
        raise AdapterRefusedError(
            f"Adapter {source.name!r} is in the layout of an older tool that does not map one to one: {error}.",
            "Load it with the tool that made it and save it with PEFT's save_pretrained.",
        ) from error
    return AdapterFiles(weights, config, keys, _describe(source, config, shapes, keys), state)


def _check_file(name: str, path: Path, most: int) -> None:
    """Pass a regular file that lies in its folder and is not too large; a missing one is another matter.

    A pipe would be waited for, a device read for ever, a link would read what the folder's owner does not own. The
    Hub's cache links a snapshot's files to `blobs` beside `snapshots`.

    Raises:
        AdapterRefusedError: anything else.
    """
    try:
        found = path.stat()
        target, folder = path.resolve(), path.parent.resolve()
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:  # a link to itself
        raise AdapterRefusedError(
            f"Adapter {name!r}: {path.name} cannot be read ({type(error).__name__}).", "Copy it again."
        ) from error
    blobs = folder.parent.parent / "blobs"
    if not stat.S_ISREG(found.st_mode) or not (target.is_relative_to(folder) or target.parent == blobs):
        raise AdapterRefusedError(
            f"Adapter {name!r}: {path.name} is no plain file of its folder.", "Copy the file itself, not a link to it."
        )
    if found.st_size > most:
        raise AdapterRefusedError(
            f"Adapter {name!r}: {path.name} has {found.st_size:,} bytes; at most {most:,} are read.",
            "Is this the folder PEFT saved?",
        )


def folder_of(source: AdapterSource) -> Path:
    """Where an adapter's files are; those of the Hub are fetched once.

    Raises:
        AdapterRefusedError: neither a folder nor to be had from the Hub.
    """
    folder = Path(source.location)
    if folder.is_dir():
        return folder
    try:
        return _from_hub(source.location)
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise AdapterRefusedError(
            f"Adapter {source.name!r} is no folder here, and the Hugging Face Hub does not give it "
            f"({type(error).__name__}).",
            "Check the id, the network and, for a private one, HF_TOKEN.",
        ) from error


def file_state(folder: Path) -> tuple[int, ...]:
    """What changes when an adapter's files are replaced, even by others of equal size and mtime; () where they lack.

    The inode is another when a file is moved over it, and no program can set the time of its last change (ctime).
    """
    try:
        states = [(folder / name).stat() for name in (CONFIG_FILE, WEIGHTS_FILE)]
    except OSError:
        return ()
    return tuple(
        value for state in states for value in (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    )


def content_digests(files: AdapterFiles) -> tuple[str, str]:
    """SHA-256 of the config and of the weights, as hexadecimal digits."""
    with files.weights.with_name(CONFIG_FILE).open("rb") as config, files.weights.open("rb") as weights:
        return hashlib.file_digest(config, "sha256").hexdigest(), hashlib.file_digest(weights, "sha256").hexdigest()


def without_files(source: AdapterSource, kind: str, reason: str) -> AdapterInfo:
    """Describe what cannot be used: kind "unusable", or "skipped" for a folder that is no adapter."""
    return AdapterInfo(
        name=source.name,
        description=source.description,
        kind=kind,
        rank=0,
        alpha=0.0,
        target_modules=(),
        touches_vision=False,
        parameters=0,
        base_model="",
        notes=(reason, *filter(None, [source.note])),
        family=source.family,
        step=source.step,
    )


@cache
def _from_hub(identifier: str) -> Path:
    """Fetch an adapter once per process (an exception is not kept); its files stay in the Hub's own cache."""
    return Path(snapshot_download(identifier, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))


def _config(name: str, folder: Path) -> dict[str, Any]:
    _check_file(name, folder / CONFIG_FILE, MOST_CONFIG_BYTES)
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        json.dumps(config, ensure_ascii=False).encode()  # half of a surrogate pair is no text, and cannot be sent
    except FileNotFoundError as error:
        raise AdapterRefusedError(
            f"Adapter {name!r} has no {CONFIG_FILE}.", "Is this the folder PEFT saved?"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterRefusedError(f"Adapter {name!r}: {CONFIG_FILE} is not valid JSON.", "Copy it again.") from error
    if not isinstance(config, dict):
        raise AdapterRefusedError(f"Adapter {name!r}: {CONFIG_FILE} is not a JSON object.", "Copy it again.")
    return config


def _describe(
    source: AdapterSource,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    keys: Mapping[str, str],
) -> AdapterInfo:
    modules = {module_of(key) for key in keys.values()}
    notes = []
    for option in ("rank_pattern", "alpha_pattern"):
        if config.get(option):
            notes.append(f"{option}: {json.dumps(config[option])[:200]}")
    if config.get("modules_to_save"):
        notes.append(f"Whole modules are replaced: {', '.join(map(str, config['modules_to_save']))[:200]}.")
    touches_vision = any("visual" in module.split(".") for module in modules)
    if touches_vision:
        notes.append("It also changes the vision tower: the image's own features differ from the base model's.")
    notes += filter(None, [note(keys), source.note])
    return AdapterInfo(
        name=source.name,
        description=source.description,
        kind="DoRA" if config.get("use_dora") else "rsLoRA" if config.get("use_rslora") else "LoRA",
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        target_modules=tuple(sorted({module.rpartition(".")[2] for module in modules})),
        touches_vision=touches_vision,
        parameters=sum(map(prod, shapes.values())),
        base_model=str(config.get("base_model_name_or_path") or ""),
        notes=tuple(notes),
        family=source.family,
        step=source.step,
    )
