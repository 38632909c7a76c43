"""What leaves nothing decided is not green: a PEFT that refuses, a base model that answers NaN, a PEFT that wavers."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch

from conformance.clauses import clauses
from conformance.core.finding import Cell, Item
from conformance.core.outcome import Blame, Outcome
from conformance.engine.search import Budget, judge
from conformance.faults.patching import CAUSAL, after, prompt
from conformance.runs.lab import Lab
from conformance.runs.patching import around
from conformance.session.floors import below_floors

BUDGET = Budget(examples=1)


def judged(clause: str, family: str = "llama") -> Cell:
    return judge(Item(clause, family), BUDGET, (), Lab())


def refuse(original: Any, *args: Any, **kwargs: Any) -> None:
    # Whoever raises it must be PEFT, or it is no refusal of PEFT's.
    exec("raise ValueError('`prefix_tuning` is not supported')", {"__name__": "peft.planted"})


def test_a_peft_that_refuses_every_batch_is_below_the_floor() -> None:
    with around(CAUSAL, "generate", lambda original, self, *args, **rest: _refusing_batches(original, self, rest)):
        cell = judged("equivalence.step_logits")
    assert cell.verdict is not None
    assert cell.verdict.counts == {"conforms": 5, "refused": 12}
    (words,) = below_floors([cell], clauses())
    assert words.startswith("equivalence.step_logits[llama]: 5 of 17 examples decided, at least 60% expected")


def _refusing_batches(original: Any, model: Any, request: dict[str, Any]) -> Any:
    return refuse(original) if len(request["input_ids"]) > 1 else original(model, **request)


def test_a_base_model_that_answers_nan_is_undecided_in_true_words() -> None:
    def spoil(model: Any, out: Any) -> None:
        out.logits = torch.full_like(out.logits, float("nan"))

    with after("transformers:LlamaForCausalLM", "forward", spoil):
        cell = judged("equivalence.step_logits")
    assert cell.word == Outcome.UNDECIDED.value
    assert cell.reasons == "nothing to compare with: the base model alone answers NaN or infinities"
    assert below_floors([cell], clauses()) == ["nothing at all was decided"]


def test_a_base_model_that_cannot_generate_is_an_excuse_that_is_counted() -> None:
    def crash(original: Any, *args: Any, **kwargs: Any) -> None:
        raise KeyError("layers")

    with around("transformers.generation:GenerationMixin", "generate", crash):
        cell = judged("equivalence.step_logits")
    assert cell.word == Outcome.NOT_APPLICABLE.value
    assert cell.verdict is not None
    assert cell.verdict.base_fails == cell.verdict.asked > 0
    assert below_floors([cell], clauses()) == ["nothing at all was decided"]


@pytest.mark.parametrize("every", [2, 3, 7])
def test_a_peft_that_wavers_is_blamed_with_both_outcomes(every: int) -> None:
    calls = count(1)

    def waver(model: Any, cache: Any) -> None:
        if next(calls) % every == 0:
            for layer in cache.layers:
                layer.keys.mul_(-1)

    with prompt(waver):
        cell = judged("equivalence.step_logits")
    assert cell.verdict is not None
    assert cell.verdict.outcome is Outcome.VIOLATES
    assert cell.verdict.finding is not None
    assert cell.verdict.finding.blame is Blame.PEFT


def test_a_base_model_that_wavers_breaks_the_harness_and_nobody_is_blamed() -> None:
    calls = count(1)

    def waver(model: Any, out: Any) -> None:
        out.logits = out.logits + (next(calls) % 2) * torch.arange(out.logits.shape[-1])

    with after("transformers:LlamaForCausalLM", "forward", waver):
        cell = judged("equivalence.step_logits")
    assert cell.verdict is not None
    assert cell.verdict.finding is None
    assert cell.verdict.outcome in (Outcome.BROKEN, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE)
