"""The events file while it is written: by one run, each event at once."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from conformance.core.errors import UserError
from conformance.core.finding import encode
from conformance.session.events import AnyEvent


class Writer:
    """Writes events, each at once. Opened before anything runs: a path that cannot be written is a user's error.

    So is one that another run is writing: of two runs in one file nobody could tell which judged what.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = _opened(path)
        except BlockingIOError as error:
            raise UserError(
                "report-in-use",
                f"another run is writing {path}",
                "two runs in one file could not be told apart, and the second would overwrite the first",
                "wait for the other run, or give each a file of its own",
            ) from error
        except OSError as error:
            raise UserError(
                "unwritable-report",
                f"{path} cannot be written: {error.strerror}",
                "the report file is opened before anything runs, so that no run is lost",
                "give a file in an existing folder that you may write to",
            ) from error

    def write(self, event: AnyEvent) -> None:
        """One line, flushed: what was judged survives a crash."""
        self._file.write(encode(event) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> TextIO:
    """``path``, emptied; locked as long as it is open, if it is a file and not, say, ``/dev/null``."""
    file = path.open("a", encoding="utf-8")
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            _lock(file)
            file.truncate(0)
    except OSError:
        file.close()
        raise
    return file


def _lock(file: TextIO) -> None:
    """Lock ``file`` itself: the lock ends with the process, however that ends. Raises where another process has it."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
