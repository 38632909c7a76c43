"""Faults in how models are placed: each is planted in a process with devices, and found by the clause that names it."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.faults import Row, faults
from conformance.faults.detect import named
from conformance.isolated import Plant, ask_placed

PLACED = {id: fault for id, fault in faults().items() if named(fault).placed}
FOUND_BY_ONE = {"gradient_lost_on_the_way", "cache_to_and_fro", "loaded_rows_out_of_order", "keys_in_another_order"}
"""What no other clause of the chapter sees."""


def planted(id: str) -> Row:
    answer = ask_placed("", Plant(fault=id, seeds=1))
    assert answer.row is not None, answer.error
    return answer.row


@pytest.mark.parametrize("id", PLACED)
def test_the_clause_that_names_it_finds_it(id: str) -> None:
    row = planted(id)
    assert row.fired
    assert row.clause in row.clauses
    assert row.examples_worst is not None
    assert (row.clauses == (row.clause,)) >= (id in FOUND_BY_ONE)


def test_every_claim_about_placed_models_has_a_fault() -> None:
    assert {fault.clause for fault in PLACED.values()} == {id for id, clause in clauses().items() if clause.placed}


def test_there_are_enough_of_both_kinds() -> None:
    makers = [fault.maker for fault in PLACED.values()]
    assert min(makers.count("reference"), makers.count("peft")) >= 4
    assert len(makers) >= 8
