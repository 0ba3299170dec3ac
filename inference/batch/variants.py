"""Whom a batch asks beside base: named adapters, or all of the adapters folder; and what identifies them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inference.adapters.catalog import AdapterCatalog
from inference.descriptions import AdapterInfo, ModelInfo
from inference.errors import AdapterRefusedError, InputError, UnknownAdapterError
from inference.resolve_model import resolve_model
from inference.settings import Settings


def named_variants(names: Sequence[str], offered: Sequence[AdapterInfo]) -> tuple[AdapterInfo, ...]:
    """The adapters of these names; a name that only a family has stands for its steps, in order.

    Raises:
        UnknownAdapterError: no adapter or family is called so.
        AdapterRefusedError: it cannot be used.
    """
    chosen: list[AdapterInfo] = []
    for name in names:
        found = [info for info in offered if info.name == name] or [info for info in offered if info.family == name]
        if not found:
            known = ", ".join(info.name for info in offered) or "none"
            raise UnknownAdapterError(f"No adapter is called {name!r}; on offer: {known}.", "Or give NAME=SOURCE.")
        chosen += found
    for info in chosen:
        if not info.usable:
            raise AdapterRefusedError(f"Adapter {info.name!r} cannot be used: {' '.join(info.notes)}")
    return tuple(chosen)


def variants_of_folder(
    settings: Settings, offered: Sequence[AdapterInfo]
) -> tuple[tuple[AdapterInfo, ...], tuple[AdapterInfo, ...]]:
    """The adapters of the adapters folder that can be used, and what else it holds, which says why in `notes`.

    Args:
        settings: with an adapters folder.
        offered: everything on offer, also what was named or comes with the embedded model.

    Raises:
        InputError: none of them can be used.
    """
    others = AdapterCatalog.from_settings(replace(settings, adapters_dir="")).names
    of_folder = [info for info in offered if info.name not in others]
    usable = tuple(info for info in of_folder if info.usable)
    skipped = tuple(info for info in of_folder if not info.usable)
    if not usable:
        reasons = " ".join(note for info in skipped[:3] for note in info.notes)
        raise InputError(
            f"The adapters folder {settings.adapters_dir!r} holds no adapter that can be used. {reasons}".strip(),
            "Name another, or leave --adapters-dir out to ask base alone.",
        )
    return usable, skipped


def engine_digest(settings: Settings, model: ModelInfo, adapters: Sequence[AdapterInfo]) -> str:
    """Digest of the model, its arithmetic, and the adapters with their files; where it runs does not count.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    wanted = resolve_model(settings.base_model)
    place = str(wanted.folder.resolve()) if wanted.folder is not None and wanted.is_own_folder else wanted.id
    whole = [place, model.id, model.revision, model.dtype, settings.attention, _identities(settings, adapters)]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _identities(settings: Settings, adapters: Sequence[AdapterInfo]) -> list[Any]:
    """For each adapter what its files say, and their content; of files that are elsewhere a stamp."""
    catalog = AdapterCatalog.from_settings(settings) if settings.backend == "local" else AdapterCatalog()
    found: list[Any] = []
    for info in adapters:
        facts: list[Any] = [info.name, info.kind, info.rank, info.alpha, info.target_modules, info.parameters]
        facts += catalog.content_digests(info.name) if info.name in catalog.names else ("", info.stamp)
        found.append(facts)
    return found
