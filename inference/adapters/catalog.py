"""Which adapters exist: the operator's, those of the adapters folder, the embedded model's own; it loads none of them.

Whoever asks asks the same catalogue: it looks again when it is told to, says what each adapter's files say, and tells
when they were replaced.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from inference.adapters.files import (
    AdapterFiles,
    AdapterSource,
    content_digests,
    file_state,
    folder_of,
    read_adapter,
    without_files,
)
from inference.adapters.search import Skipped, checkpoints, holds_adapter, search_adapters
from inference.descriptions import AdapterInfo, check_adapter_name
from inference.errors import AdapterRefusedError, InputError, UnknownAdapterError
from inference.named_adapters import named_adapters
from inference.resolve_model import resolve_model
from inference.settings import Settings

_logger = logging.getLogger(__name__)


class AdapterCatalog:
    """The adapters on offer, by name, families in step order.

    Args:
        named: name → folder or Hub id, as the operator gave them; a folder may be a family.
        adapters_dir: folder below which adapters are looked for; or itself an adapter or a family.
        model: the base model they are for; the embedded one brings its own.
        mounted: whether the files lie on a volume that each machine mounts anew: then their inodes and times of change
            are the mount's and say nothing of the files.

    Raises:
        InputError: a name in `named` that is not a plain label, or an adapters folder that is not there.
    """

    def __init__(
        self,
        named: Mapping[str, str | Path] | None = None,
        adapters_dir: Path | None = None,
        *,
        model: str = "",
        mounted: bool = False,
    ) -> None:
        self._named = {check_adapter_name(name): str(location) for name, location in (named or {}).items()}
        self._adapters_dir = adapters_dir
        self._model = resolve_model(model)
        self._mounted = mounted
        self._descriptions: Mapping[str, str] = {}
        if self._model.is_demo:
            from inference.demo import ADAPTER_DESCRIPTIONS, ADAPTERS_DIR

            self._descriptions = ADAPTER_DESCRIPTIONS
            self._named = {name: str(ADAPTERS_DIR / name) for name in ADAPTER_DESCRIPTIONS} | self._named
        self._known: dict[AdapterSource, tuple[tuple[int, ...], AdapterInfo]] = {}
        self._sources: dict[str, AdapterSource] = {}
        self._skipped: tuple[Skipped, ...] = ()
        self.refresh()

    @classmethod
    def from_settings(
        cls, settings: Settings, named: Mapping[str, str] | None = None, *, mounted: bool = False
    ) -> "AdapterCatalog":
        """The catalogue that settings describe; `named` are more adapters, which win over those of the settings.

        Raises:
            InputError: see the class.
        """
        folder = Path(settings.adapters_dir) if settings.adapters_dir else None
        both = named_adapters(settings.adapter) | dict(named or {})
        return cls(both, folder, model=settings.base_model, mounted=mounted)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters on offer, also of those that cannot be used."""
        return tuple(self._sources)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The folders of the adapters folder that are no adapters, and why."""
        return self._skipped

    def refresh(self) -> None:
        """Look again at what is there.

        Raises:
            InputError: the adapters folder is not there (any more).
        """
        found: dict[str, AdapterSource] = {}
        for name, location in self._named.items():
            _enter(found, name, Path(location), location)
        skipped: tuple[Skipped, ...] = ()
        root = self._adapters_dir
        if root is not None:
            if not root.is_dir():
                raise InputError(f"The adapters folder {root.name!r} is not a folder.", "Check --adapters-dir.")
            search = search_adapters(root)
            for place in search.places:
                parts = place.relative_to(root).parts or (root.name,)
                _enter(found, "-".join(parts), place, str(place), "/".join(parts))
            skipped = tuple(search.skipped)
        for entry in set(skipped) - set(self._skipped):
            _logger.info("below the adapters folder, %r %s", entry.path_name, entry.reason)
        described = {
            name: replace(source, description=self._descriptions.get(name, "")) for name, source in found.items()
        }
        self._sources, self._skipped = described, skipped

    def files(self, name: str) -> AdapterFiles:
        """Read an adapter's config and the header of its weights, and check them.

        Raises:
            UnknownAdapterError: not on offer.
            AdapterRefusedError: see `read_adapter`.
        """
        source = self._sources.get(name)
        if source is None:
            offered = ", ".join(self._sources) or "none"
            raise UnknownAdapterError(f"There is no adapter {name!r}.", f"Adapters on offer: {offered}.")
        return read_adapter(source)

    def is_current(self, name: str, files: AdapterFiles) -> bool:
        """Whether an adapter's files are still those that were read."""
        source = self._sources.get(name)
        if source is None:
            return False
        try:
            folder = folder_of(source)
        except AdapterRefusedError:
            return False
        return folder == files.weights.parent and self._of_files(file_state(folder)) == self._of_files(files.state)

    def content_digests(self, name: str) -> tuple[str, str]:
        """SHA-256 of an adapter's config and of its weights, as hexadecimal digits; raises what `files` raises."""
        return content_digests(self.files(name))

    def describe(self) -> tuple[AdapterInfo, ...]:
        """Say what each adapter is, and what was skipped.

        One that cannot be used has kind "unusable", a folder that is no adapter kind "skipped"; both say why in
        `notes`. One whose files name another base model says so in `notes`.
        """
        sources, skipped = self._sources, self._skipped
        infos = tuple(self._info(source) for source in sources.values())
        return infos + tuple(
            without_files(AdapterSource(entry.path_name, ""), "skipped", f"{entry.path_name!r} {entry.reason}.")
            for entry in skipped
        )

    def _info(self, source: AdapterSource) -> AdapterInfo:
        try:
            state = file_state(folder_of(source))
            kept = self._known.get(source)
            if kept is not None and state and kept[0] == state:
                return kept[1]
            files = read_adapter(source)
        except AdapterRefusedError as error:
            return without_files(source, "unusable", str(error))
        except Exception as error:
            _logger.exception("adapter %r cannot be described", source.name)
            return without_files(source, "unusable", f"Its files cannot be read ({type(error).__name__}).")
        info = replace(files.info, stamp=self._stamp(files))
        own = self._model.id.rpartition("/")[2].lower()
        if info.base_model and info.base_model.rstrip("/").rpartition("/")[2].lower() != own:
            note = f"Its files name another base model: {info.base_model[:200]}."
            info = replace(info, notes=(*info.notes, note))
        self._known[source] = (files.state, info)
        return info

    def _stamp(self, files: AdapterFiles) -> str:
        return hashlib.sha256(repr((files.weights, self._of_files(files.state))).encode()).hexdigest()[:16]

    def _of_files(self, state: tuple[int, ...]) -> tuple[int, ...]:
        """What of a state the files themselves decide: all of it, or sizes and mtimes, see `mounted`."""
        return state[0::4] + state[1::4] if self._mounted else state


def _enter(found: dict[str, AdapterSource], name: str, folder: Path, location: str, path_name: str = "") -> None:
    """Enter the adapters of one place under names that are free: a family's steps in order, then what is finished."""
    steps = checkpoints(folder)
    entries: list[tuple[str, str, int | None]] = [(f"{name}-{path.name}", str(path), step) for step, path in steps]
    if not steps or holds_adapter(folder):
        entries.append((name, location, None))
    family = _plain(name, location) if steps else ""
    for wanted, place, step in entries:
        label = _free(wanted, place, found)
        note = f"Its folder is {path_name!r}." if label != wanted or path_name not in ("", name) else ""
        found[label] = AdapterSource(label, place, family=family, step=step, note=note if path_name else "")


def _free(wanted: str, location: str, found: Mapping[str, AdapterSource]) -> str:
    """A plain label that no other adapter has: `wanted` where it is one, else with a digest of the place."""
    label = _plain(wanted, location)
    return label if label not in found else _with_digest(label, location)


def _plain(wanted: str, location: str) -> str:
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-._")
    try:
        return check_adapter_name(label)
    except InputError:  # empty, too long or reserved
        return _with_digest(label, location)


def _with_digest(label: str, location: str) -> str:
    digest = hashlib.sha256(location.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return "-".join(filter(None, [label[:56].strip("-._"), digest]))
