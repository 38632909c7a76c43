"""The events file while it is written: one writer at a time, and a full disk costs no verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.core.errors import UserError
from conformance.session.events import Run
from conformance.session.writer import Writer

pytestmark = pytest.mark.light


def test_a_second_writer_is_refused_and_leaves_the_file_as_it_is(tmp_path: Path, run: Run) -> None:
    first = Writer(tmp_path / "events")
    first.write(run.header)
    before = (tmp_path / "events").read_bytes()
    with pytest.raises(UserError) as caught:
        Writer(tmp_path / "events")
    assert caught.value.code == "report-in-use"
    assert (tmp_path / "events").read_bytes() == before
    first.close()
    Writer(tmp_path / "events").close()
    assert (tmp_path / "events").read_bytes() == b""


def test_a_writer_that_was_killed_locks_nobody_out(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from conformance.session.writer import Writer\n"
        "kept = Writer(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "events")], check=False)
    assert done.returncode == -9
    Writer(tmp_path / "events").close()


def test_what_is_no_file_is_not_locked() -> None:
    one, two = Writer(Path("/dev/null")), Writer(Path("/dev/null"))
    one.close()
    two.close()
