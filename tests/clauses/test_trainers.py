"""What the clauses of a Trainer allow: any share of a loss of the method's own, and a refusal to go on from a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.clauses import clauses
from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.outcome import Outcome
from conformance.engine.controls import run
from conformance.engine.explain import with_mends
from conformance.engine.known import load, shipped
from conformance.families import family_named
from conformance.methods.reference.contexts import ReferenceContext
from conformance.runs.lab import Lab
from conformance.runs.makers import ReferenceSubject
from conformance.runs.patching import around

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


@pytest.mark.parametrize(("share", "outcome"), [(0.25, Outcome.CONFORMS), (-1.0, Outcome.VIOLATES)])
def test_any_positive_share_of_its_loss_may_be_what_a_trainer_learns(share: float, outcome: Outcome) -> None:
    clause = clauses()["training.trainer_agrees"]
    case = clause.own_case(family_named("llama"), "CPT")
    assert case is not None

    def shared(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        out = forward(self, *args, **kwargs)
        if kwargs.get("num_items_in_batch") is not None:
            out.loss = share * out.loss
        return out

    with (
        around("peft:PeftModelForCausalLM", "_cpt_forward", shared),
        with_mends(Lab("peft"), load(shipped())) as mended,
    ):
        assert run(clause, mended, case).outcome is outcome


def test_who_cannot_go_on_from_a_checkpoint_may_say_so() -> None:
    clause = clauses()["training.trainer_agrees"]
    case = clause.own_case(family_named("llama"), "PREFIX_TUNING")
    assert case is not None

    def refuses(load_adapter: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        # PEFT's own words, for a second adapter that is to be trained.
        return self._check_new_adapter_config(self.active_peft_config, is_trainable=True)

    with around("peft:PeftModel", "load_adapter", refuses):
        assert run(clause, Lab("peft"), case).outcome is Outcome.REFUSED
