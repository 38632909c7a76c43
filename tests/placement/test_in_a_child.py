"""What is in `inside/` and `chapter/`, in a process of its own for each lane and file: entering a lane cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.devices import FORCED
from conformance.devices.current import environment_for

INSIDE, CHAPTER = Path(__file__).parent / "inside", Path(__file__).parent / "chapter"
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("lane", ["simulated", "labelled"])
@pytest.mark.parametrize("name", sorted(path.name for path in INSIDE.glob("test_*.py")))
def test_all_tests_inside_pass(name: str, lane: str) -> None:
    passes(INSIDE / name, {FORCED: lane})


@pytest.mark.parametrize("name", sorted(path.name for path in CHAPTER.glob("test_*.py")))
def test_all_tests_of_the_chapter_pass(name: str) -> None:
    passes(CHAPTER / name, environment_for(""))


def passes(file: Path, lane: dict[str, str]) -> None:
    """All tests in ``file`` pass, in a process that may enter the lane."""
    # Neither this run's workers and options, nor an order to forget byte code, are meant for the child.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONDONT"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=ROOT,
        env={
            **kept,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "CONFORMANCE_INSIDE": "1",
            **lane,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
