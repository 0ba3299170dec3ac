"""Keep what the model read, so that it is not read again; it knows nothing of requests, prompts or adapters.

Least recently used leave first, within one byte bound. A key must name everything that the value depends on: what is
found here is bit for bit what would be computed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from inference.adapters.portion import Portion
from inference.recording import CapturePath, FloatArray

Value = TypeVar("Value", bound="VisionFeatures | PrefixCache | Generation")


class CacheKey(NamedTuple):
    """Everything that a kept value depends on; what a kind of value does not depend on stays empty.

    Attributes:
        image: digest of what the vision tower reads.
        vision_tower: whether its attention is recorded: another path through it, other bits.
        variant: the loading of an adapter, and how much of it is on; None for base.
        ids: what the language model read, as bytes.
        path: how its attention was computed.
        new_tokens: the longest answer asked for.
    """

    image: str
    vision_tower: bool
    variant: tuple[str, Portion] | None
    ids: bytes = b""
    path: CapturePath | None = None
    new_tokens: int = 0


@dataclass(slots=True)
class VisionFeatures:
    """The vision tower's output for one image.

    Attributes:
        pooled: `(image tokens, hidden)`, what the language model sees.
        deepstack: the same shape, added to the first language layers.
        received: attention each patch received in image order, `(vision layers, patch_h, patch_w)`; None if not asked.
    """

    pooled: torch.Tensor
    deepstack: tuple[torch.Tensor, ...]
    received: FloatArray | None

    @property
    def bytes(self) -> int:
        """What is held."""
        return _bytes((self.pooled, *self.deepstack)) + (self.received.nbytes if self.received is not None else 0)


@dataclass(slots=True)
class PrefixCache:
    """Keys and values of everything up to the last image token, as one variant made them.

    Attributes:
        cache: of the language model.
        hidden: `(image tokens, hidden)`, their last hidden states, after the last norm; None before the pass.
    """

    cache: DynamicCache
    hidden: torch.Tensor | None = None

    def cut(self, length: int) -> None:
        """Forget what was read after the first `length` tokens; the longer storage stays until the next pass."""
        self.cache.crop(length - self.cache.get_seq_length())

    @property
    def bytes(self) -> int:
        """What is held."""
        layers = [layer for layer in self.cache.layers if isinstance(layer, DynamicLayer)]
        held = [tensor for layer in layers for tensor in (layer.keys, layer.values)]
        return _bytes(tensor for tensor in (*held, self.hidden) if tensor is not None)


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer that one variant gave."""

    ids: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """What is held, about."""
        return 200 + 36 * len(self.ids)


class InferenceCache:
    """Values by key, least recently used leave first.

    Args:
        max_bytes: bound on all values together; one that is larger alone is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        #: Each with its bytes, measured once: nothing changes while it is here, and thousands of them may be.
        self._values: OrderedDict[CacheKey, tuple[VisionFeatures | PrefixCache | Generation, int]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Bytes of all values."""
        return sum(size for _, size in self._values.values())

    def __iter__(self) -> Iterator[CacheKey]:
        """Keys of all values, least recently used first."""
        return iter(self._values)

    def get(self, key: CacheKey, kind: type[Value]) -> Value | None:
        """A value that stays here, or None."""
        if key not in self._values:
            return None
        value, _ = self._values[key]
        assert isinstance(value, kind)
        self._values.move_to_end(key)
        return value

    def take(self, key: CacheKey, kind: type[Value]) -> Value | None:
        """A value that leaves, to be changed and kept again; whoever fails in between leaves nothing half done here."""
        value = self.get(key, kind)
        if value is not None:
            del self._values[key]
        return value

    def keep(self, key: CacheKey, value: VisionFeatures | PrefixCache | Generation) -> None:
        """Keep a value as the most recently used."""
        self._values.pop(key, None)
        size = value.bytes
        if size > self._max_bytes:
            return
        self._values[key] = value, size
        while self.bytes > self._max_bytes:
            self._values.popitem(last=False)

    def discard(self, stale: Callable[[CacheKey], bool]) -> None:
        """Drop every value whose key is `stale`."""
        for key in [key for key in self._values if stale(key)]:
            del self._values[key]

    def clear(self) -> None:
        """Drop every value."""
        self._values.clear()


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of the storages behind some tensors, each counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
