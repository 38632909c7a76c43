"""Fail one operation of one process of a run: the n-th that touches a file, a folder, a process or a pipe.

What an operation is, Python says itself: its audit events. Writes to files and messages on pipes have none, and are wrapped.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import sysconfig
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EMFILE", "EIO", "ENOMEM", "EPIPE")}
ENDS = ("memory", "hang", "kill", "stop", "exit0")
FAULT, COUNTS = "INJECT", "INJECT_COUNTS"
"""Environment variables: ``kind:controller|child:number``, and a file to which each process adds how many operations it made."""
EVENTS = frozenset(
    [
        "open",
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.scandir",
        "shutil.rmtree",
        "subprocess.Popen",
        "os.fork",
    ]
)
LIBRARIES = (
    sysconfig.get_paths()["stdlib"],
    sysconfig.get_paths()["purelib"],
    str(Path(__file__).parents[2]),
    "/dev",
    "/proc",
)


class Injector:
    """Counts the operations of this process, and fails one."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.number, self.seen, self.busy = kind, number, 0, False

    def operation(self) -> None:
        """One more."""
        if self.busy:
            return
        self.seen += 1
        if self.seen == self.number:
            self.busy = True  # what the fault itself does is no operation
            self.strike()
            self.busy = False

    def strike(self) -> None:
        """The fault."""
        if self.kind in ERRORS:
            self.busy = False
            raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]))
        if self.kind == "memory":
            self.busy = False
            raise MemoryError
        if self.kind == "hang":
            time.sleep(3600)
        if self.kind == "exit0":
            os._exit(0)
        if self.kind in ("kill", "stop"):
            os.kill(os.getpid(), signal.SIGKILL if self.kind == "kill" else signal.SIGSTOP)

    def audited(self, event: str, args: tuple[Any, ...]) -> None:
        """A hook for audit events. Reading code is no operation: whoever cannot even start has no run."""
        if event in EVENTS and not (event == "open" and str(args[0]).startswith(LIBRARIES)):
            self.operation()


class Written:
    """A file that was opened to write; each write and flush is an operation."""

    def __init__(self, file: Any, injector: Injector) -> None:
        self._file, self._injector = file, injector

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush"):
            self._injector.operation()
        return getattr(self._file, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def install() -> None:
    """Fail what the environment says, in this process; or count only."""
    role = "child" if "CONFORMANCE_CHANNEL" in os.environ else "controller"
    kind, where, number = os.environ.get(FAULT, "none:none:0").split(":")
    injector = Injector(kind, int(number) if where == role else 0)
    sys.addaudithook(injector.audited)
    _wrap(injector)
    if counts := os.environ.get(COUNTS):
        import atexit

        atexit.register(lambda: Path(counts, role).write_text(str(injector.seen), "utf-8"))


def _wrap(injector: Injector) -> None:
    opened = io.open

    def opening(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        made = opened(file, mode, *rest, **named)
        mine = set(mode) & set("wax") and isinstance(file, (str, Path)) and not str(file).startswith(LIBRARIES)
        return Written(made, injector) if mine else made

    io.open = opening  # what pathlib calls
    for name in ("send_bytes", "recv_bytes", "poll"):
        setattr(Connection, name, _counting(getattr(Connection, name), injector))


def _counting(method: Any, injector: Injector) -> Any:
    def counted(self: Any, *args: Any, **named: Any) -> Any:
        injector.operation()
        return method(self, *args, **named)

    return counted
