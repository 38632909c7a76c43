"""A requested time: what is worth most comes first, and what is left when the time is spent is *not run*, never passed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from conformance.core.errors import UserError

if TYPE_CHECKING:
    from conformance.clauses.registry import Clause


class Ranked(Protocol):
    """Something that is to be run: what has a smaller priority comes earlier."""

    name: str
    priority: int


T = TypeVar("T", bound=Ranked)

DEADLINE, FAILED = "CONFORMANCE_DEADLINE", "CONFORMANCE_FAILED_BEFORE"
"""Environment variables by which the controller tells its workers: seconds since the epoch, and items."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
SPENT = "the requested time was spent"
FIRST, NORMAL, LAST = 0, 1, 2
"""Ranks of items where time is short."""


def seconds(text: str | None) -> float | None:
    """``60s``, ``5m``, ``1.5h`` or a number of seconds. Raises :class:`~conformance.core.errors.UserError` for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or not float(match[1]):
        raise UserError(
            "bad-time",
            f"{text!r} is not a length of time",
            "a time is a number above 0 with s, m or h behind it, such as 60s",
            "give such a time, or none to run everything",
        )
    return float(match[1]) * UNITS[match[2] or "s"]


def start_clock(limit: float | None, report: str | None) -> None:
    """Start the clock; what failed in the last run that wrote ``report`` comes first. Only the controller calls it."""
    for name in (DEADLINE, FAILED):
        os.environ.pop(name, None)
    if limit is not None:
        os.environ[DEADLINE] = str(time.time() + limit)
        os.environ[FAILED] = ",".join(_failed(report))


def _failed(report: str | None) -> list[str]:
    from conformance.core.outcome import BROKEN, VIOLATES
    from conformance.session.reader import read_events

    if not report or not Path(report).is_file():
        return []
    try:
        cells = read_events(Path(report)).cells
    except UserError:
        return []  # something else that is about to be overwritten
    return [str(cell.item) for cell in cells if cell.word in (VIOLATES, BROKEN)]


def is_limited() -> bool:
    """Whether there is a limit."""
    return DEADLINE in os.environ


def is_spent() -> bool:
    """Whether the time is over."""
    return is_limited() and time.time() > float(os.environ[DEADLINE])


def capped(seconds: float, grace: float) -> float:
    """``seconds``, but where time is short no more than what is left of it, and ``grace``."""
    return min(seconds, max(0.0, float(os.environ[DEADLINE]) - time.time()) + grace) if is_limited() else seconds


def priority(clause: Clause) -> int:
    """The rank of a clause: cheap ones that find much first, last those that need a process of their own."""
    return LAST if clause.placed else FIRST if clause.priority else NORMAL


def by_priority(items: Sequence[T]) -> list[T]:
    """Where time is short, what failed before, and then by priority; else in the given order."""
    if not is_limited():
        return list(items)
    failed = os.environ.get(FAILED, "").split(",")
    return sorted(items, key=lambda item: -1 if item.name in failed else item.priority)
