"""The rings, their budgets, and the fixtures that all tests may ask for."""

import signal
from importlib.util import find_spec

import pytest

pytest.register_assert_rewrite("tests.support")

from tests.support.budget import Rings  # noqa: E402 - after the line that lets its asserts explain themselves

BUDGETS = {"unit": 90.0, "conformance": 120.0, "integration": 600.0, "acceptance": 900.0}
"""Ring -> seconds that its tests may take in all, in the order in which the rings run."""

_FIXTURES = (
    *("redis", "wire", "processes", "dockerd", "engine", "workers", "trial", "load"),
    *("gateway", "browser", "ward", "clinic", "mortal"),
)
pytest_plugins = [f"tests.support.{name}" for name in _FIXTURES if find_spec(f"tests.support.{name}")]


def pytest_configure(config: pytest.Config) -> None:
    """Count time and skips from the first collected file on.

    A shell that puts the run into the background has it ignore SIGINT; programs started by tests would too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Rings(BUDGETS), "pointsman-rings")
