"""Load, check, switch and evict LoRA adapters on one model; it knows nothing of prompts or attention.

Base is the same loaded model with every adapter off. That this is bit for bit the model as it was before anything was
loaded is checked once per adapter, with a probe; between uses every adapter is off, whatever was thrown.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer, LoraModel
from peft.utils.other import ModulesToSaveWrapper

from inference.adapters.attach import add, fill, materialise
from inference.adapters.catalog import AdapterCatalog
from inference.adapters.controls import randomised
from inference.adapters.files import AdapterFiles
from inference.adapters.fit import Places, check_fit
from inference.adapters.portion import Portion, group_of
from inference.adapters.weights import read_weights
from inference.descriptions import AdapterInfo
from inference.errors import AdapterRefusedError, InputError, ModelLoadError

logger = logging.getLogger(__name__)

WHOLE = Portion()


@dataclass(slots=True)
class _Loaded:
    """An adapter on the model: PEFT's id for it (ours: names with dots, or `keys`, break PEFT) and its bytes."""

    peft_id: str
    files: AdapterFiles
    places: Places
    bytes: int


class BaseChangedError(RuntimeError):
    """With every adapter off the model no longer answers as before: it must be loaded again."""


class AdapterManager:
    """Adapters of one model: loaded once, switched, evicted least recently used within a byte bound.

    Args:
        model: the base model; PEFT wraps its layers in place.
        catalog: the adapters on offer.
        skeleton: makes the same model without storage (on the meta device); files are checked on it first.
        probe: runs the model on a fixed input and returns logits; compared bit for bit.
        max_bytes: bound on the adapters' weights.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        catalog: AdapterCatalog,
        skeleton: Callable[[], torch.nn.Module],
        probe: Callable[[], torch.Tensor],
        max_bytes: int,
    ) -> None:
        self._model = model
        self._catalog = catalog
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
        self._taken: list[Places] = []  # what PEFT's layers were made for, also of adapters since evicted
        self._parameter_order = {module: tuple(module._parameters) for module in model.modules()}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names on the model, least recently used first."""
        return tuple(self._loaded)

    @property
    def bytes(self) -> int:
        """Bytes of the weights of all adapters on the model, counted as float32."""
        return sum(adapter.bytes for adapter in self._loaded.values())

    def load_id(self, name: str) -> str:
        """Names this loading of an adapter: another after it was evicted and read again, perhaps from other files."""
        return self._loaded[name].peft_id

    def evict_replaced(self) -> None:
        """Take those off the model whose files are gone or were replaced; the next request reads them again."""
        for name, adapter in list(self._loaded.items()):
            if not self._catalog.is_current(name, adapter.files):
                self.evict(name)

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
        files = self._catalog.files(name)
        weights = read_weights(name, files.weights)
        weights = {files.keys.get(key, key): tensor for key, tensor in weights.items()}
        config, places = check_fit(self._skeleton(), name, files, weights)
        peft_id = f"variant{next(self._ids)}"
        size = sum(tensor.numel() * 4 for tensor in weights.values())
        self._make_room(size, places)
        try:
            self._attach(peft_id, config, weights)
            unchanged = torch.equal(self._probe(), self._untouched)
        except BaseException as error:  # half attached, PEFT may have left it on: only a fresh model is base for sure
            raise BaseChangedError(name) from error
        if not unchanged:
            raise BaseChangedError(name)
        self._loaded[name] = _Loaded(peft_id, files, places, size)
        return files.info

    def evict(self, name: str) -> None:
        """Take an adapter off the model; with the last one PEFT's layers go too."""
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

    def changes_vision(self, name: str, portion: Portion) -> bool:
        """Whether this portion of an adapter on the model changes the vision tower."""
        places = self._loaded[name].places
        return portion.scale != 0 and any(
            group_of(path) == "vision tower" and portion.holds(path) for path in places.adapted | places.replaced
        )

    def adapted(self, name: str) -> frozenset[str]:
        """Paths of the modules that an adapter on the model changes."""
        places = self._loaded[name].places
        return places.adapted | places.replaced | places.experts

    def check_controls(self, name: str) -> None:
        """Refuse an adapter on the model for which there are no random adapters of equal size.

        Raises:
            AdapterRefusedError: it is no sum of ΔW = s·B·A.
        """
        info, config = self._loaded[name].files.info, self._loaded[name].files.config
        why = {
            "DoRA": info.kind == "DoRA",
            "whole modules": bool(config.get("modules_to_save")),
            "expert parameters": bool(config.get("target_parameters")),
        }
        if found := [kind for kind, there in why.items() if there]:
            raise AdapterRefusedError(
                f"There are no random adapters of equal size for {info.name!r}: it has {' and '.join(found)}.",
                "A test against chance is on offer for plain LoRA and rsLoRA.",
            )

    @contextlib.contextmanager
    def use_control(self, name: str, portion: Portion, seed: int) -> Iterator[None]:
        """Run the model with a random adapter of equal size (`controls.py`) in an adapter's place; then as before.

        Raises:
            See `use` and `check_controls`.
        """
        self.load(name)
        self.check_controls(name)
        with randomised(self._model, self._loaded[name].peft_id, seed), self.use(name, portion):
            yield

    @contextlib.contextmanager
    def use(self, name: str | None, portion: Portion = WHOLE) -> Iterator[None]:
        """Run the model as one variant; afterwards every adapter is off again.

        Args:
            name: adapter, or None for the base model.
            portion: how much of the adapter is on, and where.

        Raises:
            UnknownAdapterError, AdapterRefusedError: see `load`; or a portion not well defined for it.
            InputError: modules that the adapter does not have.
        """
        if name is None:
            yield
            return
        self.load(name)
        adapter = self._loaded[name]
        assert self._wrapped is not None
        with contextlib.ExitStack() as undo:
            if not portion.whole:
                self._rescale(adapter, portion, undo)
            undo.callback(_tuner(self._wrapped).disable_adapter_layers)
            _tuner(self._wrapped).set_adapter(adapter.peft_id, inference_mode=True)
            _tuner(self._wrapped).enable_adapter_layers()
            yield

    def _attach(self, peft_id: str, config: LoraConfig, weights: Mapping[str, torch.Tensor]) -> None:
        wrapped = self._wrapped = add(self._wrapped, self._model, peft_id, config)
        materialise(wrapped, next(self._model.parameters()).device)
        missing, unexpected = fill(wrapped, peft_id, weights, assign=False)
        if missing or unexpected:  # it fitted the skeleton: only what was loaded before can stand in the way
            raise RuntimeError(f"adapter does not fit beside those loaded before: {missing or unexpected}")
        for module in wrapped.modules():  # PEFT copies modules that are replaced, with their configs
            if isinstance(module, ModulesToSaveWrapper) and peft_id in module.modules_to_save:
                copy = module.modules_to_save[peft_id]
                for original, copied in zip(module.original_module.modules(), copy.modules(), strict=True):
                    if hasattr(original, "config"):  # how attention is computed is set there: one config for both
                        copied.config = original.config
        wrapped.eval()
        _tuner(wrapped).disable_adapter_layers()

    def _make_room(self, size: int, places: Places) -> None:
        """Evict until `size` bytes fit; everything, where PEFT's layers on the model stand in the way."""
        if not all(places.beside(other) for other in self._taken):
            for name in self.loaded:
                self.evict(name)
        while self._loaded and self.bytes + size > self._max_bytes:
            self.evict(next(iter(self._loaded)))
        self._taken.append(places)

    def _rescale(self, adapter: _Loaded, portion: Portion, undo: contextlib.ExitStack) -> None:
        """Multiply the adapter's scaling where it is on, 0 elsewhere, and have `undo` bring it back."""
        info, config = adapter.files.info, adapter.files.config
        whole = config.get("modules_to_save")
        if info.kind == "DoRA" or whole:
            why = "DoRA also rescales each weight's norm" if info.kind == "DoRA" else f"it replaces {whole} as a whole"
            raise AdapterRefusedError(
                f"Adapter {info.name!r} has no well-defined strength or parts: {why}.", "Use scale 1 and all modules."
            )
        parts: set[str] = set()
        for path, layer in self._model.named_modules():
            if not isinstance(layer, LoraLayer) or adapter.peft_id not in layer.scaling:
                continue
            parts |= set(path.split("."))
            undo.callback(layer.scaling.__setitem__, adapter.peft_id, layer.scaling[adapter.peft_id])
            layer.scaling[adapter.peft_id] *= portion.scale if portion.holds(path) else 0.0
        absent = set(portion.modules or ()) - parts
        if absent:
            raise InputError(
                f"Adapter {info.name!r} has no modules {', '.join(sorted(absent))}.",
                f"It adapts {', '.join(info.target_modules)}.",
            )


def _tuner(wrapped: PeftModel) -> LoraModel:
    tuner = wrapped.base_model
    assert isinstance(tuner, LoraModel)
    return tuner
