"""Three devices of the lane that the environment names. Collected only in a child, which `test_in_a_child.py` starts."""

from __future__ import annotations

import os

import pytest

from conformance.devices import activate, available

INSIDE = "CONFORMANCE_INSIDE" in os.environ
collect_ignore_glob = [] if INSIDE else ["test_*.py"]


@pytest.fixture(scope="session")
def devices() -> tuple[str, ...]:
    return activate(available(), 3)


@pytest.fixture
def backend(devices: tuple[str, ...]) -> tuple[str, ...]:
    """The devices, where they are a backend of torch and not only names."""
    if available() != "simulated":
        pytest.skip("labels are not a backend")
    return devices
