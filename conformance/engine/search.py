"""clause x family -> Hypothesis search -> Verdict. Knows no pytest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from msgspec import Struct

from conformance.clauses.registry import Clause, clause_named
from conformance.core.case import Case
from conformance.core.finding import DEFAULT_METHOD, Cell, Finding, Item, Verdict
from conformance.core.outcome import Outcome, State
from conformance.devices.current import current
from conformance.engine.controls import Example, confirm, run_with_control
from conformance.engine.database import Counterexamples, open_database
from conformance.engine.known import KnownFailure
from conformance.engine.shrink import shrink
from conformance.families import Family, family_named
from conformance.strategies import MAPS, STRATA, Stratum, cases

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

PROFILES = {"quick": 3, "standard": 12, "thorough": 60}
"""Examples per stratum. Quick is 24 examples per item, thorough 480."""


class Budget(Struct, frozen=True, kw_only=True):
    """How long to search: ``examples`` per stratum, the seed of the draws, and whether a violation is made minimal.

    ``database`` is where earlier violations are kept (:func:`conformance.engine.database.open_database`): a search begins with them.
    """

    examples: int = PROFILES["quick"]
    seed: int = 0
    shrink: bool = True
    database: str = "none"

    def decisive(self, clause: Clause) -> int:
        """How many decisive examples *conforms* needs: the clause's own number, more in larger budgets."""
        return clause.decisive if clause.fixed_case else max(1, clause.decisive * self.examples // PROFILES["quick"])


class Found(Exception):
    """Raised inside Hypothesis so that it shrinks."""


class _Search:
    """The state of one search: tallies, and the violation that is being shrunk."""

    def __init__(self, clause: Clause, lab: Lab, known: Iterable[KnownFailure]) -> None:
        self.clause, self.lab, self.entries = clause, lab, tuple(known)
        self.counts: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.evidence: dict[str, Finding] = {}
        self.first: Example | None = None
        self.worst: Example | None = None

    def visit(self, case: Case) -> None:
        """Judge every follow-up Case of one drawn Case; raise :class:`Found` on a violation that no entry matches.

        From the first one on, only violations of its kind raise: a shrink must not slip into another. And what earlier
        calls left behind must not count: each attempt has a lab of its own.
        """
        follow_ups = self.clause.cases(case)
        for follow in follow_ups:
            self.look(follow)
        if self.worst and self.worst.case in follow_ups:
            # Hypothesis tells failures apart by the line that raises: there is one.
            raise Found

    def look(self, case: Case) -> Example:
        """Judge one Case."""
        example = run_with_control(self.clause, self.lab if self.worst is None else self.lab.fresh(), case, self._match)
        if self.worst is None:
            self.first = self.worst = self._tally(example)
        elif self._shrinks(example):
            self.worst = example
        return example

    def _shrinks(self, example: Example) -> bool:
        return self.worst is not None and self.worst.alike(example) and not self._match(example)

    def _match(self, example: Example) -> KnownFailure | None:
        finding = example.finding
        return next((entry for entry in self.entries if finding and entry.matches(finding)), None)

    def _tally(self, example: Example) -> Example | None:
        """Count the example; give it back if it is a confirmed violation that no entry matches, or breaks the harness."""
        entry = self._match(example)
        if entry:
            self.counts[Outcome.VIOLATES.value] += 1
            self.known[entry.id] += 1
            return None
        example = confirm(self.clause, self.lab, example)
        self.counts[example.outcome.value] += 1
        if example.reason:
            self.reasons[example.reason] += 1
        if example.evidence:
            self.evidence.setdefault(example.evidence.difference.what, example.evidence)
        return example if example.outcome in (Outcome.VIOLATES, Outcome.BROKEN) else None


def search(
    clause: Clause,
    family: Family,
    budget: Budget,
    known: Iterable[KnownFailure],
    lab: Lab,
    method: str = DEFAULT_METHOD,
) -> Verdict:
    """Search ``family`` for a Case that violates ``clause``; shrink it; give the item's verdict."""
    started = time.process_time()
    state = _Search(clause, lab, known)
    kept = open_database(budget.database)
    item = str(Item(clause.id, family.name, method))
    try:
        _recall(state, kept, item)
        if clause.fixed_case:
            _tell(state, clause.fixed_case(family))
        else:
            for stratum in MAPS if clause.placed else STRATA:
                _look(state, family, stratum, budget)
    except Found:
        state.worst = _settle(state, budget)
        if kept and state.worst.outcome is Outcome.VIOLATES:
            kept.keep(item, state.worst.case)
    return _verdict(state, budget, time.process_time() - started)


def _recall(state: _Search, kept: Counterexamples | None, item: str) -> None:
    """Begin with what violated before; forget what conforms now."""
    for case in kept.recall(item) if kept else ():
        example = state.look(case)
        if state.worst:
            raise Found
        if kept and example.outcome is Outcome.CONFORMS:
            kept.forget(item, case)


def _tell(state: _Search, case: Case | None) -> None:
    if case is None:
        state.reasons["this family has no story"] += 1
        state.counts[Outcome.NOT_APPLICABLE.value] += 1
    else:
        state.visit(case)


def _look(state: _Search, family: Family, stratum: Stratum, budget: Budget) -> None:
    """Visit the stratum's Cases; on a violation let Hypothesis come to it again and shrink it."""
    try:
        for case in drawn(family.name, stratum, budget.examples, budget.seed):
            state.visit(case)
    except Found:
        if budget.shrink and state.worst and state.worst.outcome is Outcome.VIOLATES:
            _hypothesis(cases(family, stratum), state.visit, budget, Phase.generate, Phase.shrink)
        raise


@lru_cache(maxsize=len(STRATA) + len(MAPS))
def drawn(family: str, stratum: Stratum, examples: int, start: int) -> tuple[Case, ...]:
    """The Cases that Hypothesis draws: the same for every clause of a family, so they are drawn once."""
    found: list[Case] = []
    budget = Budget(examples=examples, seed=start)
    _hypothesis(cases(family_named(family), stratum), found.append, budget, Phase.generate)
    return tuple(found)


def _hypothesis(strategy: SearchStrategy[Case], visit: Callable[[Case], None], budget: Budget, *phases: Phase) -> None:
    @seed(budget.seed)
    @settings(
        max_examples=budget.examples,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(strategy)
    def conforms(case: Case) -> None:
        visit(case)

    conforms()


def _settle(state: _Search, budget: Budget) -> Example:
    """Undo what the stratum pinned and the minimal Case does not need; confirm the result once more, from scratch."""
    assert state.worst is not None
    worst = state.worst
    if worst.outcome is Outcome.BROKEN or state.clause.fixed_case or not budget.shrink:
        return worst

    def fails(case: Case) -> bool:
        example = run_with_control(state.clause, state.lab.fresh(), case)
        return worst.alike(example) and not state._match(example)

    minimal = confirm(state.clause, state.lab, run_with_control(state.clause, state.lab, shrink(worst.case, fails)))
    # The first one was confirmed; a shrink may end where float32 alone is wrong, which makes the first no less wrong.
    return state.first if minimal.outcome is Outcome.UNDECIDED and state.first else minimal


def _verdict(state: _Search, budget: Budget, spent: float) -> Verdict:
    counts, worst = state.counts, state.worst
    decisive = counts[Outcome.CONFORMS.value]
    if worst is not None and worst.outcome is not Outcome.VIOLATES:
        outcome = Outcome.BROKEN
        state.reasons.setdefault(worst.reason or "the minimal Case of a violation did not violate again", 1)
    elif counts[Outcome.VIOLATES.value]:
        outcome = Outcome.VIOLATES
    elif decisive >= budget.decisive(state.clause):
        outcome = Outcome.CONFORMS
    else:
        undecisive = (Outcome.REFUSED, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE)
        outcome = next((o for o in undecisive if counts[o.value]), Outcome.NOT_APPLICABLE)
        if decisive:
            outcome = Outcome.UNDECIDED
            state.reasons[f"only {decisive} decisive examples, {budget.decisive(state.clause)} needed"] += 1
    return Verdict(
        outcome=outcome,
        counts=dict(counts),
        known=dict(state.known),
        reasons=dict(state.reasons),
        finding=worst.finding if worst else None,
        evidence=tuple(state.evidence.values()),
        decisive=decisive,
        cpu_seconds=round(spent, 3),
    )


def judge(item: Item, budget: Budget, known: Iterable[KnownFailure], lab: Lab) -> Cell:
    """The cell of one item: absent where the installed transformers has no such class, else judged."""
    from conformance.families.build import absent

    clause, family = clause_named(item.clause), family_named(item.family)
    why = absent(family)
    if why:
        return Cell.of(item, State.ABSENT, why)
    verdict = search(clause, family, budget, known, lab, item.method)
    return Cell.judged(item, verdict, lane=str(current()) if clause.placed else "")
