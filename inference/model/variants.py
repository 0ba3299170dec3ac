"""The model as one variant after another: adapters switched, passes opened on what is kept; it knows no question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from inference.adapters.manager import AdapterManager
from inference.adapters.portion import Portion
from inference.model.cache import InferenceCache, PrefixCache
from inference.model.context import RequestContext
from inference.model.passes import Passes
from inference.model.variant_pass import VariantPass


class Variants:
    """Opens variants of one model.

    Args:
        passes: run the model.
        cache: what was computed before.
        adapters: of the model.
    """

    def __init__(self, passes: Passes, cache: InferenceCache, adapters: AdapterManager) -> None:
        self._passes, self._cache, self.adapters = passes, cache, adapters

    @contextmanager
    def open(self, context: RequestContext, adapter: str | None) -> Iterator[VariantPass]:
        """The model as one variant of a request; only a pass that came to its end keeps what it read of the image."""
        with context.stages.stage("adapter", f"switching to {adapter or 'base'}"):
            if adapter is not None:
                self.adapters.load(adapter)
            loaded = {self.adapters.load_id(name) for name in self.adapters.loaded}
            self._cache.discard(lambda key: key.variant is not None and key.variant[0] not in loaded)
        with self.use(context, adapter):
            yield self._pass(context, adapter, _portion(context), None if adapter is None else self._load_id(adapter))

    @contextmanager
    def use(self, context: RequestContext, adapter: str | None) -> Iterator[None]:
        """The same without a pass: what is run meanwhile is the caller's affair."""
        with self.adapters.use(adapter, _portion(context)):
            yield

    @contextmanager
    def portion(self, context: RequestContext, adapter: str, portion: Portion) -> Iterator[PrefixCache]:
        """The model with a portion of an adapter, and what it reads of the image; nothing of it is kept."""
        with self.adapters.use(adapter, portion):
            yield self._read(context, adapter, portion, self._load_id(adapter))

    @contextmanager
    def control(self, context: RequestContext, adapter: str, seed: int) -> Iterator[PrefixCache]:
        """The model with a random adapter as large as one of a request's, and what it reads of the image; not kept."""
        portion = _portion(context)
        with self.adapters.use_control(adapter, portion, seed):
            # a name that no loading has: what is kept of the image's features goes with the next request
            yield self._read(context, adapter, portion, f"{self._load_id(adapter)} control {seed}")

    def _load_id(self, adapter: str) -> str:
        return self.adapters.load_id(adapter)

    def _read(self, context: RequestContext, adapter: str, portion: Portion, name: str) -> PrefixCache:
        quiet = replace(context, notes=[])  # that it changes the vision tower was said of the whole adapter
        variant = self._pass(quiet, adapter, portion, name)
        variant.read_image(variant.see())
        return variant.image_cache()

    def _pass(self, context: RequestContext, adapter: str | None, portion: Portion, name: str | None) -> VariantPass:
        variant = None if name is None else (name, portion)
        own_vision = adapter is not None and self.adapters.changes_vision(adapter, portion)
        return VariantPass(context, adapter, variant, own_vision, self._passes, self._cache)


def _portion(context: RequestContext) -> Portion:
    return Portion(context.request.scale, context.request.modules)
