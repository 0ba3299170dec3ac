"""Find adapters on disk or the Hub, read what their files say, and refuse by the config alone; it touches no model.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors`, as PEFT saves it. A folder with
`checkpoint-100`, `checkpoint-200`, … (as `transformers.Trainer` leaves it) is a family of adapters in step order; what
lies beside the checkpoints is the finished adapter. Files are input from strangers: nothing is unpickled.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from inference.errors import AdapterRefusedError, InputError
from inference.records import AdapterInfo, check_adapter_name
from inference.settings import Settings

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PICKLES = ("adapter_model.bin", "adapter_model.pt", "pytorch_model.bin")
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})")

# Options that leave the base model as it is when the adapter is off; everything else that a config may hold is refused:
# a bias stays on when the adapter is off; PiSSA, OLoRA, CorDA, EVA and LoftQ rewrite the base weights when they load.
_HARMLESS_INITS = (True, False, "gaussian", "orthogonal")
_REFUSED_OPTIONS = {
    "alora_invocation_tokens": "an activated LoRA is on for a part of the tokens only",
    "arrow_config": "a router mixes several adapters",
    "layer_replication": "it repeats layers of the base model",
    "lora_bias": "its bias cannot be compared with the base model by scaling · B · A",
    "trainable_token_indices": "it replaces rows of the embedding",
    "use_qalora": "QALoRA pools the input before A",
    "use_bdlora": "block-diagonal LoRA is not read here",
    "kasa_config": "KaSA takes singular values out of the base weights",
    "monteclora_config": "its A is drawn at random",
    "velora_config": "its projection is made for training",
}
_INERT_OPTIONS = frozenset(
    """
    alpha_pattern auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config exclude_modules
    fan_in_fan_out inference_mode init_lora_weights layers_pattern layers_to_transform loftq_config lora_alpha
    lora_dropout lora_ga_config megatron_config megatron_core modules_to_save peft_type peft_version qalora_group_size r
    rank_pattern revision runtime_config target_modules target_parameters task_type use_dora use_rslora
    """.split()  # noqa: SIM905 - a list of thirty strings reads worse
)


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """Where an adapter comes from (a folder or a Hub id), its place in a family, and why it cannot be used, if so."""

    name: str
    location: str
    description: str = ""
    family: str = ""
    step: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """The two files of an adapter, its parsed config, and what they say."""

    weights: Path
    config: Mapping[str, Any]
    info: AdapterInfo


def find_adapters(
    named: Mapping[str, str], adapters_dir: Path | None, descriptions: Mapping[str, str] | None = None
) -> dict[str, AdapterSource]:
    """Collect the adapters on offer by name, families in step order.

    Args:
        named: name → folder or Hub id, as the operator gave them.
        adapters_dir: folder whose sub-folders are adapters or families; or itself a family.
        descriptions: a sentence for each name that has one.

    Returns:
        By name; what cannot have its own name, or has one that is taken, is there as unusable, with the reason.

    Raises:
        InputError: a name in `named` that is not a plain label, or a folder that is not there.
    """
    found: dict[str, AdapterSource] = {}
    places = [(check_adapter_name(name), location) for name, location in named.items()]
    if adapters_dir is not None:
        if not adapters_dir.is_dir():
            raise InputError(f"The adapters folder {adapters_dir.name!r} is not a folder.", "Check --adapters-dir.")
        own = [adapters_dir] if _checkpoints(adapters_dir) or (adapters_dir / CONFIG_FILE).is_file() else []
        folders = own or sorted(each for each in adapters_dir.iterdir() if _checkpoints(each) or _holds_adapter(each))
        places += [(folder.name, str(folder)) for folder in folders]
    for name, location in places:
        for source in _expand(name, location):
            if source.name in found:
                source = _not_as(source.name, location, f"Two adapters are called {source.name!r}.")
            found[source.name] = replace(source, description=(descriptions or {}).get(source.name, ""))
    return found


def adapters_on_offer(settings: Settings, named: Mapping[str, str]) -> dict[str, AdapterSource]:
    """Find what is on offer now: the operator's adapters, those of the adapters folder, and the embedded model's own.

    Raises:
        InputError: see `find_adapters`.
    """
    named, descriptions = dict(named), {}
    if settings.model == "demo":
        from inference.demo import ADAPTER_DESCRIPTIONS, ADAPTERS_DIR

        descriptions = dict(ADAPTER_DESCRIPTIONS)
        named = {name: str(ADAPTERS_DIR / name) for name in descriptions} | named
    return find_adapters(named, Path(settings.adapters_dir) if settings.adapters_dir else None, descriptions)


def describe(sources: Iterable[AdapterSource], model: str) -> tuple[AdapterInfo, ...]:
    """Say what each adapter is; one that cannot be used, or names another base than `model`, says so in `notes`."""
    infos, own = [], model.rpartition("/")[2].lower()
    for source in sources:
        try:
            files = read_adapter(source)
            stamp = hashlib.sha256(repr(file_stamp(files)).encode()).hexdigest()[:16]
            info = replace(files.info, stamp=stamp)
        except AdapterRefusedError as error:
            info = unusable(source, str(error))
        if info.base_model and info.base_model.rstrip("/").rpartition("/")[2].lower() != own:
            note = f"Its files name another base model: {info.base_model[:200]}."
            info = replace(info, notes=(*info.notes, note))
        infos.append(info)
    return tuple(infos)


def file_stamp(files: AdapterFiles) -> tuple[object, ...]:
    """What changes when an adapter's files are replaced: their place, times and sizes; () where they are gone."""
    try:
        states = [path.stat() for path in (files.weights, files.weights.with_name(CONFIG_FILE))]
    except OSError:
        return ()
    return (files.weights, *((state.st_mtime_ns, state.st_size) for state in states))


def read_adapter(source: AdapterSource) -> AdapterFiles:
    """Read and check an adapter's config and the header of its weights.

    Raises:
        AdapterRefusedError: files that are missing, damaged or pickled, or a kind whose picture would be untrue.
    """
    if source.problem:
        raise AdapterRefusedError(source.problem, "Rename it.")
    folder = _folder(source)
    config = _config(source.name, folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        pickled = next((each for each in _PICKLES if (folder / each).is_file()), None)
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
    _refuse_untrue_kinds(source.name, config)
    return AdapterFiles(weights, config, _describe(source, config, shapes))


def unusable(source: AdapterSource, reason: str) -> AdapterInfo:
    """Describe an adapter that is on offer but cannot be used."""
    return AdapterInfo(
        name=source.name,
        description=source.description,
        kind="unusable",
        rank=0,
        alpha=0.0,
        target_modules=(),
        touches_vision=False,
        parameters=0,
        base_model="",
        notes=(reason,),
        family=source.family,
        step=source.step,
    )


def _holds_adapter(folder: Path) -> bool:
    return folder.is_dir() and any((folder / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE, *_PICKLES))


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of `checkpoint-N` sub-folders that hold an adapter, in step order."""
    if not folder.is_dir():
        return []
    matches = [(_CHECKPOINT.fullmatch(each.name), each) for each in folder.iterdir()]
    return sorted((int(match[1]), each) for match, each in matches if match and _holds_adapter(each))


def _expand(name: str, location: str) -> list[AdapterSource]:
    """The adapters of one place. A folder whose name cannot be an adapter's is offered as unusable, with the reason."""
    try:
        check_adapter_name(name)
        family = [
            AdapterSource(check_adapter_name(f"{name}-{path.name}"), str(path), family=name, step=step)
            for step, path in _checkpoints(Path(location))
        ]
    except InputError as error:
        return [_not_as(name, location, str(error))]
    if not family:
        return [AdapterSource(name, location)]
    return family + ([AdapterSource(name, location, family=name)] if _holds_adapter(Path(location)) else [])


def _not_as(name: str, location: str, problem: str) -> AdapterSource:
    """An unusable adapter under a label of ours: its own name cannot be, or is taken."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)[:48].strip("-")
    digest = hashlib.sha256(location.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return AdapterSource("-".join(filter(None, [label, "folder", digest])), location, problem=problem)


def _folder(source: AdapterSource) -> Path:
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


@cache
def _from_hub(identifier: str) -> Path:
    """Fetch an adapter once per process (an exception is not kept); its files stay in the Hub's own cache."""
    return Path(snapshot_download(identifier, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))


def _config(name: str, folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AdapterRefusedError(
            f"Adapter {name!r} has no {CONFIG_FILE}.", "Is this the folder PEFT saved?"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterRefusedError(f"Adapter {name!r}: {CONFIG_FILE} is not valid JSON.", "Copy it again.") from error
    if not isinstance(config, dict):
        raise AdapterRefusedError(f"Adapter {name!r}: {CONFIG_FILE} is not a JSON object.", "Copy it again.")
    return config


def _refuse_untrue_kinds(name: str, config: Mapping[str, Any]) -> None:
    def refuse(what: str, hint: str = "Train or convert it as plain LoRA, rsLoRA or DoRA.") -> None:
        raise AdapterRefusedError(f"Adapter {name!r} {what}.", hint)

    if config.get("peft_type") != "LORA":
        refuse(f"is of PEFT type {str(config.get('peft_type'))[:40]!r}, not LORA")
    if config.get("bias", "none") != "none":
        refuse(f"trains biases (bias={str(config['bias'])[:40]!r}), which stay on when the adapter is off")
    init = config.get("init_lora_weights", True)
    if init not in _HARMLESS_INITS:
        refuse(f"was initialised with {str(init)[:40]!r}, which rewrites the base model's weights when it loads")
    for option, reason in _REFUSED_OPTIONS.items():
        if config.get(option):
            refuse(f"uses {option}: {reason}")
    unknown = sorted(key for key, value in config.items() if value and key not in _INERT_OPTIONS)
    if unknown:
        refuse(f"uses options that are not known here: {', '.join(each[:40] for each in unknown[:5])}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (_is_number(rank) and isinstance(rank, int) and rank > 0 and _is_number(alpha)):
        refuse(f"has rank {str(rank)[:40]!r} and alpha {str(alpha)[:40]!r}", "Both must be numbers, the rank positive.")
    for option in ("modules_to_save", "target_parameters"):
        names = config.get(option)
        if names and not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
            refuse(f"has {option} that is not a list of names", "Copy its config again.")
    for option in ("rank_pattern", "alpha_pattern"):
        pattern = config.get(option)
        if pattern and not (isinstance(pattern, dict) and all(map(_is_number, pattern.values()))):
            refuse(f"has {option} that does not map names to numbers", "Copy its config again.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9  # neither NaN nor inf


def _describe(source: AdapterSource, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> AdapterInfo:
    modules = {_module_of(key) for key in shapes}
    sizes = [_product(shape) for shape in shapes.values()]
    notes = []
    for option in ("rank_pattern", "alpha_pattern"):
        if config.get(option):
            notes.append(f"{option}: {json.dumps(config[option])[:200]}")
    if config.get("modules_to_save"):
        notes.append(f"Whole modules are replaced: {', '.join(map(str, config['modules_to_save']))[:200]}.")
    touches_vision = any("visual" in module.split(".") for module in modules)
    if touches_vision:
        notes.append("It also changes the vision tower: the image's own features differ from the base model's.")
    return AdapterInfo(
        name=source.name,
        description=source.description,
        kind="DoRA" if config.get("use_dora") else "rsLoRA" if config.get("use_rslora") else "LoRA",
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        target_modules=tuple(sorted({module.rpartition(".")[2] for module in modules})),
        touches_vision=touches_vision,
        parameters=sum(sizes),
        base_model=str(config.get("base_model_name_or_path") or ""),
        notes=tuple(notes),
        family=source.family,
        step=source.step,
    )


def _module_of(key: str) -> str:
    """Name of the base model's module that a key of the weights file adapts."""
    module = re.sub(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)(\.weight)?$|\.(weight|bias)$", "", key)
    return module.removeprefix("base_model.model.").replace(".base_layer", "")


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
