"""What stands in the way of the output of a run: a disk that is full, another run, a terminal that knows no letters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conformance.session.writer import Writer

Command = Callable[..., "subprocess.CompletedProcess[str]"]
WRONG = ("run", "--clauses", "miniature.wrong,miniature.holds", "--families", "llama", "--known", "none")


def test_a_full_disk_is_said_in_a_line_beside_the_summary_of_what_was_judged(command: Command) -> None:
    done = command(*WRONG, "--report", "/dev/full", "--workers", "0")
    assert done.returncode == 3
    assert "Traceback" not in done.stdout + done.stderr
    assert "Violation 1 of 1" in done.stdout
    assert "To be noted\n  the events could not be written to the end: No space left on device\n" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("Exit code 3: broken harness or incomplete.")


def test_a_report_that_another_run_writes_is_a_users_error(command: Command, tmp_path: Path) -> None:
    other = Writer(tmp_path / "events.jsonl")
    done = command(*WRONG, "--report", "events.jsonl", "--workers", "0")
    other.close()
    assert done.returncode == 2
    assert "report-in-use: another run is writing " in done.stderr
    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_with_oo_it_is_said_what_is_missing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "conformance", "run", "--known", "none"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no-docstrings: Python runs with -OO")
