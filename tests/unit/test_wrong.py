"""What can be wrong with what is asked of a method, and what an error must name of it."""

from __future__ import annotations

import peft
import pytest
from peft.tuners.multitask_prompt_tuning import MultitaskPromptTuningInit

from conformance.assertions.refusals import names_it, shown
from conformance.core.case import Case, Prefix
from conformance.families import family_named
from conformance.methods import METHODS, method_named
from conformance.methods.wrong import Mistake

LLAMA = family_named("llama")
CASE = Case(family="llama", prefix=Prefix(length=2))


@pytest.mark.parametrize(
    ("method", "setting", "there"),
    [
        ("PROMPT_TUNING", "prompt_tuning_init", peft.PromptTuningInit),
        ("MULTITASK_PROMPT_TUNING", "prompt_tuning_init", MultitaskPromptTuningInit),
        ("P_TUNING", "encoder_reparameterization_type", peft.PromptEncoderReparameterizationType),
    ],
)
def test_the_words_are_those_that_peft_documents(method: str, setting: str, there: type) -> None:
    assert set(method_named(method).documented[setting]) == {way.value for way in there}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", METHODS)
def test_what_is_right_is_not_amiss_and_each_wrong_setting_is(name: str) -> None:
    method = method_named(name)
    assert method.amiss(method.told(CASE, LLAMA), LLAMA) == ""
    for wrong, mistake in method.wrongs(CASE, LLAMA).items():
        why = method.amiss({**method.told(CASE, LLAMA), **mistake.settings}, LLAMA)
        assert bool(why) is bool(mistake.settings), wrong
        assert not why or names_it(why, mistake)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("Please specify `num_frozen_tokens`", True),
        ("there are too few frozen tokens", True),
        ("UNHEARD_OF is no number", True),
        ("the tokens are wrong", False),
        ("model_kwargs are not used", False),
    ],
)
def test_an_error_names_a_setting_by_its_name_in_prose_or_by_its_value(message: str, named: bool) -> None:
    assert names_it(message, Mistake({"num_frozen_tokens": "UNHEARD_OF"})) is named


def test_what_is_missing_is_named_too() -> None:
    assert names_it("task_ids cannot be None", Mistake({}, missing=("task_ids",)))
    assert not names_it("task_type cannot be None", Mistake({}, missing=("task_ids",)))


def test_it_is_shown_as_it_is_written() -> None:
    assert shown(Mistake({"task_type": None})) == "task_type=None"
    assert shown(Mistake({"init": "TEXT"}, missing=("tokenizer",))) == "init='TEXT' without tokenizer"
