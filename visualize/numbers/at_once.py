"""Decide how what is found of each layer or token is found: one after another, on as many cores as help.

float64 maps of all heads of all layers at once would be many times the recording. NumPy lets other threads work while
it computes.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from inference.measures import Measure
from inference.recording import FloatArray

_Found = TypeVar("_Found")
_MOST_THREADS = 4


def each_at_once(find: Callable[..., _Found], *of: Iterable[object]) -> list[_Found]:
    """What `map` gives, in its order.

    Args:
        find: takes one of each of `of`.
        of: of each layer or token something.
    """
    # threads of its own for each call: a process that is forked has none of those before
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), "measure") as threads:
        return list(threads.map(find, *of))


def at_once(measure: Callable[..., Measure], *maps: Iterable[FloatArray]) -> Measure:
    """What a measure gives for the maps of each layer or token, stacked.

    Args:
        measure: see `each_at_once`.
        maps: per layer or token an array: what there is along an array's first axis, for example.
    """
    return np.stack(each_at_once(measure, *maps))
