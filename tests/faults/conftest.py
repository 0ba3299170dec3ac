"""One page for all faults that a process survives, and their table: what each test of this folder saw is a row."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests import ROOT
from tests.faults.served import Page, started

#: The folder of the embedded adapters.
EMBEDDED = ROOT / "inference" / "demo" / "weights" / "adapters"

_FIVE = pytest.param(5, marks=pytest.mark.hostile)
#: How often a fault is met: once, and five times with the hostile tests.
TIMES = pytest.mark.parametrize("times", [1, _FIVE])
#: Five times, with the hostile tests alone.
FIVE_TIMES = pytest.mark.parametrize("times", [_FIVE])


@pytest.fixture(scope="package")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page over two adapters: its engine meets faults, its numbers and its connections can be read."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("find-red", "gone"):
        shutil.copytree(EMBEDDED / "find-red", folder / "adapters" / name)
    with started(folder, "--adapters-dir", str(folder / "adapters"), metrics=True) as page:
        yield page


@pytest.fixture
def saw(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Write down what a person saw of a fault, and how often it held, the next request right each time."""
    return lambda fault, sentence, times: record_property("row", [fault, sentence, times])
