"""The reference wrapper, which is right, passes the chapter in every family, and decides something in each of its claims."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.core.outcome import Outcome, State
from conformance.engine.search import Budget, judge
from conformance.families import families, family_named
from conformance.runs.lab import Lab
from conformance.strategies import MAPS

PLACED = {id: found for id, found in clauses().items() if found.placed}
DECISIVE = {
    "placement.split": 4,
    "placement.spelling": 3,
    "placement.cache_follows_layer": 9,
    "placement.offloaded": 4,
    "placement.automatic": 1,
    "placement.trains": 8,
}
"""Of the first Cases of the strata, decoded greedily with a dynamic cache, which is all that the wrapper does."""


@pytest.mark.parametrize("name", families())
def test_the_reference_wrapper_passes_the_first_case_of_each_stratum(name: str) -> None:
    lab = Lab("reference")
    told = {}
    for id, clause in PLACED.items():
        cell = judge(clause, family_named(name), Budget(examples=1, shrink=False), (), lab)
        assert cell.state is State.JUDGED
        assert cell.lane == "simulated devices sim:0, sim:1, sim:2"
        assert cell.verdict is not None
        assert set(cell.verdict.counts) <= {"conforms", "not applicable"}, cell.verdict
        assert cell.verdict.outcome is Outcome.CONFORMS
        told[id] = cell.verdict.decisive
    assert told == DECISIVE


def test_one_family_passes_the_whole_quick_profile() -> None:
    lab = Lab("reference")
    verdicts = [
        judge(clause, family_named("llama"), Budget(shrink=False), (), lab).verdict for clause in PLACED.values()
    ]
    found = {v.clause: v.decisive for v in verdicts if v and set(v.counts) <= {"conforms", "not applicable"}}
    assert found == {
        "placement.split": 12,
        "placement.spelling": 13,
        "placement.cache_follows_layer": 27,
        "placement.offloaded": 12,
        "placement.automatic": 3,
        "placement.trains": 24,
    }
    assert len(MAPS) == 9
