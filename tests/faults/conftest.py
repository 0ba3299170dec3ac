"""The faults' table: what each test of this folder saw is a row of it."""

from collections.abc import Callable

import pytest

#: How often a fault is met: once in a plain run, five times with the slow tests.
TIMES = pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])


@pytest.fixture
def saw(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Write down what a person saw of a fault, and how often it held, the next request right each time."""
    return lambda fault, sentence, times: record_property("row", [fault, sentence, times])
