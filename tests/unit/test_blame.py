"""Who is blamed, with a planted fault for each: in PEFT, in transformers, in accelerate, and in each part of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from transformers import DynamicCache

from conformance.clauses import clauses
from conformance.clauses.registry import Clause
from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.outcome import Blame, Outcome
from conformance.core.signals import violation
from conformance.engine.controls import Example, confirm, run_with_control
from conformance.faults.registry import faults
from conformance.oracles import decoder, handmade
from conformance.runs.lab import Lab

CASE = Case(
    family="llama",
    roles=Roles(layers=2, heads=2, kv_heads=2, head_dim=4, width=8, activation="silu", rope="default"),
    prefix=Prefix(length=3),
    rows=(Row(length=2),),
    new_tokens=2,
)


def judged(clause: Clause | str, lab: Lab | None = None) -> Example:
    lab, clause = lab or Lab(), clauses()[clause] if isinstance(clause, str) else clause
    return confirm(clause, lab, run_with_control(clause, lab, CASE))


def test_a_bug_in_peft_is_peft_s() -> None:
    with faults()["peft_from_the_fifth_token"].planted(lambda when=True: bool(when)) as maker:
        lab = Lab(maker)
        longer = CASE.__class__(**{name: getattr(CASE, name) for name in CASE.__struct_fields__} | {"new_tokens": 6})
        clause = clauses()["equivalence.step_logits"]
        example = confirm(clause, lab, run_with_control(clause, lab, longer))
    assert example.finding is not None
    assert example.finding.blame is Blame.PEFT
    assert example.finding.note == "a correct reference wrapper conforms on this Case"


@contextmanager
def caches_that_cannot_be_filled(module: str) -> Iterator[None]:
    """transformers' own cache, or a hook of accelerate's that is called from there, fails on a cache that is handed in."""
    update, steps = DynamicCache.update, "raise IndexError('no such layer')"
    code = compile(f"def fails():\n    {steps}", f"/x/{module}/broken.py", "exec")
    namespace: dict[str, Any] = {"__name__": f"{module}.broken"}
    exec(code, namespace)

    def broken(self: Any, keys: torch.Tensor, *rest: Any, **named: Any) -> Any:
        if self.get_seq_length(rest[1] if len(rest) > 1 else 0) == CASE.prefix.length and keys.shape[-2] == 2:
            namespace["fails"]()
        return update(self, keys, *rest, **named)

    with mock.patch.object(DynamicCache, "update", broken):
        yield


@pytest.mark.parametrize(("module", "blame"), [("transformers", Blame.TRANSFORMERS), ("accelerate", Blame.ACCELERATE)])
def test_a_crash_that_a_correct_wrapper_meets_too_belongs_to_the_innermost_frame(module: str, blame: Blame) -> None:
    with caches_that_cannot_be_filled(module):
        example = judged("injection.present")
    assert example.finding is not None, example.reason
    assert example.finding.blame is blame
    assert (
        example.finding.note == f"a correct reference wrapper crashes on this Case too, at {module}/broken.py:2 fails"
    )


def test_a_claim_that_a_correct_wrapper_violates_is_ours() -> None:
    def check(lab: Lab, case: Case) -> None:
        if case.prefix.length and lab.generate(case).forwards:
            raise violation("the claim itself is wrong", 1, 2)

    example = judged(Clause(id="a.b", statement="", explanation="", check=check))
    assert example.outcome is Outcome.BROKEN
    assert "the reference wrapper violates the claim too: the claim itself is wrong" in example.reason
    assert CASE.to_json() in example.reason


@pytest.mark.parametrize("where", ["one pass only", "every step"])
def test_an_oracle_that_another_contradicts_is_ours(where: str) -> None:
    """A fault in one oracle, and one in what two of them share, which the decoder in plain tensor algebra contradicts."""
    run_row: Callable[..., torch.Tensor] = decoder.run_row

    def wrong(base: Any, family: Any, case: Case, index: int, ids: Any, injected: Any, chunks: Any, **rest: Any) -> Any:
        logits = run_row(base, family, case, index, ids, injected, chunks, **rest)
        spoilt = injected.cache and (len(chunks) == 1 or where == "every step")
        return logits.roll(1, -1) if spoilt else logits

    with mock.patch.object(handmade, "run_row", wrong):
        example = judged("equivalence.step_logits")
    assert example.outcome is Outcome.BROKEN
    assert example.reason.startswith("our oracles disagree: ")


@pytest.mark.parametrize("id", ["transformers_halves_what_it_is_given", "transformers_turns_what_it_is_given"])
def test_a_base_model_that_misuses_a_filled_cache_is_transformers_s(id: str) -> None:
    """All that runs the base model agrees then; plain algebra and a real text tell."""
    with faults()[id].planted(lambda when=True: bool(when)) as maker:
        example = judged("equivalence.plain_attention_agrees", Lab(maker))
    assert example.finding is not None, example.reason
    assert example.finding.blame is Blame.TRANSFORMERS
    assert "given a filled cache" in example.finding.note


def test_what_the_reference_wrapper_cannot_run_is_blamed_on_peft_and_said() -> None:
    def check(lab: Lab, case: Case) -> None:
        if case.prefix.length and lab.generate(with_beams(case)).forwards:
            raise violation("beams differ", 1, 2)

    from conformance.core.relations import with_beams

    example = judged(Clause(id="a.b", statement="", explanation="", check=check))
    assert example.finding is not None
    assert example.finding.blame is Blame.PEFT
    assert "the reference wrapper searches beams for their answers" in example.finding.note
