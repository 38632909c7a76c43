"""The reference wrapper, which is right, passes the chapter in every family, and decides something in each of its claims."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.core.finding import Item
from conformance.core.outcome import Outcome, State
from conformance.engine.search import Budget, judge
from conformance.families import flagships
from conformance.runs.lab import Lab

PLACED = {id: clause for id, clause in clauses().items() if clause.placed}
DECISIVE = {
    "placement.split": 4,
    "placement.spelling": 3,
    "placement.cache_follows_layer": 9,
    "placement.offloaded": 4,
    "placement.automatic": 1,
    "placement.trains": 8,
}
"""Of the first Cases of the strata, decoded greedily with a dynamic cache, which is all that the wrapper does."""


@pytest.mark.parametrize("name", flagships())
def test_the_reference_wrapper_passes_the_first_case_of_each_stratum(name: str) -> None:
    lab = Lab("reference")
    decisive = {}
    for id in PLACED:
        cell = judge(Item(id, name), Budget(examples=1, shrink=False), (), lab)
        assert cell.state is State.JUDGED
        assert cell.lane == "simulated devices sim:0, sim:1, sim:2"
        assert cell.verdict is not None
        assert set(cell.verdict.counts) <= {"conforms", "not applicable"}, cell.verdict
        assert cell.verdict.outcome is Outcome.CONFORMS
        decisive[id] = cell.verdict.decisive
    assert decisive == DECISIVE


def test_one_family_passes_the_whole_quick_profile() -> None:
    lab = Lab("reference")
    verdicts = [(id, judge(Item(id, "llama"), Budget(shrink=False), (), lab).verdict) for id in PLACED]
    passed = {id: v.decisive for id, v in verdicts if v and set(v.counts) <= {"conforms", "not applicable"}}
    assert passed == {
        "placement.split": 12,
        "placement.spelling": 13,
        "placement.cache_follows_layer": 27,
        "placement.offloaded": 12,
        "placement.automatic": 3,
        "placement.trains": 24,
    }
