"""Whether a clause finds a planted fault: by a violation that is absent without it, and only if the fault took effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from msgspec.structs import replace

from conformance.clauses.registry import Check, Clause, clause_named, described, precondition
from conformance.compat.versions import versions
from conformance.core.case import Case
from conformance.core.finding import Verdict
from conformance.core.outcome import Outcome
from conformance.engine import known
from conformance.engine.explain import seen
from conformance.engine.known import KnownFailure
from conformance.engine.search import Budget, search
from conformance.families import family_named
from conformance.faults.registry import Fault
from conformance.runs.lab import Lab


@dataclass
class InForce:
    """A fault in force: the lab that has it, and how often it took effect."""

    fault: Fault
    lab: Lab = field(default_factory=Lab)
    fired: int = 0

    def fire(self, when: object = True) -> bool:
        """It takes effect now, if ``when``; as :class:`~conformance.faults.registry.Fired`."""
        self.fired += bool(when)
        return bool(when)


@contextmanager
def in_force(fault: Fault) -> Iterator[InForce]:
    """Plant ``fault`` for the length of the block. What fails without it is found out before."""
    planted = InForce(fault)
    with fault.planted(planted.fire) as maker:
        planted.lab = Lab(maker)
        yield planted


def search_with_fault(
    clause: Clause, planted: InForce, budget: Budget, failing: frozenset[Case] = frozenset()
) -> Verdict:
    """The verdict of ``clause`` on the fault's family and method, over the Cases other than those ``failing`` without it."""

    @precondition(otherwise="Without the fault it is violated too")
    def differs(case: Case) -> bool:
        """A Case that conforms without the fault."""
        return case not in failing

    spared, fault = replace(clause, requires=(*clause.requires, differs)), planted.fault
    family = family_named(fault.family)
    return search(spared, family, budget, known_failures(fault.maker), planted.lab, method=fault.method)


def detected(verdict: Verdict, planted: InForce) -> bool:
    """Whether the search stopped at a violation of the fault's."""
    return verdict.outcome is Outcome.VIOLATES and verdict.finding is not None and planted.fired > 0


def examples(verdict: Verdict) -> int:
    """How many examples were judged, up to and including the first violation that is not known."""
    return sum(verdict.counts.values())


def weaker_clause(check: Check, placed: bool = False) -> Clause:
    """A weaker check, to be searched like a clause."""
    id, statement = f"weaker.{check.__name__}", described(check, "weaker check")[0]
    return Clause(id=id, statement=statement, explanation="", check=check, control="runs", placed=placed)


def named_clause(fault: Fault) -> Clause:
    """The clause that must find ``fault``."""
    return clause_named(fault.clause)


@cache
def known_failures(maker: str) -> tuple[KnownFailure, ...]:
    """The known failures of the installed releases; the reference wrapper has none."""
    if maker != "peft":
        return ()
    return tuple(entry for entry in known.load(known.shipped()) if entry.applies(versions()))


def failing_before(clause: Clause, fault: Fault, budget: Budget) -> frozenset[Case]:
    """The Cases of this search that fail without the fault, and that no known failure explains.

    Where one does, the fault is looked for under its mend. To be asked for before the fault is in force.
    """
    return frozenset() if fault.maker != "peft" else _failing(clause, fault.family, fault.method, budget)


@cache
def _healthy(family_name: str) -> Lab:
    return Lab("peft")


@cache
def _failing(clause: Clause, family_name: str, method: str, budget: Budget) -> frozenset[Case]:
    failing: set[Case] = set()
    entries, healthy = known_failures("peft"), _healthy(family_name)

    def check(lab: Lab, case: Case) -> None:
        example = seen(clause, healthy, case, entries)
        if example.outcome is Outcome.VIOLATES and not example.known:
            failing.add(case)

    search(replace(clause, check=check), family_named(family_name), budget, (), healthy, method=method)
    return frozenset(failing)
