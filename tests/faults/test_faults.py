"""Every planted fault is found by the clause that names it, within the quick profile, and no clause is without one."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.engine.search import Budget
from conformance.faults import Fault, faults
from conformance.faults.detection import detected, failing_before, in_force, named_clause, search_with_fault

QUICK = Budget(shrink=False)
IN_A_FRESH_PROCESS = ("loads_from_memory", "peft_loads_from_memory", "saves_what_it_first_ran")


PLAIN = {id: fault for id, fault in faults().items() if not named_clause(fault).placed}
"""Those of placed models are planted in a process with devices for them: `test_placed.py`."""


@pytest.mark.parametrize("fault", PLAIN.values(), ids=PLAIN)
def test_the_clause_that_names_it_finds_it(fault: Fault) -> None:
    failing = failing_before(named_clause(fault), fault, QUICK)
    with in_force(fault) as planted:
        verdict = search_with_fault(named_clause(fault), planted, QUICK, failing)
    assert planted.fired, "it never took effect"
    assert detected(verdict, planted), verdict


@pytest.mark.parametrize("id", IN_A_FRESH_PROCESS)
def test_only_a_fresh_process_shows_what_a_file_does_not_hold(id: str) -> None:
    fault = faults()[id]
    with in_force(fault) as planted:
        finding = search_with_fault(named_clause(fault), planted, QUICK).finding
    assert finding is not None
    assert "fresh process" in finding.difference.what


def test_every_clause_has_a_fault_that_it_must_find() -> None:
    assert {fault.clause for fault in faults().values()} == set(clauses())


def test_there_are_enough_of_both_kinds() -> None:
    makers = [fault.maker for fault in faults().values()]
    assert min(makers.count("reference"), makers.count("peft")) >= 30


def test_each_says_in_one_sentence_what_is_wrong() -> None:
    assert [fault.id for fault in faults().values() if not fault.statement.endswith(".")] == []
