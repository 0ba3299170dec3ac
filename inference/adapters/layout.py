"""Read the keys of older tools as PEFT's keys of today, where each maps to exactly one; it knows no file and no model.

Today a key is `base_model.model.` + module + `.lora_A.weight`, and the modules of a Qwen3-VL are
`model.language_model.…`, `model.visual.…` and `lm_head`. Older transformers and other tools left out the prefix, kept
the adapter's name (`lora_A.default.weight`), or called the modules `model.layers.…`, `language_model.model.…` and
`visual.…`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "base_model.model."
_MATRIX = re.compile(r"\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.(.+))?$")
_SAVED = re.compile(r"\.modules_to_save\.([^.]+)(?=\.)")
_TEXT = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?(?=(?:layers|embed_tokens|norm)\.)")
_VISION = re.compile(r"(?:model\.)*(?=visual\.)")
_HEAD = re.compile(r"(?:model\.)?(?:language_model\.)?(?=lm_head\.)")
_PARTS = ("weight", "bias")


def current_keys(keys: Iterable[str]) -> dict[str, str]:
    """Each key as it is written today, by the key that the file holds.

    Raises:
        ValueError: two keys that would become one; the message names them.
    """
    stored = list(keys)
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    name = _adapter_name(stored)
    for key in stored:
        current = _current(key, name)
        if current in taken:
            raise ValueError(f"{taken[current]!r} and {key!r} would both be {current!r}")
        found[key] = taken[current] = current
    return found


def module_of(key: str) -> str:
    """Path of the module that a key adapts or replaces, as the tool that wrote the file called it."""
    key = _SAVED.sub("", _without_prefix(key))
    key = _MATRIX.sub("", key)
    return re.sub(r"\.(weight|bias)$", "", key).replace(".base_layer", "")


def note(keys: Mapping[str, str]) -> str:
    """One sentence on what was read in another layout, or ""."""
    changed = [(stored, current) for stored, current in keys.items() if stored != current]
    if not changed:
        return ""
    stored, current = changed[0]
    return (
        f"{len(changed)} of its {len(keys)} keys are in the layout of an older tool and are read as today's: "
        f"{stored[:120]} as {current[:120]}."
    )


def current_config(config: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """The config for the current keys: where modules were called otherwise, each is named with its own rank and alpha.

    PEFT's rule for `rank_pattern` and `alpha_pattern` (the first pattern that ends the path wins) is applied to the
    paths as the file's tool knew them.
    """
    modules = {module_of(stored): module_of(current) for stored, current in keys.items() if _MATRIX.search(stored)}
    if all(stored == current for stored, current in modules.items()) or config.get("target_parameters"):
        return dict(config)
    changed: dict[str, Any] = dict(config) | {
        "target_modules": sorted(modules.values()),
        "exclude_modules": None,
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    for option in ("rank_pattern", "alpha_pattern"):
        own = {current: _first_match(config.get(option) or {}, stored) for stored, current in modules.items()}
        changed[option] = {f"^{re.escape(path)}": value for path, value in own.items() if value is not None}
    return changed


def _first_match(patterns: Mapping[str, Any], path: str) -> Any:
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", path)), None)


def _adapter_name(keys: list[str]) -> str:
    """The adapter's name that every matrix carries, as in `lora_A.default.weight`; "" where they carry none."""
    rests = [match[2] or "" for match in map(_MATRIX.search, keys) if match]
    names = {re.sub(r"(?:^|\.)(?:weight|bias)$", "", rest) for rest in rests}
    return names.pop() if len(names) == 1 else ""


def _current(key: str, name: str) -> str:
    path = _without_prefix(key)
    if name:
        path = re.sub(rf"(\.(?:lora_[A-Za-z_]+|modules_to_save))\.{re.escape(name)}(?=\.|$)", r"\1", path)
    path = re.sub(r"\.modules_to_save(?=\.)", "", path)
    path = re.sub(r"\.lora_magnitude_vector\.weight$", ".lora_magnitude_vector", path)
    for pattern, root in ((_TEXT, "model.language_model."), (_VISION, "model."), (_HEAD, "")):
        match = pattern.match(path)
        if match:
            return PREFIX + root + path[match.end() :]
    return PREFIX + path


def _without_prefix(key: str) -> str:
    while key.startswith(PREFIX):
        key = key.removeprefix(PREFIX)
    return key
