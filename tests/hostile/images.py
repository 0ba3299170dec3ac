"""The corpus of image files: which kinds, how many of each, in an order that a seed decides."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.hostile.bombs import bombs, small_bombs
from tests.hostile.damage import DAMAGES
from tests.hostile.valid_images import READ, valid_images

#: What the formats that the doors do not read are damaged by, once.
_SHORT = ("cut", "extremes", "flip")


@dataclass(frozen=True, slots=True)
class HostileFile:
    """One file to hand in.

    Attributes:
        name: unique in its corpus; says what it is.
        kind: the first word of its name: a format, a kind of damage, `bomb` and the like.
        make: its bytes; a bomb's are made when it is its turn.
        whole: a valid file of a format that the doors read: it must be analysed.
        foreign: of a format that they do not read: it must be refused.
    """

    name: str
    kind: str
    make: Callable[[], bytes]
    whole: bool = False
    foreign: bool = False


def corpus(seed: int, rounds: int, *, with_bombs: bool) -> Iterator[HostileFile]:
    """Valid files of every format, those that the doors read damaged in every way `rounds` times, and bombs.

    Args:
        seed: decides every byte.
        rounds: how often each valid file is damaged in each way, and each small bomb made anew.
        with_bombs: also those that take seconds or much memory wherever they are read without care.
    """
    valid = list(valid_images(seed))
    for form, label, content in valid:
        yield HostileFile(f"valid/{label}", "valid", _given(content), form in READ, form not in READ)
    for round_ in range(rounds):
        rng = np.random.default_rng([seed, round_])
        for name, content in small_bombs(rng).items():
            yield HostileFile(f"small/{name}/{round_}", "small", _given(content))
        for form, label, content in valid:
            for kind, damage in DAMAGES.items():
                if form not in READ and (round_ or kind not in _SHORT):
                    continue  # nothing reads these beyond their first bytes
                yield HostileFile(f"{kind}/{label}/{round_}", kind, _given(damage(content, rng)))
    if with_bombs:
        for name, make in bombs().items():
            yield HostileFile(f"bomb/{name}", "bomb", make)


def sample(seed: int, count: int) -> list[HostileFile]:
    """So many of one round, of every kind about as many; the same for the same seed."""
    rng = np.random.default_rng(seed)
    files = list(corpus(seed, 1, with_bombs=False))
    kinds = sorted({file.kind for file in files})
    by_kind = {kind: [file for file in files if file.kind == kind] for kind in kinds}
    chosen: list[HostileFile] = []
    for index in range(count):
        pool = by_kind[kinds[index % len(kinds)]]
        if pool:
            chosen.append(pool.pop(int(rng.integers(len(pool)))))
    return chosen


def _given(content: bytes) -> Callable[[], bytes]:
    return lambda: content
