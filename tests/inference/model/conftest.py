from collections.abc import Callable
from functools import cache

import pytest

from tests.inference.model.placed import Placed


@pytest.fixture(scope="session")
def placed(tmp_path_factory) -> Callable[[str], Placed]:
    """Checkpoints with adapters in known places, by kind; made once."""
    return cache(lambda kind: Placed(tmp_path_factory.mktemp(f"placed-{kind}"), kind))
