"""What a command does when nobody reads it any more, or never did, and when it is told to end.

The exit code is the verdict. It must not depend on whether a pager was left, a terminal was closed or a log's disk is full.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from types import FrameType
from typing import Any, NoReturn, TextIO, cast


class Forgiving:
    """A stream of text. Once it cannot be written because of ``causes``, what follows is dropped and nothing is raised.

    For any other reason whoever writes is told, again and again: some ask first whether they may, and forget the answer.
    """

    def __init__(self, stream: TextIO, causes: tuple[int, ...]) -> None:
        self._stream, self._causes = stream, causes
        self._lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, if anybody takes it."""
        self._unless_lost(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody takes it."""
        self._unless_lost(self._stream.flush)

    def _unless_lost(self, act: Any) -> None:
        if self._lost is not None:
            raise self._lost
        try:
            act()
        except OSError as error:
            # What is still buffered would fail once more when Python ends, which then ends with a code of its own.
            _to_nowhere(self._stream.fileno())
            if error.errno not in self._causes:
                self._lost = error
                raise


def forgiving(stream: TextIO | None, *causes: int) -> TextIO:
    """``stream``, such that losing its reader is no error; where there is none, one that goes nowhere."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return cast("TextIO", Forgiving(stream, (errno.EPIPE, *causes)))


@contextmanager
def own_streams() -> Iterator[None]:
    """Standard streams that are there, and forgive.

    Output forgives a lost reader and nothing else, since it may be all that is wanted; standard error everything: it only says
    how far things are. Output that is lost at the very end is told there, and the process ends with 3.
    """
    for number in range(3):
        _open_if_closed(number)
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout, sys.stderr = forgiving(sys.stdout), forgiving(sys.stderr, errno.ENOSPC, errno.EIO, errno.EBADF)
    try:
        yield
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                with suppress(ValueError):
                    stream.flush()
        except OSError as lost:
            print(f"the output is lost: {lost}", file=sys.stderr)
            sys.exit(3)
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Let a request to terminate, or a closed terminal, do what Ctrl-C does: a run says what it knows, and ends with 3."""
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    changed = {}
    with suppress(ValueError):  # only the main thread may, and only it is interrupted
        for number in numbers:
            if signal.getsignal(number) is signal.SIG_DFL:  # not what `nohup` wants ignored
                changed[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: the next one must not disturb the tidying
    raise KeyboardInterrupt(f"signal {number}")


def _open_if_closed(number: int) -> None:
    """A file that is opened next would take the number of a closed stream, and what is printed would end up in it."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
