"""The Case that is shown for a fault in where things are is the one that a person would have written for it."""

from __future__ import annotations

import pytest

from conformance.core.case import Case, Placement, Prefix, Roles
from conformance.engine.search import Budget
from conformance.faults import faults
from conformance.faults.detection import in_force, named_clause, search_with_fault

ONE = Roles(head_dim=4, width=4, activation="silu", rope="default")
TWO = Roles(layers=2, head_dim=4, width=4, activation="silu", rope="default")


def placed(way: str = "dispatched", roles: Roles = ONE, prefix: Prefix | None = None, **placement: object) -> Case:
    return Case(
        family="llama",
        roles=roles,
        prefix=prefix or Prefix(),
        new_tokens=1,
        placement=Placement(way=way, **placement),  # type: ignore[arg-type]
    )


MINIMAL = {
    "left_on_the_first_device": placed(layers=(1,)),
    "numbers_counted_from_one": placed(layers=(1,), spelling="number"),
    "only_with_offloaded_weights": placed(layers=("cpu",)),
    "only_the_middle_device": placed(roles=TWO, layers=(1, 2)),
    "only_under_automatic_maps": placed("auto", memory=(60,)),
    "gradient_stays_behind": placed(layers=(1,)),
    "loaded_rounded_onto_a_map": placed(prefix=Prefix(projection=4), adapter="loaded"),
}


@pytest.mark.parametrize("id", MINIMAL)
def test_it_shrinks_to_exactly_this(id: str) -> None:
    fault = faults()[id]
    with in_force(fault) as planted:
        finding = search_with_fault(named_clause(fault), planted, Budget()).finding
    assert finding is not None
    assert finding.case == MINIMAL[id]
