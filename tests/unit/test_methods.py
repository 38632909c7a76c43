"""What is asked of every method, and what a release of PEFT may lack."""

from __future__ import annotations

import peft
import pytest

from conformance.core.finding import Item
from conformance.core.outcome import State
from conformance.engine.search import Budget, judge
from conformance.families import family_named, presence
from conformance.methods import METHODS, method_named
from conformance.methods.presence import lacking
from conformance.runs.lab import Lab

LLAMA = family_named("llama")


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
