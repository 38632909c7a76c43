"""In a child of `test_in_a_child.py` simulated devices are entered, once and for good: there placed models are looked at."""

from __future__ import annotations

import os

import pytest

from conformance.devices.current import current


@pytest.fixture(scope="session", autouse=True)
def devices() -> tuple[str, ...]:
    return current().names if "CONFORMANCE_INSIDE" in os.environ else ()
