"""Decide how a measure of many maps is taken: of one layer's (or token's) maps after another, on as many cores as help.

float64 maps of all heads of all layers at once would be many times the recording. NumPy lets other threads work while
it computes.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from inference.measures import Measure
from inference.records import FloatArray

_THREADS = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="measure")


def at_once(measure: Callable[..., Measure], *maps: Iterable[FloatArray]) -> Measure:
    """What a measure gives for the maps of each layer or token, stacked: the same as of one after another.

    Args:
        measure: takes one array of each of `maps`; it must not call this function.
        maps: per layer or token an array: what there is along an array's first axis, for example.
    """
    return np.stack(list(_THREADS.map(measure, *maps)))
