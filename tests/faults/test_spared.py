"""The reference wrapper, which is right, is spared by every clause; one family gets the whole quick profile."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.core.finding import Item
from conformance.core.outcome import Outcome
from conformance.engine.search import PROFILES, Budget, judge
from conformance.families import flagships
from conformance.runs.lab import Lab

WHOLE = ("llama",)
SPARED = {Outcome.CONFORMS, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE}


@pytest.mark.parametrize("name", flagships())
def test_the_reference_wrapper_is_spared(name: str) -> None:
    lab = Lab("reference")
    budget = Budget(examples=PROFILES["quick"] if name in WHOLE else 1, shrink=False)
    verdicts = [
        judge(Item(clause.id, name), budget, (), lab).verdict for clause in clauses().values() if not clause.placed
    ]
    assert [v for v in verdicts if v is None or v.outcome not in SPARED or v.counts.get(Outcome.VIOLATES.value)] == []
    # Most clauses are met by each family. One has no positions, windows or token types, and is not taught: twelve say nothing.
    assert sum(v is not None and v.outcome is Outcome.CONFORMS for v in verdicts) >= len(verdicts) - 12
