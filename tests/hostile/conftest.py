"""How many examples properties are tried on, and a port that is free."""

import socket

import pytest
from hypothesis import HealthCheck, settings

#: A plain run tries few examples, always the same; the hostile one many, at random.
_USUAL = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("plain", max_examples=30, derandomize=True, **_USUAL)  # type: ignore[arg-type]
settings.register_profile("hostile", max_examples=1_500, **_USUAL)  # type: ignore[arg-type]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Which of the two counts here."""
    settings.load_profile("hostile" if "hostile" in (config.option.markexpr or "") else "plain")


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
