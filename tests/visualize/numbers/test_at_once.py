"""What is found of many layers at once is what one after another finds, in their order, whoever asks."""

import threading
import time

import numpy as np
import pytest

from inference.errors import SelectionError
from visualize.numbers.at_once import at_once, each_at_once


def test_what_is_found_stands_in_the_order_of_the_layers_however_long_each_takes():
    def find(layer: int, name: str) -> tuple[int, str]:
        time.sleep(0.001 * (8 - layer))
        return layer, name

    assert each_at_once(find, range(8), "abcdefgh") == list(enumerate("abcdefgh"))


def test_a_measure_of_each_first_axis_is_stacked():
    maps = np.random.default_rng(0).random((5, 3, 2, 4))
    found = at_once(lambda first, second: (first - second).sum(axis=(-2, -1)), maps, maps[::-1])
    np.testing.assert_array_equal(found, (maps - maps[::-1]).sum(axis=(-2, -1)))
    assert found.shape == (5, 3)


def test_a_failure_is_the_askers_and_no_thread_stays():
    own: set[threading.Thread] = set()

    def find(layer: int) -> int:
        own.add(threading.current_thread())
        if layer == 3:
            raise SelectionError("There is no layer 3.")
        return each_at_once(lambda inner: inner + layer, [1])[0]  # a measure may ask so itself

    assert each_at_once(find, range(3)) == [1, 2, 3]
    with pytest.raises(SelectionError, match="no layer 3"):
        each_at_once(find, range(6))
    assert not own & set(threading.enumerate())
