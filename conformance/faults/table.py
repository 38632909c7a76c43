"""The table of faults: which clauses detect each, and after how many examples the clause that must does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from statistics import median

from msgspec import Struct

from conformance.clauses.registry import Clause, clauses
from conformance.devices.current import environment_for, is_for_placed_models
from conformance.engine.search import Budget
from conformance.faults.detection import detected, examples, failing_before, in_force, named_clause, search_with_fault
from conformance.faults.registry import Fault, fault_named, faults
from conformance.worker.child import SECONDS, call_kept

SECONDS_PER_SEED = 120.0
"""Added to the limit of a child that plants a fault, for each seed."""

QUICK = Budget(shrink=False)


class Detection(Struct, frozen=True, kw_only=True):
    """One fault.

    ``clause`` is the one that must find it, ``clauses`` are all that do (none: it survives); ``examples_median`` and
    ``examples_worst`` say how many examples the named clause needed, over the seeds, and are ``None`` where it missed
    the fault with some seed.
    """

    fault: str
    statement: str
    clause: str
    family: str
    method: str
    clauses: tuple[str, ...]
    examples_median: float | None
    examples_worst: int | None
    fired: bool
    cpu_seconds: float


class Plant(Struct, frozen=True):
    """Plant a fault in a child process, and see which clauses find it."""

    fault: str
    seeds: int


def detections(ids: Iterable[str] = (), seeds: int = 10) -> Iterator[Detection]:
    """What came of each fault of ``ids`` (all if empty), as soon as it is known."""
    for fault in [fault_named(id) for id in ids] or faults().values():
        request = Plant(fault.id, seeds)
        if named_clause(fault).placed and not is_for_placed_models():
            # A fault in how models are placed takes effect in a process that has devices for them.
            seconds = SECONDS + SECONDS_PER_SEED * seeds
            yield call_kept(environment_for(""), f"{__name__}:detection", request, Detection, seconds)
        else:
            yield detection(request)


def detection(request: Plant) -> Detection:
    """What came of one fault."""
    fault, started = fault_named(request.fault), time.process_time()
    finders, fired = _finders(fault)
    needed = _needed(fault, request.seeds)
    return Detection(
        fault=fault.id,
        statement=fault.statement,
        clause=fault.clause,
        family=fault.family,
        method=fault.method,
        clauses=finders,
        examples_median=None if None in needed else median(n for n in needed if n is not None),
        examples_worst=None if None in needed else max(n for n in needed if n is not None),
        fired=fired,
        cpu_seconds=round(time.process_time() - started, 2),
    )


def _finders(fault: Fault) -> tuple[tuple[str, ...], bool]:
    """The ids of the clauses that detect the fault, and whether it took effect at all."""
    # A fault in how models are placed takes effect on placed models only, in a process that has devices for them.
    judged = {id: clause for id, clause in clauses().items() if clause.placed == named_clause(fault).placed}
    failing = {id: failing_before(clause, fault, QUICK) for id, clause in judged.items()}
    with in_force(fault) as planted:
        verdicts = {id: search_with_fault(clause, planted, QUICK, failing[id]) for id, clause in judged.items()}
    return tuple(id for id, verdict in verdicts.items() if detected(verdict, planted)), planted.fired > 0


def _needed(fault: Fault, seeds: int) -> list[int | None]:
    """For each seed how many examples the named clause needed; ``None`` where it missed the fault."""
    clause = named_clause(fault)
    return [
        _examples(clause, fault, Budget(seed=seed, shrink=False)) for seed in range(1 if clause.fixed_case else seeds)
    ]


def _examples(clause: Clause, fault: Fault, budget: Budget) -> int | None:
    failing = failing_before(clause, fault, budget)
    with in_force(fault) as planted:
        verdict = search_with_fault(clause, planted, budget, failing)
    return examples(verdict) if detected(verdict, planted) else None
