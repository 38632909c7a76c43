"""A process for placed models. Collected only in a child, which `test_in_a_child.py` starts."""

from __future__ import annotations

import os

import pytest
import torch

from conformance.devices.current import current

INSIDE = "CONFORMANCE_INSIDE" in os.environ
collect_ignore_glob = [] if INSIDE else ["test_*.py"]


@pytest.fixture(autouse=True, scope="session")
def _lane() -> None:
    """Three devices, one thread."""
    torch.set_num_threads(1)
    assert current().names == ("sim:0", "sim:1", "sim:2")
