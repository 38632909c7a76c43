"""What is in `inside/`, in a process of its own for each lane and file: entering a lane cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parent / "inside"
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("lane", ["simulated", "labelled"])
@pytest.mark.parametrize("name", sorted(path.name for path in INSIDE.glob("test_*.py")))
def test_all_tests_inside_pass(name: str, lane: str) -> None:
    # Neither this run's workers and options, nor an order to forget byte code, are meant for the child.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONDONT"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE / name)],
        cwd=ROOT,
        env={
            **kept,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "CONFORMANCE_LANE": lane,
            "CONFORMANCE_INSIDE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
