"""What the other methods than the first are dealt out of the beginning of an array."""

from __future__ import annotations

import pytest

from conformance.families import families, family_named
from conformance.methods import METHODS
from conformance.strategies import beginning as beginnings
from conformance.strategies.beginning import FEW, beginning, dealt

FIRST, *OTHERS = METHODS
NAMES = tuple(families())


@pytest.fixture(params=["as they are", "many"])
def others(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The other methods: those there are, or five of them."""
    if request.param == "as they are":
        return OTHERS
    many = [f"METHOD_{number}" for number in range(5)]
    monkeypatch.setattr(beginnings, "METHODS", dict.fromkeys((FIRST, *many)))
    return many


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_other_methods_share_the_beginning(name: str, placed: bool, others: list[str]) -> None:
    family = family_named(name)
    whole = beginning(family, 0, placed)
    assert dealt(family, 0, placed, FIRST) == whole
    each = {method: dealt(family, 0, placed, method) for method in others}
    assert set().union(*each.values()) == set(whole)
    for rows in each.values():
        assert rows[0] == 0
        assert list(rows) == sorted(set(rows))
        assert len(rows) >= min(FEW, len(whole))


def test_many_methods_visit_few_rows_each(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"METHOD_{number}" for number in range(5)]
    monkeypatch.setattr(beginnings, "METHODS", dict.fromkeys((FIRST, *many)))
    counts = {len(dealt(family_named(name), 0, False, method)) for name in NAMES for method in many}
    assert max(counts) == FEW


def test_a_family_of_one_row_has_it_for_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "beginning", lambda *_: (0,))
    assert {dealt(family_named("llama"), 0, False, method) for method in METHODS} == {(0,)}
