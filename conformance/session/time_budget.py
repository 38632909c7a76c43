"""A requested time: what is worth most comes first, and what is left when the time is spent is *not run*, never passed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.core.errors import UserError

if TYPE_CHECKING:
    from conformance.pytest_plugin.items import ConformanceItem

DEADLINE, FAILED = "CONFORMANCE_DEADLINE", "CONFORMANCE_FAILED_BEFORE"
"""Environment variables by which the controller tells its workers: seconds since the epoch, and items."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
WHY = "the requested time was spent"


def seconds(given: str | None) -> float | None:
    """``60s``, ``5m``, ``1.5h`` or a number of seconds. Raises :class:`~conformance.core.errors.UserError` for anything else."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", given)
    if not found or not float(found[1]):
        raise UserError(
            "bad-time",
            f"{given!r} is not a length of time",
            "a time is a number above 0 with s, m or h behind it, such as 60s",
            "give such a time, or none to run everything",
        )
    return float(found[1]) * UNITS[found[2] or "s"]


def begin(limit: float | None, report: str | None) -> None:
    """Start the clock; what failed in the last run that wrote ``report`` comes first. Only the controller calls it."""
    for name in (DEADLINE, FAILED):
        os.environ.pop(name, None)
    if limit is not None:
        os.environ[DEADLINE] = str(time.time() + limit)
        os.environ[FAILED] = ",".join(_failed(report))


def _failed(report: str | None) -> list[str]:
    from conformance.core.finding import Outcome
    from conformance.session.events import read

    if not report or not Path(report).is_file():
        return []
    try:
        cells = read(Path(report)).cells
    except UserError:
        return []  # something else that is about to be overwritten
    return [cell.item for cell in cells if cell.verdict and cell.verdict.outcome in (Outcome.VIOLATES, Outcome.BROKEN)]


def hurried() -> bool:
    """Whether there is a limit."""
    return DEADLINE in os.environ


def spent() -> bool:
    """Whether the time is over."""
    return hurried() and time.time() > float(os.environ[DEADLINE])


def by_worth(items: Sequence[ConformanceItem]) -> list[ConformanceItem]:
    """What failed before, then the sharp clauses, then the rest, and last what needs a process of its own."""
    failed = os.environ.get(FAILED, "").split(",")

    def worth(item: ConformanceItem) -> int:
        if item.name in failed:
            return 0
        clause = getattr(item, "clause", None)
        if clause is None:
            return 2
        return 3 if clause.placed else 1 if clause.sharp else 2

    return sorted(items, key=worth)
