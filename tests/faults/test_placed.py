"""Faults in how models are placed are planted in a process with devices. One by one: `tests/placement/chapter/`."""

from __future__ import annotations

from conformance.clauses import clauses
from conformance.faults import detections, faults
from conformance.faults.detection import named_clause

PLACED = {id: fault for id, fault in faults().items() if named_clause(fault).placed}


def test_the_table_has_them_planted_in_a_child() -> None:
    (found,) = detections(["cache_comes_home"], seeds=2)
    assert found.fired
    assert found.clauses == ("placement.cache_follows_layer",)
    assert found.examples_worst is not None
    assert 1 <= found.examples_worst <= 10


def test_every_claim_about_placed_models_has_a_fault_of_each_kind() -> None:
    placed = {id for id, clause in clauses().items() if clause.placed}
    for maker in ("reference", "peft"):
        assert {fault.clause for fault in PLACED.values() if fault.maker == maker} == placed
