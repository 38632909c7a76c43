"""Where items are judged: always in a child, which a run can lose; placed models in one that has the devices for it.

The process that collects outcomes and decides the exit code runs no judged code, so that nothing judged can end it, or change
what it says. A child that ends or hangs costs its item, and is replaced.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from conformance.clauses.registry import Clause, clause_named
from conformance.compat.versions import versions
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Item
from conformance.core.outcome import Outcome, State
from conformance.devices.current import environment_for
from conformance.devices.lanes import FORCED
from conformance.engine import search as engine
from conformance.engine import witness
from conformance.engine.controls import Example
from conformance.engine.explain import Entries, beyond_its_range, controlled_as_seen, seen, with_mends
from conformance.engine.known import KnownFailure
from conformance.families import Family, adopt, family_named, foreign
from conformance.families.presence import CannotImport
from conformance.families.size import too_large
from conformance.methods.presence import lacking
from conformance.session import time_budget
from conformance.session.events import Replay, Replayed
from conformance.worker.child import SECONDS, NoAnswer, WorkerError, call_kept

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

ALL = ("all",)
"""What a report says is mended in a run with every known failure mended, and what names them all."""
T = TypeVar("T")
GRACE = 10.0
"""Seconds beyond the requested time that an item has which began before its end: what has begun is mostly ended by then."""
SECONDS_PER_EXAMPLE = 180.0
"""Added to the limit of a child that judges an item, for each array: thorough runs take long.

Measured over the quick profile: an item takes at most 20 CPU seconds for its covering array, shrinking included.
"""


class JudgeItem(Struct, frozen=True, kw_only=True):
    """Judge one item in a child, with the known failures of a selection.

    ``family`` is the item's where the child cannot know it.
    """

    item: Item
    budget: engine.Budget
    known: Entries = ()
    mended: Entries = ()
    family: Family | None = None


class RunCase(Struct, frozen=True, kw_only=True):
    """Hold one Case against a clause in a child; the rest as in :class:`JudgeItem` and :func:`run_case`."""

    clause: str
    case: Case
    known: Entries = ()
    mended: Entries = ()
    confirmed: bool = False
    family: Family | None = None


class Shown(Struct, frozen=True):
    """What a Case showed, or why the installed transformers has no such family."""

    example: Example | str


class TimeSpent(Exception):
    """The requested time was spent before there was an answer."""


_current: dict[str, Lab] = {}


def current_lab(family: str) -> Lab:
    """The lab of ``family``: one at a time, so that one family is in memory. The first call of a process imports torch."""
    if family not in _current:
        import torch

        from conformance.runs.lab import Lab

        torch.set_num_threads(1)
        witness.start()
        _current.clear()
        _current[family] = Lab()
    return _current[family]


def judge_item(item: Item, budget: engine.Budget, known: Entries, devices: str = "", *, mended: Entries = ()) -> Cell:
    """The cell of one item; whatever goes wrong in judging is a broken harness.

    ``known`` explains what resembles it, the mends of ``mended`` are in force throughout. ``devices`` are real
    ones for placed models, separated by commas; empty for the best lane that torch allows.
    """
    try:
        request = JudgeItem(item=item, budget=budget, known=known, mended=mended, family=foreign(item.family))
        seconds = SECONDS + SECONDS_PER_EXAMPLE * budget.examples
        return _in_child(clause_named(item.clause), "judge_here", request, Cell, devices, seconds)
    except TimeSpent:
        return Cell.of(item, State.NOT_RUN, f"{time_budget.SPENT} before it was judged to its end")
    except (CannotImport, UserError, WorkerError) as error:
        return Cell.broken(item, str(error))
    except Exception:
        return Cell.broken(item, traceback.format_exc(limit=-6))


def _in_child(
    clause: Clause, function: str, request: Struct, answer: type[T], devices: str, seconds: float, lane: str = ""
) -> T:
    """What ``function`` of this module gives for ``request``, in the kept child for such clauses."""
    limit = time_budget.capped(seconds, grace=GRACE)
    surroundings = {**environment_for(devices), **({FORCED: lane} if lane else {})} if clause.placed else {}
    try:
        return call_kept(surroundings, f"{__name__}:{function}", request, answer, limit)
    except NoAnswer as late:
        raise TimeSpent if limit < seconds else late from late


def judge_here(request: JudgeItem) -> Cell:
    """The cell of one item, judged in this process."""
    if request.family:
        adopt(request.family)
    with with_mends(current_lab(request.item.family), request.mended, ALL) as lab:
        return engine.judge(request.item, request.budget, request.known, lab)


def run_case(
    clause: Clause,
    case: Case,
    *,
    known: Entries = (),
    mended: Entries = (),
    confirmed: bool = False,
    devices: str = "",
    lane: str = "",
) -> Example | str:
    """What ``case`` shows, with its controls; or why the installed transformers has no such family.

    ``known`` and ``mended`` as in :func:`judge_item`; ``confirmed``: a violation is repeated without the memo, and in
    float64, as a search does before it reports one; ``lane`` is the one to use in place of the best.
    """
    if why := too_large(case):
        raise UserError(
            "case-too-large",
            f"this Case is not built: {why}",
            "it would take gigabytes, and what it shows a small one shows too",
            "give it fewer or smaller layers, heads, rows, beams or tokens",
        )
    request = RunCase(
        clause=clause.id, case=case, known=known, mended=mended, confirmed=confirmed, family=foreign(case.family)
    )
    return _in_child(clause, "run_case_here", request, Shown, devices, SECONDS, lane).example


def run_case_here(request: RunCase) -> Shown:
    """What a Case shows, in this process."""
    if request.family:
        adopt(request.family)
    if missing := lacking(family_named(request.case.family), request.case.method):
        return Shown(missing)
    clause = clause_named(request.clause)
    with with_mends(current_lab(request.case.family), request.mended) as lab:
        example = seen(clause, lab, request.case, request.known)
        example = controlled_as_seen(clause, lab, example, request.known, confirmed=request.confirmed)
        return Shown(beyond_its_range(clause, lab, example, request.known))


def replay_known(entry: KnownFailure, known: Entries, devices: str = "") -> Replayed:
    """Whether ``entry``, one of ``known``, still fails, and its mend explains it: its minimal Case, run again."""
    try:
        return _replay(entry, known, devices)
    except TimeSpent:
        return replayed(entry, "not run", time_budget.SPENT)
    except (CannotImport, UserError, WorkerError) as error:
        return replayed(entry, "broken harness", str(error))
    except Exception:
        return replayed(entry, "broken harness", traceback.format_exc(limit=-6))


def _replay(entry: KnownFailure, known: Entries, devices: str) -> Replayed:
    clause = clause_named(entry.clause)
    on = "" if entry.lane else devices
    example = run_case(clause, entry.case, known=known, devices=on, lane=entry.lane)
    if isinstance(example, str):
        return replayed(entry, "absent", example)
    if entry.id in example.known:
        return replayed(entry, "still fails", example=example)
    # Behind another known failure, such as a prefix that is ignored, it does not show: with all others mended it does.
    others = tuple(other for other in known if other.mend != entry.mend and other.applies(versions()))
    alone: Example | str = example
    if others:
        alone = run_case(clause, entry.case, known=(entry,), mended=others, devices=on, lane=entry.lane)
    if isinstance(alone, Example) and entry.id in alone.known:
        return replayed(entry, "still fails", example=alone)
    return _no_longer(entry, example if example.outcome is not Outcome.CONFORMS else alone)


def _no_longer(entry: KnownFailure, example: Example | str) -> Replayed:
    """What became of a known failure whose Case does not fail as it did."""
    if isinstance(example, str):
        return replayed(entry, "absent", example)
    if example.outcome is Outcome.BROKEN:
        return replayed(entry, "broken harness", example.reason)
    if example.known:
        return replayed(entry, "mended", f"{', '.join(example.known)} alone explains its Case now", example)
    if example.finding:
        what = f"{example.finding.how.value}, {example.finding.difference.what}"
        return replayed(entry, "not explained", f"its Case {entry.case.id} violates otherwise now: {what}", example)
    why = f"its Case {entry.case.id} {example.outcome.value} now" + (f" ({example.reason})" if example.reason else "")
    return replayed(entry, "mended" if example.outcome is Outcome.CONFORMS else "undecided", why, example)


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
        severity=entry.severity or "",
        links=entry.links,
        why=why,
        finding=example.finding if example else None,
    )
