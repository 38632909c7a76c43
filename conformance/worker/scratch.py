"""One temporary folder for a whole run, for all its processes; what a killed run left is swept when the next one starts.

That its run still lives is said by a lock: the kernel gives it back when the last process that holds it is gone, however it
went, and unlike a process number it is never given to another.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDER = "CONFORMANCE_SCRATCH"
"""Environment variable by which a run tells its processes the folder."""
PREFIX, LOCK = "conformance-run-", "in-use"
_held: list[int] = []
"""Open files of locks, for as long as this process lives."""


def run_folder() -> Path:
    """The temporary folder of this run. The first process that asks makes it, and removes it when it ends."""
    if FOLDER not in os.environ or not Path(os.environ[FOLDER]).is_dir():
        sweep()
        made = Path(tempfile.mkdtemp(prefix=PREFIX))
        _lock(made)
        os.environ[FOLDER] = str(made)
        atexit.register(_remove, made, os.getpid())
    return Path(os.environ[FOLDER])


def empty_folder() -> Path:
    """A folder with nothing in it: the working directory of a child, from which it can import nothing."""
    empty = run_folder() / "empty"
    empty.mkdir(exist_ok=True)
    return empty


def variables() -> dict[str, str]:
    """What makes a child put its temporary files here."""
    return dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(run_folder()))


def sweep() -> None:
    """Remove what is left of runs that are gone."""
    for lock in list(_locks(Path(tempfile.gettempdir()))):
        with suppress(ImportError, OSError):
            import fcntl

            with lock.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError while its run lives
                shutil.rmtree(lock.parent, ignore_errors=True)


def _locks(parent: Path) -> Iterator[Path]:
    with suppress(OSError):
        for left in parent.glob(f"{PREFIX}*"):
            if (left / LOCK).is_file():
                yield left / LOCK


def _lock(made: Path) -> None:
    """Locked before it has its name, so that nobody sees it unlocked."""
    with suppress(ImportError):
        import fcntl

        file = os.open(made / "making", os.O_CREAT | os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(made / "making", made / LOCK)
        _held.append(file)


def _remove(made: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in what was forked
        os.environ.pop(FOLDER, None)
        shutil.rmtree(made, ignore_errors=True)
