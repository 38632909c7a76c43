"""How soon a run over everything finds a planted fault, from cold: CPU seconds, the imports included.

A fault is held against the items of the default selection in the order of a run whose time is short, families and all; the
clauses that must find it are not known here. What is counted is one process without workers, and no shrinking: at the first
confirmed violation the run has found it. A violation that is there without the fault finds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from statistics import median_low

from msgspec import Struct

from conformance.clauses.registry import clause_named, clauses
from conformance.core.finding import DEFAULT_METHOD, Item, Verdict
from conformance.core.outcome import Outcome
from conformance.devices.current import environment_for, is_for_placed_models
from conformance.engine.controls import run_with_control
from conformance.engine.known import KnownFailure
from conformance.engine.search import Budget, search
from conformance.families import families, family_named
from conformance.faults.detection import detected, in_force, known_failures, named_clause
from conformance.faults.registry import Fault, fault_named, faults
from conformance.runs.lab import Lab
from conformance.session.time_budget import priority
from conformance.worker.child import SECONDS, Child, call_kept

BUDGET = Budget(shrink=False)


class Kill(Struct, frozen=True, kw_only=True):
    """When one fault was found, and by which item; ``seconds`` is ``None`` where it was not within the limit."""

    fault: str
    item: str = ""
    seconds: float | None = None


class Limited(Struct, frozen=True):
    """Look for a fault for so many CPU seconds, ``before`` of which have been spent when the first item begins."""

    fault: str
    seconds: float
    before: float


def kills(ids: Iterable[str], limit: float) -> Iterator[Kill]:
    """When each fault of ``ids`` (all if empty) is found, within ``limit`` CPU seconds, as soon as it is known."""
    for fault in [fault_named(id) for id in ids] or faults().values():
        if named_clause(fault).placed and not is_for_placed_models():
            before = import_seconds() + seconds_on_plain_models(limit) + import_seconds()
            request = Limited(fault.id, limit, before)
            yield call_kept(environment_for(""), f"{__name__}:kill", request, Kill, SECONDS + 10 * limit)
        else:
            yield kill(Limited(fault.id, limit, import_seconds()))


def kill(request: Limited) -> Kill:
    """When one fault is found, by the items that are judged where this process is."""
    fault = fault_named(request.fault)
    placed = named_clause(fault).placed
    items = [item for item in all_items(fault.method) if clause_named(item.clause).placed == placed]
    spent, spoiled = request.before, set[Item]()
    while True:
        verdict, item, spent = first_violation(fault, [each for each in items if each not in spoiled], request)
        if verdict is None or item is None:
            return Kill(fault=fault.id)
        if not _is_there_anyway(fault, verdict):
            return Kill(fault=fault.id, item=str(item), seconds=round(spent, 2))
        spoiled.add(item)


def all_items(method: str = DEFAULT_METHOD) -> list[Item]:
    """Every item, in the order of a run whose time is short."""
    items = [Item(clause, family, method) for family in families() for clause in clauses()]
    return sorted(items, key=lambda item: priority(clause_named(item.clause)))


def first_violation(fault: Fault, items: Sequence[Item], request: Limited) -> tuple[Verdict | None, Item | None, float]:
    """The first verdict that is due to ``fault``, its item, and the CPU seconds until then; nothing if time is over."""
    with in_force(fault) as planted:
        started = time.process_time()
        for item, verdict in _verdicts(items, planted.lab, known_failures(fault.maker)):
            spent = request.before + time.process_time() - started
            if spent > request.seconds:
                break
            if detected(verdict, planted):
                return verdict, item, spent
    return None, None, 0.0


def _verdicts(items: Iterable[Item], lab: Lab, known: tuple[KnownFailure, ...]) -> Iterator[tuple[Item, Verdict]]:
    family = ""
    for item in items:
        if item.family != family:
            family, lab = item.family, lab.fresh()  # as in a run, which keeps one family
        yield item, search(clause_named(item.clause), family_named(family), BUDGET, known, lab, method=item.method)


def _is_there_anyway(fault: Fault, verdict: Verdict) -> bool:
    """Whether the Case that was found is violated without the fault too."""
    assert verdict.finding
    clause, case = clause_named(verdict.finding.clause), verdict.finding.case
    return run_with_control(clause, Lab(fault.maker), case).outcome is Outcome.VIOLATES


@cache
def seconds_on_plain_models(limit: float) -> float:
    """CPU seconds that the items on plain models take, which come before those on placed ones; at most ``limit``."""
    started = time.process_time()
    plain = [item for item in all_items() if not clause_named(item.clause).placed]
    for _ in _verdicts(plain, Lab("peft"), known_failures("peft")):
        if time.process_time() - started > limit:
            break
    return min(limit, time.process_time() - started)


class Nothing(Struct, frozen=True):
    """A request that says nothing."""


@cache
def import_seconds() -> float:
    """CPU seconds of a process that has imported what it judges with, and has done nothing else."""
    with Child() as child:
        return child.call(f"{__name__}:seconds_so_far", Nothing(), float)


def seconds_so_far(request: Nothing) -> float:
    """CPU seconds of this process, which has imported this module."""
    import peft  # noqa: F401

    return time.process_time()


def found_within(rows: Sequence[Kill], seconds: float) -> int:
    """How many faults were found within so many CPU seconds."""
    return sum(row.seconds is not None and row.seconds <= seconds for row in rows)


def lines(rows: Sequence[Kill], limits: Sequence[float]) -> list[str]:
    """The curve in words: how many are found within each limit, when half of them are, and when the last one is."""
    curve = [f"within {limit:g} CPU s: {found_within(rows, limit)} of {len(rows)} planted faults" for limit in limits]
    seconds = sorted(float("inf") if row.seconds is None else row.seconds for row in rows)
    half, last = (
        f"{value:g} s" if value <= limits[-1] else "not found" for value in (median_low(seconds), seconds[-1])
    )
    return [*curve, f"median {half}, slowest {last}; the imports take {import_seconds():.1f} s of each"]
