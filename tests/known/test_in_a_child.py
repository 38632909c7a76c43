"""The known failures of placed models, in a process of its own: entering the devices cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


@pytest.mark.skipif("CONFORMANCE_INSIDE" in os.environ, reason="this is the child")
@pytest.mark.parametrize("lane", ["", "offload"])
@pytest.mark.parametrize("file", ["test_known_failures.py", "test_hides_nothing.py", "test_mends_together.py"])
def test_each_known_failure_of_a_placed_model_is_proven(file: str, lane: str) -> None:
    # Neither this run's workers and options, nor an order to forget byte code, are meant for the child.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONDONT"))}
    here = {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "CONFORMANCE_DEVICES": "",
        "CONFORMANCE_INSIDE": "1",
        "CONFORMANCE_LANE": lane,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / file)],
        cwd=ROOT,
        env={**kept, **here},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
