"""Stories are searched: each has its Case, a violation is shrunk to the steps that it takes, and what is known is not the end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from conformance.clauses.registry import clause_named
from conformance.core.case import Case, Roles
from conformance.core.outcome import Outcome
from conformance.core.story import Act
from conformance.engine.controls import run
from conformance.engine.search import Budget
from conformance.runs.lab import Lab
from conformance.runs.patching import around

SMALLEST = Case(family="llama", roles=Roles(head_dim=4, width=4, activation="silu", rope="default"), new_tokens=1)


def saved_while_off(case: Case) -> bool:
    dos = [act.do for act in case.story]
    return any("disable" in dos[:at] and "enable" not in dos[:at] for at, do in enumerate(dos) if do == "save")


def test_so_many_cases_of_each_array_have_a_story_and_no_others_are_visited(kit: Any) -> None:
    seen: list[Case] = []
    verdict = kit.search(seen.append, stories=3, decisive=2)
    assert verdict.outcome is Outcome.CONFORMS
    assert verdict.counts == {"conforms": 3}
    assert all(case.story for case in seen)
    assert len({case.story for case in seen}) == 3
    assert kit.search(seen.append, stories=2, decisive=2, budget=Budget(examples=4)).counts == {"conforms": 8}


def test_a_violation_is_shrunk_to_the_steps_that_it_takes(kit: Any) -> None:
    budget = Budget(examples=4)
    verdict = kit.search(lambda case: kit.wrong() if saved_while_off(case) else None, stories=3, budget=budget)
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding.case == replace(SMALLEST, story=(Act(do="disable"), Act(do="save")))


def test_of_the_control_the_steps_are_left_that_mean_something_for_a_base_model(kit: Any) -> None:
    bare: list[Case] = []
    kit.search(
        lambda case: kit.wrong() if case.story else None, base=bare.append, stories=1, budget=Budget(shrink=False)
    )
    assert bare
    assert {act.do for case in bare for act in case.story} <= {"generate", "go_on", "train"}
    assert all(not case.prefix.length for case in bare)


def test_an_adapter_of_another_size_than_the_model_needs_breaks_no_harness() -> None:
    """PEFT makes it too large where a head's size is not width by heads; where generate ignores it, too, nobody noticed."""
    roles = Roles(encoder_layers=1, head_dim=4, width=6, activation="relu")
    case = Case(family="t5", roles=roles, new_tokens=1, story=(Act(do="generate"),))

    def bare(_: Any, self: Any, **given: Any) -> Any:
        return self.base_model.generate(**given)

    with around("peft:PeftModelForSeq2SeqLM", "generate", bare):
        assert run(clause_named("sessions.story"), Lab("peft"), case).outcome is Outcome.VIOLATES


@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        ("disable, generate, enable, generate", Outcome.REFUSED),
        ("generate, disable, generate, enable, generate", Outcome.VIOLATES),
    ],
)
def test_what_the_base_model_answered_may_be_refused_with_virtual_tokens_but_not_what_they_answered(
    story: str, outcome: Outcome
) -> None:
    steps = [{"do": do, "decoding": "searched"} if do == "generate" else {"do": do} for do in story.split(", ")]
    case = replace(SMALLEST, story=msgspec.convert(steps, tuple[Act, ...]))
    last, answered = story.split(", ").count("generate"), []

    def refuses_the_last(original: Any, self: Any, **given: Any) -> Any:
        answered.append(given)
        # transformers refuses, in words, to return more sequences than there are beams.
        return original(self, **{**given, "num_return_sequences": 99} if len(answered) == last else given)

    with around("peft:PeftModelForCausalLM", "generate", refuses_the_last):
        assert run(clause_named("sessions.story"), Lab("peft"), case).outcome is outcome
