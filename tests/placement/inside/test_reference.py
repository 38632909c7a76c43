"""The reference wrapper, which is right, is spared by every clause on placed models, in every family."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.engine import Budget, search
from conformance.families import families, family
from conformance.lab import Lab
from conformance.placement import here

LEAST = {
    "placement.split": 3,
    "placement.spelling": 2,
    "placement.cache_follows_layer": 6,
    "placement.offloaded": 2,
    "placement.automatic": 1,
    "placement.trains": 4,
}
"""How many first Cases of the strata say something, at least."""


@pytest.mark.parametrize("name", families())
def test_it_is_spared(name: str, backend: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(here.DEVICES, "")
    lab = Lab("reference")
    placed = {id: clause for id, clause in clauses().items() if clause.placed}
    assert placed.keys() == LEAST.keys()
    for id, clause in placed.items():
        verdict = search(clause, family(name), Budget(examples=1, shrink=False), (), lab)
        assert verdict.counts.keys() <= {"conforms", "not applicable"}, verdict.finding or verdict.reasons
        assert verdict.decisive >= LEAST[id], verdict.reasons
        assert not verdict.evidence
