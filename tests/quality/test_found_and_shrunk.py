"""A violation that needs something is found within the quick budget, and shown on the Case one would write by hand."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.features import FEATURES
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget

LLAMA = Roles(head_dim=4, width=4, activation="silu", rope="default")
MINIMAL = {
    "left_padded": Case(family="llama", roles=LLAMA, rows=(Row(), Row(length=2)), new_tokens=1),
    "many_rows": Case(family="llama", roles=LLAMA, rows=(Row(), Row()), new_tokens=1),
    "n_equals_prompt": Case(family="llama", roles=LLAMA, new_tokens=1),
    "n_equals_prompt long_prompt": Case(
        family="llama", roles=LLAMA, prefix=Prefix(length=2), rows=(Row(length=2),), new_tokens=1
    ),
    "n_above_prompt": Case(family="llama", roles=LLAMA, prefix=Prefix(length=2), new_tokens=1),
    "grouped_query": Case(
        family="llama", roles=Roles(heads=2, head_dim=4, activation="silu", rope="default"), new_tokens=1
    ),
    "even_layers": Case(
        family="llama", roles=Roles(layers=2, head_dim=4, width=4, activation="silu", rope="default"), new_tokens=1
    ),
    "projection": Case(family="llama", roles=LLAMA, prefix=Prefix(projection=4), new_tokens=1),
    "own_head_dim": Case(
        family="llama", roles=Roles(head_dim=4, width=6, activation="silu", rope="default"), new_tokens=1
    ),
    "scaled_rope": Case(
        family="llama", roles=Roles(head_dim=4, width=4, activation="silu", rope="linear"), new_tokens=1
    ),
    "eager": Case(family="llama", roles=LLAMA, new_tokens=1, attention="eager"),
    "grouped_query even_layers": Case(
        family="llama", roles=Roles(layers=2, heads=2, head_dim=4, activation="silu", rope="default"), new_tokens=1
    ),
    "three_layers left_padded": Case(
        family="llama",
        roles=Roles(layers=3, head_dim=4, width=4, activation="silu", rope="default"),
        rows=(Row(), Row(length=2)),
        new_tokens=1,
    ),
    "projection n_above_prompt": Case(family="llama", roles=LLAMA, prefix=Prefix(length=2, projection=4), new_tokens=1),
    "window_edge": Case(
        family="gemma3",
        roles=Roles(head_dim=4, width=4, activation="gelu_pytorch_tanh", window=5, sliding=(True, False)),
        prefix=Prefix(length=4),
        new_tokens=1,
    ),
    "more_encoder_layers": Case(
        family="t5", roles=Roles(encoder_layers=2, head_dim=4, width=4, activation="relu"), new_tokens=1
    ),
}
ALONE = [needed for needed in MINIMAL if " " not in needed]


def needs(needed: str, case: Case) -> bool:
    return all(FEATURES[feature](case) for feature in needed.split())


@pytest.mark.parametrize("needed", MINIMAL)
def test_it_is_found_and_shrunk_to_exactly_this_case(kit: Any, needed: str) -> None:
    expected = MINIMAL[needed]
    verdict = kit.search(lambda case: kit.wrong() if needs(needed, case) else None, name=expected.family)
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding.case == expected
    assert verdict.counts["violates"] == 1


@pytest.mark.parametrize("start", [1, 2, 3])
@pytest.mark.parametrize("needed", ALONE)
def test_one_needed_feature_is_found_with_any_seed(kit: Any, needed: str, start: int) -> None:
    budget = Budget(seed=start, shrink=False)
    verdict = kit.search(
        lambda case: kit.wrong() if needs(needed, case) else None, name=MINIMAL[needed].family, budget=budget
    )
    assert verdict.outcome is Outcome.VIOLATES
    assert needs(needed, verdict.finding.case)


def test_a_shrink_does_not_slip_into_another_violation(kit: Any) -> None:
    """A simpler Case that crashes elsewhere is another failure."""

    def ends(case: Case) -> Exception | None:
        places = {3: "peft/a.py:1 f", 2: "peft/b.py:1 g"}
        return kit.crash(places[case.roles.layers]) if case.roles.layers in places else None

    verdict = kit.search(ends)
    assert verdict.finding.where == "peft/a.py:1 f"
    assert verdict.finding.case.roles.layers == 3
    assert verdict.finding.case.rows == (Row(),)


def test_without_shrinking_the_case_is_the_one_that_was_drawn(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.wrong() if case.padded else None, budget=Budget(shrink=False))
    assert verdict.finding.case.new_tokens > 1
