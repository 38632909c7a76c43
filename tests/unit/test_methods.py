"""What is asked of every method, and what a release of PEFT may lack."""

from __future__ import annotations

import peft
import pytest
from msgspec.structs import replace

from conformance.core.finding import Item
from conformance.core.outcome import Outcome, State
from conformance.core.signals import RunFailed
from conformance.engine.search import Budget, drawn, judge
from conformance.families import families, family_named, presence
from conformance.methods import METHODS, method_named
from conformance.methods.presence import lacking
from conformance.runs.lab import Lab
from conformance.strategies import strata

LLAMA = family_named("llama")
SIMPLEST = {name: drawn(name, next(strata(family, 1, 0)), 0) for name, family in families().items()}
"""Of each family the simplest Case."""


@pytest.mark.parametrize("name", METHODS)
def test_it_is_called_as_peft_calls_it_and_is_there(name: str) -> None:
    config = getattr(peft, method_named(name).config)
    assert peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType[name]] is config
    assert method_named(name).name == name
    assert lacking(LLAMA, name) == ""


def test_a_method_that_peft_never_had_is_absent_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(peft, "CartridgeConfig")
    words = f"peft {peft.__version__} has no CartridgeConfig"
    assert lacking(LLAMA, "CARTRIDGE") == words
    assert lacking(LLAMA, "PREFIX_TUNING") == ""
    cell = judge(Item("decoding.repeatable", "llama", "CARTRIDGE"), Budget(), (), Lab())
    assert (cell.state, cell.why) == (State.ABSENT, words)


def test_of_a_family_and_a_method_that_are_absent_the_family_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(peft, "CartridgeConfig")
    monkeypatch.setattr(presence, "absent", lambda family: "there is no llama")
    assert lacking(LLAMA, "CARTRIDGE") == "there is no llama"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", families())
def test_what_a_method_is_not_for_peft_refuses_in_words_and_nothing_else(name: str, family: str) -> None:
    """Else a family would be passed over that PEFT says it serves."""
    case = replace(SIMPLEST[family], method=name)
    if not method_named(name).cannot(family_named(family)):
        Lab().new_subject(case)
        return
    with pytest.raises(RunFailed) as refused:
        Lab().new_subject(case)
    assert refused.value.refused, refused.value.words


def test_a_family_that_a_method_is_not_for_has_no_case_and_is_told_why() -> None:
    cell = judge(Item("decoding.repeatable", "t5", "CPT"), Budget(), (), Lab())
    assert cell.verdict is not None
    assert cell.verdict.outcome is Outcome.NOT_APPLICABLE
    assert cell.verdict.excused == {"CPT is for models that only decode": 1}
