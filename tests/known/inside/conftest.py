"""Simulated devices, entered once and for good. Collected only in a child, which `test_in_a_child.py` starts."""

from __future__ import annotations

import os

import pytest

from conformance.devices.current import current

collect_ignore_glob = [] if "CONFORMANCE_INSIDE" in os.environ else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def devices() -> tuple[str, ...]:
    return current().names
