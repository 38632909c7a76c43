"""Where a worker judges: in its own process, or, models that a device map places, in a child with the devices for it."""

from __future__ import annotations

import traceback
import warnings
from typing import TYPE_CHECKING

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Outcome
from conformance.devices.current import asked
from conformance.engine import search as engine
from conformance.engine.known import KnownFailure
from conformance.families import Family
from conformance.session.events import Replay, Replayed
from conformance.session.exit_codes import broken
from conformance.session.held import lab_for

if TYPE_CHECKING:
    from conformance.engine.controls import Example


def judge(
    clause: Clause, family: Family, budget: engine.Budget, entries: tuple[KnownFailure, ...], devices: str = ""
) -> Cell:
    """The cell of one item; whatever goes wrong in judging is a broken harness. Deaf to the host's warning filters.

    ``devices`` are real ones for placed models, separated by commas; empty for the best lane that torch allows.
    """
    try:
        if clause.placed and not asked():
            return _judged_apart(clause, family, budget, entries, devices)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return engine.judge(clause, family, budget, entries, lab_for(family.name))
    except UserError as error:
        return broken(clause.id, family.name, str(error))
    except Exception:
        return broken(clause.id, family.name, traceback.format_exc(limit=-6))


def _judged_apart(
    clause: Clause, family: Family, budget: engine.Budget, entries: tuple[KnownFailure, ...], devices: str
) -> Cell:
    from conformance.worker.isolated import Judge, ask_placed, brought

    request = Judge(clause=clause.id, family=family.name, budget=budget, known=entries, kind=brought(family.name))
    answer = ask_placed(devices, request)
    return answer.cell or broken(clause.id, family.name, answer.error)


def replay(entry: KnownFailure, clause: Clause, family: Family, devices: str = "") -> Replayed:
    """Whether ``entry`` still fails: its minimal Case, run again."""
    try:
        return _replay(entry, clause, family, devices)
    except Exception:
        return replayed(entry, "broken harness", traceback.format_exc(limit=-6))


def run_once(clause: Clause, family: Family, case: Case, *, sure: bool = False, devices: str = "") -> Example | str:
    """What ``case`` shows, with its controls; or why the installed transformers has no such family.

    ``sure``: a violation is repeated without the memo, and in float64, as a search does before it reports one.
    """
    from conformance.engine.controls import confirm, examine
    from conformance.families.build import absent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        missing = absent(family)
        if missing:
            return missing
        if clause.placed and not asked():
            return _examined_apart(clause, case, sure, devices)
        lab = lab_for(family.name)
        example = examine(clause, lab, case)
        return confirm(clause, lab, example) if sure else example


def _examined_apart(clause: Clause, case: Case, sure: bool, devices: str) -> Example:
    from conformance.worker.isolated import Examine, ask_placed, brought

    request = Examine(clause=clause.id, case=case, sure=sure, kind=brought(case.family))
    answer = ask_placed(devices, request)
    if answer.example is None:
        raise RuntimeError(f"the process for placed models failed: {answer.error}")
    return answer.example


def _replay(entry: KnownFailure, clause: Clause, family: Family, devices: str) -> Replayed:
    example = run_once(clause, family, entry.case, devices=devices)
    if isinstance(example, str):
        return replayed(entry, "absent", example)
    if example.outcome is Outcome.BROKEN:
        return replayed(entry, "broken harness", example.reason)
    if example.finding and entry.matches(example.finding):
        return replayed(entry, "still fails", example=example)
    if clause.placed and example.outcome is Outcome.NOT_APPLICABLE:
        return replayed(entry, "absent", example.reason)  # not with these devices
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
