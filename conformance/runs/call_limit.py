"""A limit of time for one judged call: a PEFT that never answers is wrong, and must not hide in a harness that waits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 120.0
"""The limit. A call takes milliseconds, the first one seconds, since it imports PEFT: a loaded machine stays far below."""
AGAIN = 1.0
"""Seconds after which it is said again to code that swallowed it."""


class NeverAnswers(BaseException):
    """The limit of a judged call is over. No ``Exception``: what is judged may catch those."""


@contextmanager
def limited(seconds: float | None = None) -> Iterator[None]:
    """Raise :class:`NeverAnswers` where the block takes longer than ``seconds``, by default :data:`SECONDS`.

    Only where nobody else uses the alarm, and not within another limit: an inner call is a part of the outer one's answer.
    """
    if not _may_set():
        yield
        return
    limit = SECONDS if seconds is None else seconds

    def over(_: int, __: FrameType | None) -> None:
        raise NeverAnswers(f"no answer in {limit:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _may_set() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )
