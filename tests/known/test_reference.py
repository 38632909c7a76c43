"""The reference wrapper answers rightly on this pair, whichever it is: blame is decided with its help."""

from __future__ import annotations

import pytest

from conformance.core.finding import Item
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget, judge
from conformance.families import families
from conformance.runs.lab import Lab


@pytest.mark.parametrize("clause", ["equivalence.step_logits", "caches.without_cache", "masks.training_rows_alone"])
@pytest.mark.parametrize("family", families())
def test_the_reference_conforms(clause: str, family: str) -> None:
    verdict = judge(Item(clause, family), Budget(shrink=False), (), Lab("reference")).verdict
    assert verdict is not None
    assert verdict.outcome is Outcome.CONFORMS, (verdict.finding, verdict.reasons)
