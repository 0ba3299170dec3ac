"""The page over the scripted backend."""

from typing import Any

import pytest

from tests.inference.service.events import page_over
from tests.scripted_backend import ScriptedBackend


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def page(backend: ScriptedBackend) -> Any:
    return page_over(backend)
