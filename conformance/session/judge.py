"""Where a worker judges: in its own process, or, models that a device map places, in a child with the devices for it."""

from __future__ import annotations

import traceback
import warnings
from typing import TYPE_CHECKING

from msgspec import Struct

from conformance.clauses.registry import Clause, clause_named
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Item
from conformance.core.outcome import Outcome
from conformance.devices.current import environment_for, is_for_placed_models
from conformance.engine import search as engine
from conformance.engine.controls import Example
from conformance.engine.known import KnownFailure
from conformance.families import Family, adopt, family_named, foreign
from conformance.session import time_budget
from conformance.session.events import Replay, Replayed
from conformance.worker.child import SECONDS, WorkerError, call_kept

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

SECONDS_PER_EXAMPLE = 60.0
"""Added to the limit of a child that judges an item, for each example per stratum: thorough runs take long.

Measured over the quick profile: an item takes at most 20 CPU seconds for its three examples per stratum, shrinking included.
"""


class JudgeItem(Struct, frozen=True, kw_only=True):
    """Judge one item in a child. ``family`` is the item's where the child cannot know it."""

    item: Item
    budget: engine.Budget
    known: tuple[KnownFailure, ...] = ()
    family: Family | None = None


class RunCase(Struct, frozen=True, kw_only=True):
    """Hold one Case against a clause in a child; the rest as in :class:`JudgeItem` and :func:`run_case`."""

    clause: str
    case: Case
    confirmed: bool = False
    family: Family | None = None


_current: dict[str, Lab] = {}


def current_lab(family: str) -> Lab:
    """The lab of ``family``: one at a time, so that one family is in memory. The first call of a process imports torch."""
    if family not in _current:
        import torch

        from conformance.runs.lab import Lab

        torch.set_num_threads(1)
        _current.clear()
        _current[family] = Lab()
    return _current[family]


def judge_item(item: Item, budget: engine.Budget, known: tuple[KnownFailure, ...], devices: str = "") -> Cell:
    """The cell of one item; whatever goes wrong in judging is a broken harness. Deaf to the host's warning filters.

    ``devices`` are real ones for placed models, separated by commas; empty for the best lane that torch allows.
    """
    try:
        request = JudgeItem(item=item, budget=budget, known=known, family=foreign(item.family))
        if clause_named(item.clause).placed and not is_for_placed_models():
            # One that hangs must not take the time in which the rest of the run is written down.
            seconds = time_budget.capped(SECONDS + SECONDS_PER_EXAMPLE * budget.examples, grace=SECONDS)
            return call_kept(environment_for(devices), f"{__name__}:judge_here", request, Cell, seconds)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return judge_here(request)
    except (UserError, WorkerError) as error:
        return Cell.broken(item, str(error))
    except Exception:
        return Cell.broken(item, traceback.format_exc(limit=-6))


def judge_here(request: JudgeItem) -> Cell:
    """The cell of one item, judged in this process."""
    if request.family:
        adopt(request.family)
    return engine.judge(request.item, request.budget, request.known, current_lab(request.item.family))


def run_case(clause: Clause, case: Case, *, confirmed: bool = False, devices: str = "") -> Example | str:
    """What ``case`` shows, with its controls; or why the installed transformers has no such family.

    ``confirmed``: a violation is repeated without the memo, and in float64, as a search does before it reports one.
    """
    from conformance.families.build import absent

    request = RunCase(clause=clause.id, case=case, confirmed=confirmed, family=foreign(case.family))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        missing = absent(family_named(case.family))
        if missing:
            return missing
        if clause.placed and not is_for_placed_models():
            return call_kept(environment_for(devices), f"{__name__}:run_case_here", request, Example)
        return run_case_here(request)


def run_case_here(request: RunCase) -> Example:
    """What a Case shows, in this process."""
    from conformance.engine.controls import confirm, run_with_control

    if request.family:
        adopt(request.family)
    clause, lab = clause_named(request.clause), current_lab(request.case.family)
    example = run_with_control(clause, lab, request.case)
    return confirm(clause, lab, example) if request.confirmed else example


def replay_known(entry: KnownFailure, devices: str = "") -> Replayed:
    """Whether ``entry`` still fails: its minimal Case, run again."""
    try:
        return _replay(entry, devices)
    except (UserError, WorkerError) as error:
        return replayed(entry, "broken harness", str(error))
    except Exception:
        return replayed(entry, "broken harness", traceback.format_exc(limit=-6))


def _replay(entry: KnownFailure, devices: str) -> Replayed:
    clause = clause_named(entry.clause)
    example = run_case(clause, entry.case, devices=devices)
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
        method=entry.case.method,
        state=state,
        function=entry.function,
        reason=entry.reason,
        links=entry.links,
        why=why,
        finding=example.finding if example else None,
    )
