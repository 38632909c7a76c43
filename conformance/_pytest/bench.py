"""Where a worker judges: one lab at a time, dropped when the family changes, so that one family is in memory."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import TYPE_CHECKING

from conformance import engine
from conformance.case import Case
from conformance.clauses.registry import Clause
from conformance.errors import UserError
from conformance.families import Family
from conformance.known import KnownFailure
from conformance.report.events import Replay, Replayed
from conformance.report.tally import broken
from conformance.verdict import Cell, Outcome

if TYPE_CHECKING:
    from conformance.confirm import Example
    from conformance.lab import Lab

_held: dict[str, Lab] = {}


def lab_for(family: str) -> Lab:
    """The lab of ``family``. The first call of a process imports torch, and holds it to one thread."""
    if family not in _held:
        from conformance.lab import Lab

        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        _held.clear()
        _held[family] = Lab()
    return _held[family]


def judge(clause: Clause, family: Family, budget: engine.Budget, entries: tuple[KnownFailure, ...]) -> Cell:
    """The cell of one item; whatever goes wrong in judging is a broken harness. Deaf to the host's warning filters."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return engine.judge(clause, family, budget, entries, lab_for(family.name))
    except UserError as error:
        return broken(clause.id, family.name, str(error))
    except Exception:
        return broken(clause.id, family.name, traceback.format_exc(limit=-6))


def replay(entry: KnownFailure, clause: Clause, family: Family) -> Replayed:
    """Whether ``entry`` still fails: its minimal Case, run again."""
    try:
        return _replay(entry, clause, family)
    except Exception:
        return replayed(entry, "broken harness", traceback.format_exc(limit=-6))


def run_once(clause: Clause, family: Family, case: Case, *, sure: bool = False) -> Example | str:
    """What ``case`` shows, with its controls; or why the installed transformers has no such family.

    ``sure``: a violation is repeated without the memo, and in float64, as a search does before it reports one.
    """
    from conformance.confirm import confirm, examine
    from conformance.families.build import absent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lab = lab_for(family.name)
        missing = absent(family)
        if missing:
            return missing
        example = examine(clause, lab, case)
        return confirm(clause, lab, example) if sure else example


def _replay(entry: KnownFailure, clause: Clause, family: Family) -> Replayed:
    example = run_once(clause, family, entry.case)
    if isinstance(example, str):
        return replayed(entry, "absent", example)
    if example.outcome is Outcome.BROKEN:
        return replayed(entry, "broken harness", example.reason)
    if example.finding and entry.matches(example.finding):
        return replayed(entry, "still fails", example=example)
    return replayed(entry, "mended", _now(entry, example), example)


def _now(entry: KnownFailure, example: Example) -> str:
    if example.finding:
        return f"its Case violates in another way now: {example.finding.how.value}, {example.finding.difference.what}"
    why = f" ({example.reason})" if example.reason else ""
    return f"its Case {entry.case.id} {example.outcome.value} now{why}"


def replayed(entry: KnownFailure, state: Replay, why: str = "", example: Example | None = None) -> Replayed:
    """The event that says how ``entry`` fared."""
    return Replayed(
        id=entry.id,
        clause=entry.clause,
        family=entry.case.family,
        state=state,
        function=entry.function,
        reason=entry.reason,
        links=entry.links,
        why=why,
        finding=example.finding if example else None,
    )
