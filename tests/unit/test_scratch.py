"""One temporary folder for a run, which goes with the run, however it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conformance.worker import scratch

pytestmark = [pytest.mark.light, pytest.mark.skipif(os.name != "posix", reason="the lock is one of POSIX")]
ROOT = Path(__file__).parents[2]
MAKES = "from conformance.worker import scratch; print(scratch.run_folder(), flush=True); input()"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(scratch.FOLDER, raising=False)
    return tmp_path


def a_run(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has made its folder, and waits."""
    env = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    env.pop(scratch.FOLDER, None)
    made = subprocess.Popen(
        [sys.executable, "-c", MAKES], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None
    return made, Path(made.stdout.readline().strip())


def test_a_run_removes_its_folder(temporary: Path) -> None:
    run, folder = a_run(temporary)
    assert folder.parent == temporary
    assert folder.is_dir()
    run.communicate("\n")
    assert not folder.exists()


def test_what_a_killed_run_left_is_swept_and_what_lives_is_not(temporary: Path) -> None:
    alive, kept = a_run(temporary)
    killed, left = a_run(temporary)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (temporary / f"{scratch.PREFIX}of-somebody-else").mkdir()
    scratch.sweep()
    assert kept.is_dir()
    assert not left.exists()
    assert (temporary / f"{scratch.PREFIX}of-somebody-else").is_dir()
    alive.communicate("\n")


def test_children_share_it_and_work_in_an_empty_folder(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scratch.FOLDER, str(temporary))
    assert scratch.run_folder() == temporary
    assert set(scratch.variables().values()) == {str(temporary)}
    assert list(scratch.empty_folder().iterdir()) == []
