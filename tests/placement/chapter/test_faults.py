"""Every fault in where things are is found by the clause that names it, and a fine one not by its weaker check."""

from __future__ import annotations

import pytest

from conformance.core.finding import Verdict
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget
from conformance.faults import Fault, faults
from conformance.faults.detection import (
    detected,
    failing_before,
    in_force,
    named_clause,
    search_with_fault,
    weaker_clause,
)

QUICK = Budget(shrink=False)
PLACED = {id: fault for id, fault in faults().items() if named_clause(fault).placed}
FINE = {id: fault for id, fault in PLACED.items() if fault.weaker}
GROSS = {
    "adapter_made": "only_the_middle_device",
    "as_with_one_device": "half_on_the_way",
    "in_the_models_order": "only_the_middle_device",
    "keys_of_their_own": "only_the_middle_device",
    "maps_by_hand": "only_the_middle_device",
    "nothing_away": "only_the_middle_device",
    "same_answers": "half_on_the_way",
    "training_forward": "only_the_middle_device",
    "two_devices": "half_on_the_way",
    "unprojected": "only_the_middle_device",
}
"""For each weaker check a fault that even it finds."""


@pytest.mark.parametrize("fault", PLACED.values(), ids=PLACED)
def test_the_clause_that_names_it_finds_it(fault: Fault) -> None:
    failing = failing_before(named_clause(fault), fault, QUICK)
    with in_force(fault) as planted:
        verdict = search_with_fault(named_clause(fault), planted, QUICK, failing)
    assert planted.fired, "it never took effect"
    assert detected(verdict, planted), verdict


def judged(fault: Fault, check: str) -> tuple[Verdict, bool]:
    """What the weaker ``check`` makes of ``fault``, and whether it counts as finding it."""
    (weaker,) = {fine.weaker for fine in FINE.values() if fine.weaker and fine.weaker.__name__ == check}
    clause = weaker_clause(weaker, placed=True)
    failing = failing_before(clause, fault, QUICK)
    with in_force(fault) as planted:
        verdict = search_with_fault(clause, planted, QUICK, failing)
    return verdict, detected(verdict, planted)


@pytest.mark.parametrize("fault", FINE.values(), ids=FINE)
def test_the_weaker_check_misses_it(fault: Fault) -> None:
    assert fault.weaker is not None
    verdict, _ = judged(fault, fault.weaker.__name__)
    assert verdict.outcome is Outcome.CONFORMS, verdict


@pytest.mark.parametrize("check", GROSS)
def test_the_weaker_check_finds_a_gross_fault(check: str) -> None:
    verdict, found = judged(PLACED[GROSS[check]], check)
    assert found, verdict


def test_every_weaker_check_is_shown_to_find_something() -> None:
    assert {fault.weaker.__name__ for fault in FINE.values() if fault.weaker} == set(GROSS)


def test_there_are_enough_of_both_kinds_and_enough_fine_ones() -> None:
    makers = [fault.maker for fault in PLACED.values()]
    assert min(makers.count("reference"), makers.count("peft")) >= 15
    assert len(FINE) >= 20
