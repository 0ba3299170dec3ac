"""Load, check, switch and evict LoRA adapters on one model; it knows nothing of prompts or attention.

Base is the same loaded model with every adapter off. That this is bit for bit the model as it was before anything was
loaded is checked once per adapter, with a probe; between uses every adapter is off, whatever was thrown.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer, LoraModel
from peft.utils.other import ModulesToSaveWrapper
from safetensors import SafetensorError
from safetensors.torch import load_file

from inference.adapters.files import AdapterFiles, AdapterSource, file_stamp, read_adapter
from inference.errors import AdapterRefusedError, InputError, ModelLoadError, UnknownAdapterError
from inference.records import AdapterInfo

logger = logging.getLogger(__name__)

#: What PEFT and torch throw at files that do not fit, or at a config that makes no sense.
_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    re.error,
)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where an adapter sits: paths of modules that it adapts, that it replaces as a whole, and expert parameters."""

    adapted: frozenset[str]
    replaced: frozenset[str]
    experts: frozenset[str]

    def beside(self, other: _Places) -> bool:
        """Whether PEFT can hold both on one model.

        It copies a module that is replaced, with whatever is wrapped inside, and does not find what would have to be
        wrapped inside it later; and it wants all adapters of expert parameters to target the same ones.
        """
        if self.experts and other.experts and self.experts != other.experts:
            return False
        return not any(
            _holds(whole, part) and (whole != part or part in theirs.adapted)
            for ours, theirs in ((self, other), (other, self))
            for whole in ours.replaced
            for part in theirs.adapted | theirs.replaced
        )


@dataclass(slots=True)
class _Loaded:
    """An adapter on the model: PEFT's id for it (ours: names with dots, or `keys`, break PEFT) and its bytes."""

    peft_id: str
    files: AdapterFiles
    places: _Places
    bytes: int
    stamp: tuple[object, ...]


class BaseChangedError(RuntimeError):
    """With every adapter off the model no longer answers as before: it must be loaded again."""


class AdapterShelf:
    """Adapters of one model: loaded once, switched, evicted least recently used within a byte bound.

    Args:
        model: the base model; PEFT wraps its layers in place.
        sources: the adapters on offer, by name.
        skeleton: makes the same model without storage (on the meta device); files are checked on it first.
        probe: runs the model on a fixed input and returns logits; compared bit for bit.
        max_bytes: bound on the adapters' weights.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        sources: Mapping[str, AdapterSource],
        skeleton: Callable[[], torch.nn.Module],
        probe: Callable[[], torch.Tensor],
        max_bytes: int,
    ) -> None:
        self._model = model
        self._sources = dict(sources)
        self._skeleton = skeleton
        self._probe = probe
        self._max_bytes = max_bytes
        self._untouched = probe()
        if not bool(torch.isfinite(self._untouched).all()):
            raise ModelLoadError(
                "The base model's own numbers overflow in this precision.", "Try --dtype float32 or bfloat16."
            )
        self._wrapped: PeftModel | None = None
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._ids = itertools.count()
        self._taken: list[_Places] = []  # what PEFT's layers were made for, also of adapters since evicted
        self._parameter_order = {module: tuple(module._parameters) for module in model.modules()}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names on the model, least recently used first."""
        return tuple(self._loaded)

    def loading(self, name: str) -> str:
        """Names this loading of an adapter: another after it was evicted and read again, perhaps from other files."""
        return self._loaded[name].peft_id

    def offer(self, sources: Mapping[str, AdapterSource]) -> None:
        """Replace the adapters on offer; those on the model whose files are gone or were replaced leave it."""
        for name, adapter in list(self._loaded.items()):
            gone = name not in sources or sources[name].location != self._sources[name].location
            if gone or file_stamp(adapter.files) != adapter.stamp:
                self._evict(name)
        self._sources = dict(sources)

    def load(self, name: str) -> AdapterInfo:
        """Put an adapter on the model, off, if it is not there yet.

        Raises:
            UnknownAdapterError: not on offer.
            AdapterRefusedError: it does not fit or would make the picture untrue; the model is as before.
            BaseChangedError: the model is not as before; load it again.
        """
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name].files.info
        if name not in self._sources:
            offered = ", ".join(self._sources) or "none"
            raise UnknownAdapterError(f"There is no adapter {name!r}.", f"Adapters on offer: {offered}.")
        files = read_adapter(self._sources[name])
        stamp = file_stamp(files)
        weights = _read_weights(name, files.weights)
        config, places = self._check_fit(name, files.config, weights)
        peft_id = f"variant{next(self._ids)}"
        size = sum(tensor.numel() * 4 for tensor in weights.values())  # PEFT keeps adapter weights in float32
        self._make_room(size, places)
        try:
            self._attach(peft_id, config, weights)
            unchanged = torch.equal(self._probe(), self._untouched)
        except BaseException as error:  # half attached, PEFT may have left it on: only a fresh model is base for sure
            raise BaseChangedError(name) from error
        if not unchanged:
            raise BaseChangedError(name)
        self._loaded[name] = _Loaded(peft_id, files, places, size, stamp)
        return files.info

    def changes_vision(self, name: str, scale: float, modules: tuple[str, ...] | None) -> bool:
        """Whether an adapter on the model, at this strength and with these parts on, changes the vision tower."""
        places = self._loaded[name].places
        on = [path.split(".") for path in places.adapted | places.replaced]
        return scale != 0 and any("visual" in path and (modules is None or set(path) & set(modules)) for path in on)

    @contextlib.contextmanager
    def use(self, name: str | None, scale: float = 1.0, modules: tuple[str, ...] | None = None) -> Iterator[None]:
        """Run the model as one variant; afterwards every adapter is off again.

        Args:
            name: adapter, or None for the base model.
            scale: factor on the adapter's strength.
            modules: names of target modules (or of any part of their path) that stay on; None is all.

        Raises:
            UnknownAdapterError, AdapterRefusedError: see `load`; or a scale or modules not well defined for it.
            InputError: modules that the adapter does not have.
        """
        if name is None:
            yield
            return
        self.load(name)
        adapter = self._loaded[name]
        assert self._wrapped is not None
        with contextlib.ExitStack() as undo:
            if scale != 1.0 or modules is not None:
                self._rescale(adapter, scale, modules, undo)
            undo.callback(_tuner(self._wrapped).disable_adapter_layers)
            _tuner(self._wrapped).set_adapter(adapter.peft_id, inference_mode=True)
            _tuner(self._wrapped).enable_adapter_layers()
            yield

    def _check_fit(
        self, name: str, options: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
    ) -> tuple[LoraConfig, _Places]:
        """Load the files into a model without storage and see that every key found its place, and only its own."""
        skeleton = self._skeleton()
        before = list(skeleton.parameters())  # held: a tensor's id is given away again with its last reference
        try:
            config = _lora_config(options)
            missing, unexpected = _fill(_add(None, skeleton, "checked", config), "checked", weights, assign=True)
        except _MISFITS as error:
            raise AdapterRefusedError(
                f"Adapter {name!r} does not fit this model: {_misfit(skeleton, weights) or _first_line(error)}",
                "Was it trained on another Qwen3-VL size?",
            ) from error
        if missing or unexpected:
            raise AdapterRefusedError(
                f"Adapter {name!r} does not fit this model: {_misfit(skeleton, weights) or _keys(missing, unexpected)}",
                "Was it trained on another Qwen3-VL size, or saved in another layout?",
            )
        after = {id(tensor) for tensor in skeleton.parameters()}
        if any(id(tensor) not in after for tensor in before):  # loading puts new tensors in their place
            raise AdapterRefusedError(
                f"Adapter {name!r} carries weights of the base model itself, which would stay when it is off.",
                "Save it with save_embedding_layers=False.",
            )
        wrapped = dict(skeleton.named_modules())
        adapted = frozenset(path for path, each in wrapped.items() if isinstance(each, LoraLayer))
        replaced = frozenset(path for path, each in wrapped.items() if isinstance(each, ModulesToSaveWrapper))
        return config, _Places(adapted, replaced, frozenset(config.target_parameters or ()))

    def _attach(self, peft_id: str, config: LoraConfig, weights: Mapping[str, torch.Tensor]) -> None:
        wrapped = self._wrapped = _add(self._wrapped, self._model, peft_id, config)
        _materialise(wrapped, next(self._model.parameters()).device)
        missing, unexpected = _fill(wrapped, peft_id, weights, assign=False)
        if missing or unexpected:  # it fitted the skeleton: only what was loaded before can stand in the way
            raise RuntimeError(f"adapter does not fit beside those loaded before: {missing or unexpected}")
        for module in wrapped.modules():  # PEFT copies modules that are replaced, with their configs
            if isinstance(module, ModulesToSaveWrapper) and peft_id in module.modules_to_save:
                copy = module.modules_to_save[peft_id]
                for own, its in zip(module.original_module.modules(), copy.modules(), strict=True):
                    if hasattr(own, "config"):  # how attention is computed is set there: one config for both
                        its.config = own.config
        wrapped.eval()
        _tuner(wrapped).disable_adapter_layers()

    def _make_room(self, size: int, places: _Places) -> None:
        """Evict until `size` bytes fit; everything, where PEFT's layers on the model stand in the way."""
        if not all(places.beside(each) for each in self._taken):
            for name in self.loaded:
                self._evict(name)
        while self._loaded and sum(each.bytes for each in self._loaded.values()) + size > self._max_bytes:
            self._evict(next(iter(self._loaded)))
        self._taken.append(places)

    def _evict(self, name: str) -> None:
        logger.info("evicting adapter %s", name)
        assert self._wrapped is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT says which adapter becomes active instead: all stay off
            self._wrapped.delete_adapter(self._loaded.pop(name).peft_id)
        _tuner(self._wrapped).disable_adapter_layers()
        if not self._loaded:  # PEFT cannot add to a model whose last adapter was deleted: take its layers out again
            self._wrapped.unload()
            self._wrapped, self._taken = None, []
            # running an adapter of expert parameters registers them anew, and PEFT nests its layers in that order
            for module, order in self._parameter_order.items():
                module._parameters = {name: module._parameters[name] for name in order}

    def _rescale(
        self, adapter: _Loaded, scale: float, modules: tuple[str, ...] | None, undo: contextlib.ExitStack
    ) -> None:
        """Multiply the adapter's scaling where it is on, 0 elsewhere, and have `undo` bring it back."""
        info, config = adapter.files.info, adapter.files.config
        whole = config.get("modules_to_save")
        if info.kind == "DoRA" or whole:
            why = "DoRA also rescales each weight's norm" if info.kind == "DoRA" else f"it replaces {whole} as a whole"
            raise AdapterRefusedError(
                f"Adapter {info.name!r} has no well-defined strength or parts: {why}.", "Use scale 1 and all modules."
            )
        matched: set[str] = set()
        for path, layer in self._model.named_modules():
            if not isinstance(layer, LoraLayer) or adapter.peft_id not in layer.scaling:
                continue
            on = set(path.split(".")) & set(modules) if modules is not None else {""}
            matched |= on
            undo.callback(layer.scaling.__setitem__, adapter.peft_id, layer.scaling[adapter.peft_id])
            layer.scaling[adapter.peft_id] *= scale if on else 0.0
        absent = set(modules or ()) - matched
        if absent:
            raise InputError(
                f"Adapter {info.name!r} has no modules {', '.join(sorted(absent))}.",
                f"It adapts {', '.join(info.target_modules)}.",
            )


def _holds(whole: str, part: str) -> bool:
    """Whether the module at `part` is the one at `whole` or lies inside it."""
    return f"{part}.".startswith(f"{whole}.")


def _read_weights(name: str, path: Path) -> dict[str, torch.Tensor]:
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise AdapterRefusedError(f"Adapter {name!r}: {path.name} is damaged.", "Copy it again.") from error
    for key, tensor in weights.items():
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise AdapterRefusedError(
                f"Adapter {name!r}: {key[:120]} holds {tensor.dtype}; float32, bfloat16 and float16 are read."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterRefusedError(
                f"Adapter {name!r}: {key[:120]} holds NaN or infinite weights.",
                "Its training diverged: use an earlier checkpoint.",
            )
    return weights


def _lora_config(config: Mapping[str, Any]) -> LoraConfig:
    unused = {"peft_type", "auto_mapping", "task_type", "megatron_config", "megatron_core", "runtime_config"}
    known = {each.name for each in fields(LoraConfig)} - unused
    values = {key: value for key, value in config.items() if key in known}
    # the initialisation is overwritten by the loaded weights; "orthogonal" could not even run without storage
    return LoraConfig(**(values | {"inference_mode": True, "init_lora_weights": True, "lora_dropout": 0.0}))


def _tuner(wrapped: PeftModel) -> LoraModel:
    tuner = wrapped.base_model
    assert isinstance(tuner, LoraModel)
    return tuner


def _add(wrapped: PeftModel | None, model: torch.nn.Module, peft_id: str, config: LoraConfig) -> PeftModel:
    """Put the places of an adapter on the model under `peft_id`, its weights without storage."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT warns of (tied weights and the like) is checked and said by us
        if wrapped is None:
            return PeftModel(model, config, peft_id, low_cpu_mem_usage=True)
        wrapped.add_adapter(peft_id, config, low_cpu_mem_usage=True)
        return wrapped


def _materialise(wrapped: PeftModel, device: torch.device) -> None:
    """Give the weights of an adapter that was just added storage: float32, as upstream has them in every dtype.

    With `low_cpu_mem_usage=True` PEFT would bring the file's weights to the base's dtype: in bfloat16 they are rounded.
    """
    for module in wrapped.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta:
                empty = torch.empty(parameter.shape, dtype=torch.float32, device=device)
                module.register_parameter(name, torch.nn.Parameter(empty, requires_grad=False))


def _fill(
    wrapped: PeftModel, peft_id: str, weights: Mapping[str, torch.Tensor], *, assign: bool
) -> tuple[list[str], list[str]]:
    """Bring the file's weights to their places; return missing keys of this adapter and unexpected keys.

    Args:
        wrapped, peft_id, weights: the model, the adapter and its file's tensors.
        assign: put the tensors themselves there (on a model without storage), not their values.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that are missing or not known: the caller asks for them
        result: Any = set_peft_model_state_dict(wrapped, dict(weights), adapter_name=peft_id, low_cpu_mem_usage=assign)
    return [key for key in result.missing_keys if peft_id in key.split(".")], list(result.unexpected_keys)


def _misfit(skeleton: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """The first module of the files that the model does not have, or whose shape differs, in words; or ""."""
    modules = {_plain_path(name): module for name, module in skeleton.named_modules()}
    for key, tensor in weights.items():
        path, matrix, _ = _plain_path(key).partition(".lora_")
        if not matrix:
            continue
        if path not in modules:
            return f"it adapts '{path[:120]}'; {_blocks(skeleton)}."
        weight = getattr(getattr(modules[path], "base_layer", modules[path]), "weight", None)
        side = {"lora_A.weight": 1, "lora_B.weight": 0}.get(".".join(key.split(".")[-2:]))
        if weight is None or side is None or weight.ndim != 2 or tensor.ndim != 2:
            continue
        ours, theirs = weight.shape[side], tensor.shape[side]
        if ours != theirs:
            return f"'{path[:120]}' is {theirs} wide in the adapter and {ours} in the model."
    return ""


def _plain_path(name: str) -> str:
    """A module's name without what PEFT puts into it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _blocks(skeleton: torch.nn.Module) -> str:
    names = [name for name, _ in skeleton.named_modules()]
    layers = sum(name.endswith("self_attn") for name in names)
    blocks = sum(name.rpartition(".")[0].endswith("visual.blocks") for name in names)
    return f"this model has language layers 0–{layers - 1} and vision blocks 0–{blocks - 1}"


def _keys(missing: list[str], unexpected: list[str]) -> str:
    kinds = (("missing", missing), ("not known to it", unexpected))
    return "; ".join(f"{len(keys)} keys are {what} (first: {keys[0][:120]})" for what, keys in kinds if keys) + "."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
