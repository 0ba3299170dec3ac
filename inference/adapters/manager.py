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
from inference.adapters.files import AdapterFiles
from inference.adapters.fit import Places, check_fit
from inference.adapters.weights import read_weights
from inference.errors import AdapterRefusedError, InputError, ModelLoadError
from inference.records import AdapterInfo

logger = logging.getLogger(__name__)


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


def _tuner(wrapped: PeftModel) -> LoraModel:
    tuner = wrapped.base_model
    assert isinstance(tuner, LoraModel)
    return tuner
