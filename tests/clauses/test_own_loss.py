"""Of a method with a loss of its own the clause asks no more of the number of items than a Trainer needs."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.clauses import clauses
from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.outcome import Outcome
from conformance.engine.controls import run
from conformance.methods.reference.contexts import ReferenceContext
from conformance.runs.lab import Lab
from conformance.runs.makers import ReferenceSubject

CASES = [
    Case(
        family="llama",
        method="CPT",
        call="counted",
        padding="right",
        roles=Roles(head_dim=4, width=4, activation="silu", rope="default"),
        prefix=Prefix(length=6, context=context),
        rows=(Row(length=3), Row(length=2, seed=1)),
        new_tokens=3,
    )
    for context in ("template", "examples", "decaying")
]


class DividesItsSum(ReferenceContext):
    """The sum of what all outputs cost, those of the context too, is divided by the number of items."""

    def forward(self, **request: Any) -> Any:
        """Divide it."""
        items = request.pop("num_items_in_batch", None)
        labels, types = request["labels"], request["input_type_mask"]
        out = super().forward(**request)
        if items is not None:
            out.loss = self.costs(out.logits, labels, types).sum() / items
        return out


class IsNotTold(ReferenceContext):
    """A Trainer is asked to divide by the number of batches itself; the number of items would be refused."""

    def __init__(self, base: Any, *args: Any) -> None:
        super().__init__(base, *args)
        base.accepts_loss_kwargs = False

    def forward(self, **request: Any) -> Any:
        """Take none."""
        assert "num_items_in_batch" not in request
        return super().forward(**request)


class Ignores(ReferenceContext):
    """The number of items is ignored, and whoever gives it thinks that it counts."""

    def forward(self, **request: Any) -> Any:
        """Forget it."""
        request.pop("num_items_in_batch", None)
        return super().forward(**request)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.prefix.context)
@pytest.mark.parametrize(
    ("wrapper", "outcome"),
    [(DividesItsSum, Outcome.CONFORMS), (IsNotTold, Outcome.CONFORMS), (Ignores, Outcome.VIOLATES)],
)
def test_what_a_trainer_can_use_conforms(wrapper: type[ReferenceContext], outcome: Outcome, case: Case) -> None:
    lab = Lab(type("Other", (ReferenceSubject,), {"wrapper": wrapper, "maker": f"reference+{wrapper.__name__}"}))
    assert run(clauses()["training.as_a_trainer_calls"], lab, case).outcome is outcome
