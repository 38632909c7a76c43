"""Work in a child process: fresh-process loads, placed models, whole items in another environment. One mechanism.

The pipe knows no message. A call names a function, ``module:function``, and gives it one record; the child imports the
function, decodes the record as its annotation says, and answers with what the function returns. So each request lives beside
what it is about, and this module imports none of them. A child is kept for further calls: its imports are paid once.

Every call has a limit of time, every child one of memory: judged code may hang or grow without bound, and that must cost one
answer, never the run.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from conformance.core.errors import UserError
from conformance.worker import scratch
from conformance.worker.environment import CHANNEL, MEMORY, STACK, environment, view
from conformance.worker.messages import Answer, Call

T = TypeVar("T")
SECONDS = 900.0
"""The limit of one call unless the caller knows better: a first import from a cold disk can take minutes."""
BYTES = 12 << 30
"""The limit of a child's data. Measured over the standard profile of the three largest families with placed models and fresh
processes: 0.48 GiB. The rest is room for what a real device's library reserves without using it."""
ENDING = 10.0
"""Seconds in which a child that is told to end does so."""
WRITING = 0.3
"""Seconds in which a child writes down where it is."""


class WorkerError(RuntimeError):
    """A child process of ours gave no answer: the harness is broken, nobody else."""


class ChildLost(WorkerError):
    """The child ended, did not answer in time, or said something that is not an answer. It is of no further use."""


class NoAnswer(ChildLost):
    """The child did not answer in time."""


class Process(Protocol):
    """What a :class:`Child` needs of its process."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; :class:`subprocess.TimeoutExpired` if it does not in time."""

    def kill(self) -> None:
        """End it."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""


class Child:
    """A process of our own with the variables ``changes`` on top of this one's environment."""

    def __init__(self, changes: Mapping[str, str] | None = None) -> None:
        self._pipe, far_end = Pipe()
        self._stack = scratch.run_folder() / f"stack-{os.getpid()}-{far_end.fileno()}"
        told = {MEMORY: str(BYTES), CHANNEL: str(far_end.fileno()), STACK: str(self._stack)}
        self._process: Process = subprocess.Popen(
            [sys.executable, "-m", "conformance.worker.serve"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment({**told, **view(), **scratch.variables(), **(changes or {})}),
            # `-m` puts the working directory first on the path: nothing of the user's may be imported from there by accident.
            cwd=scratch.empty_folder(),
            pass_fds=(far_end.fileno(),),
        )
        far_end.close()
        atexit.register(self.close)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether it is of no further use."""
        return self._process.poll() is not None

    def call(self, function: str, record: Struct, answer: type[T], seconds: float = SECONDS) -> T:
        """What ``function`` gives for ``record``, as an ``answer``.

        Raises :class:`~conformance.core.errors.UserError` where the function does, :class:`ChildLost` if the child ends or
        does not answer within ``seconds``, and :class:`WorkerError` for any other exception of the function.
        """
        request = msgspec.json.encode(Call(function, Raw(msgspec.json.encode(record))))
        try:
            reply = self._exchange(request, seconds)
            parsed = msgspec.json.decode(reply, type=Answer)
            if parsed.problem is None:
                return msgspec.json.decode(parsed.value, type=answer)
        except msgspec.MsgspecError as error:
            self.kill()
            raise ChildLost(f"the child process gave what is not an answer: {reply[:80]!r}") from error
        problem = parsed.problem
        if problem.code:
            raise UserError(problem.code, problem.message, problem.cause, problem.cure)
        raise WorkerError(problem.message)

    def _exchange(self, request: bytes, seconds: float) -> bytes:
        lost: ChildLost
        try:
            self._pipe.send_bytes(request)
            if self._pipe.poll(seconds):
                return self._pipe.recv_bytes()
            lost = NoAnswer(f"the child process gave no answer in {seconds:g} s{self._whereabouts()}")
        except (OSError, EOFError):
            lost = ChildLost(f"the child process ended with exit code {self._exit_code()}")
        except BaseException:
            self.kill()
            raise
        self.kill()  # what it still says would be taken for the answer to another call
        raise lost

    def _whereabouts(self) -> str:
        """Where it is, for one that hangs: its innermost frames, or that somebody has stopped it."""
        with suppress(OSError, IndexError, AttributeError):
            if Path(f"/proc/{self._process.pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] in "Tt":
                return ": it has been stopped"
        with suppress(OSError, AttributeError, ValueError):
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(WRITING)
            lines = self._stack.read_text("utf-8", "replace").splitlines()
            frames = [line.strip() for line in lines if line.strip().startswith("File ")][:3]
            return f": it was in {'; '.join(frames)}" if frames else ""
        return ""

    def close(self) -> None:
        """End the child: it ends by itself once the pipe is closed, unless it hangs."""
        self._pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        self.kill()

    def kill(self) -> None:
        """End the child at once."""
        atexit.unregister(self.close)
        self._pipe.close()
        self._process.kill()  # which does nothing to one that has ended
        self._process.wait()

    def _exit_code(self) -> int | str:
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(ENDING)
        return "unknown"


_kept: dict[tuple[tuple[str, str], ...], Child] = {}


def call_kept(
    changes: Mapping[str, str], function: str, record: Struct, answer: type[T], seconds: float = SECONDS
) -> T:
    """:meth:`Child.call` on this process's child with the variables ``changes``; where it has ended, on a fresh one."""
    key = tuple(sorted(changes.items()))
    if key not in _kept or _kept[key].ended:
        _kept[key] = Child(changes)
    return _kept[key].call(function, record, answer, seconds)
