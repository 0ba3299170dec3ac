"""The faults' table: what each test of this folder saw is a row of it."""

from collections.abc import Callable

import pytest

_FIVE = pytest.param(5, marks=pytest.mark.hostile)
#: How often a fault is met: once, and five times with the hostile tests.
TIMES = pytest.mark.parametrize("times", [1, _FIVE])
#: Five times, with the hostile tests alone.
FIVE_TIMES = pytest.mark.parametrize("times", [_FIVE])


@pytest.fixture
def saw(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Write down what a person saw of a fault, and how often it held, the next request right each time."""
    return lambda fault, sentence, times: record_property("row", [fault, sentence, times])
