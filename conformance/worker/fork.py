"""A child that is a fork of this process: what is imported here need not be imported again."""

from __future__ import annotations

import atexit
import subprocess
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from conformance.worker import scratch
from conformance.worker.child import Child
from conformance.worker.serve import end_with_parent, serve_on

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess


class Fork(Child):
    """This process as it is now, at next to no cost: it has imported what this one has, and no more than this one has."""

    def __init__(self) -> None:
        self._pipe, far_end = Pipe()
        self._stack = scratch.run_folder() / "no-stack"
        fork = get_context("fork")
        self._process = _Forked(fork.Process(target=_serve_fork, args=(self._pipe, far_end), daemon=True))
        far_end.close()
        atexit.register(self.close)


class _Forked:
    """A forked process with as much of the face of :class:`subprocess.Popen` as a :class:`Child` needs."""

    def __init__(self, process: ForkProcess) -> None:
        self._process = process
        process.start()
        self.pid = process.pid or 0

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
        return self._process.exitcode

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def send_signal(self, sig: int) -> None:
        """It has no stack to write."""
        raise OSError(f"a fork has no stack to write on signal {sig}")


def _serve_fork(near_end: Connection, far_end: Connection) -> None:
    near_end.close()  # else the pipe stays open when the parent closes its end
    end_with_parent()
    serve_on(far_end)
