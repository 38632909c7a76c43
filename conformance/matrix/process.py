"""Processes that see a pair of releases: our own command, with the pair's folders first on its path."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from conformance.matrix.uv import Unreachable
from conformance.worker.environment import environment

IMPORT_CHECK = "conformance.matrix.import_check"
IMPORTING = 900
"""Seconds in which a pair can be imported, from a cold disk too."""
REPLAYING = 2 * IMPORTING
"""Seconds in which one Case can be replayed: its process imports the pair, and so may a child of it."""


def call(
    module: str, arguments: Sequence[str], paths: Sequence[str], *, out: IO[bytes], err: IO[bytes], limit: float | None
) -> int | None:
    """The exit code of ``python -m module``, in an empty folder; nothing if it had to be ended after ``limit`` seconds."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as empty:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment({"HF_HUB_OFFLINE": "1"}, paths),
            cwd=empty,
            start_new_session=os.name == "posix",
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:  # too late, or this process is being interrupted
                _end(process)


def end_children_on_sigterm() -> None:
    """Let this process end as it does when it is interrupted, and its children with it, when it is told to terminate."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def import_problem(paths: Sequence[str]) -> str:
    """Nothing, if the pair at ``paths`` can be imported and made to wrap a model; else why not.

    Raises :class:`Unreachable` if the process that tries does not get to say it: that tells nothing about the pair.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        answer, log = Path(folder) / "answer", Path(folder) / "log"
        with log.open("wb") as output:
            code = call(IMPORT_CHECK, [str(answer)], paths, out=output, err=output, limit=IMPORTING)
        if answer.exists():
            return answer.read_text("utf-8")
        end = f"exit code {code}" if code is not None else f"no answer after {IMPORTING} s"
        raise Unreachable(f"the process that tried to import it ended with {end}: {last_line(log)}")


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
