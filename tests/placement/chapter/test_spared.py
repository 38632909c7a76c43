"""The reference wrapper, which is right, passes the chapter in every family, and decides something in each of its claims."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.core.finding import Item
from conformance.core.outcome import Outcome, State
from conformance.engine.search import Budget, judge
from conformance.runs.lab import Lab

PLACED = {id: clause for id, clause in clauses().items() if clause.placed}
NAMES = ("llama", "t5", "idefics", "bloom")
"""Rotary, an encoder, a second stack of layers, a cache of its own layout; the other families are like the first."""


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_wrapper_passes_the_quick_profile(name: str) -> None:
    """With at least the five decisive examples that *conforms* needs, in every claim."""
    lab = Lab("reference")
    for id in PLACED:
        cell = judge(Item(id, name), Budget(shrink=False), (), lab)
        assert cell.state is State.JUDGED
        assert cell.lane == "simulated devices sim:0, sim:1, sim:2"
        assert cell.verdict is not None
        assert set(cell.verdict.counts) <= {"conforms", "not applicable"}, cell.verdict
        assert cell.verdict.outcome is Outcome.CONFORMS, (id, cell.verdict.counts, cell.verdict.reasons)
