"""The Case that is shown for a fault is the one that a person would have written for it."""

from __future__ import annotations

import pytest

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.engine.search import Budget
from conformance.faults import faults
from conformance.faults.detection import in_force, named_clause, search_with_fault

ONE = Roles(head_dim=4, width=4, activation="silu", rope="default")
THREE = Roles(layers=3, head_dim=4, width=4, activation="silu", rope="default")
ONE_KV_HEAD = Roles(heads=2, head_dim=4, activation="silu", rope="default")
WINDOW = Roles(head_dim=4, width=4, activation="silu", rope="default", window=5, sliding=(True,))
PADDED = (Row(), Row(length=2))

MINIMAL = {
    "cache_empty_in_generate": Case(family="llama", roles=ONE, new_tokens=1),
    "peft_cache_empty_in_generate": Case(family="llama", roles=ONE, new_tokens=1),
    "from_the_fifth_token": Case(family="llama", roles=ONE, new_tokens=5),
    "position_sticks": Case(family="llama", roles=ONE, new_tokens=4),
    "layers_exchanged": Case(family="llama", roles=THREE, new_tokens=1),
    "one_key_value_head": Case(family="llama", roles=ONE_KV_HEAD, new_tokens=1),
    "bool_mask_inverted": Case(family="llama", roles=ONE, new_tokens=1, mask="bool"),
    "last_virtual_token_masked": Case(family="llama", roles=ONE, prefix=Prefix(length=2), new_tokens=1),
    "peft_pads_counted": Case(family="llama", roles=ONE, rows=PADDED, new_tokens=1),
    "only_with_projection": Case(family="llama", roles=ONE, prefix=Prefix(projection=4), new_tokens=1),
    "peft_rounded_without_projection": Case(family="llama", roles=ONE, prefix=Prefix(content="tokens"), new_tokens=1),
    "prefix_outlives_the_window": Case(family="mistral", roles=WINDOW, new_tokens=5),
}


@pytest.mark.parametrize("id", MINIMAL)
def test_it_shrinks_to_exactly_this(id: str) -> None:
    fault = faults()[id]
    with in_force(fault) as planted:
        finding = search_with_fault(named_clause(fault), planted, Budget()).finding
    assert finding is not None
    assert finding.case == MINIMAL[id]
