"""A fault is registered once, says what is wrong, and lies in the file of its chapter."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import pytest

from conformance.core.errors import UserError
from conformance.core.finding import DEFAULT_METHOD
from conformance.faults import Fault, Fired, faults, in_peft, in_reference, registry
from conformance.faults.registry import Planted
from conformance.methods import METHODS

OF_OTHERS = {
    "CARTRIDGE": "cartridges",
    "CPT": "contexts",
    "MULTITASK_PROMPT_TUNING": "tasks",
    "P_TUNING": "p_tuning",
    "PROMPT_TUNING": "prompts",
}
"""The files of the faults of each method but the first."""


@pytest.fixture(autouse=True)
def _registered_for_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_faults", faults())


def test_two_faults_of_one_name_are_refused() -> None:
    class CacheReused(Planted):
        """Another fault of this name."""

    def peft_saves_half(fired: Fired) -> AbstractContextManager[Any]:
        """Another fault of this name."""
        return nullcontext()

    before = faults()
    with pytest.raises(UserError, match="two faults called 'cache_reused'") as in_wrapper:
        in_reference(clause="injection.once")(CacheReused)
    with pytest.raises(UserError, match="two faults called 'peft_saves_half'") as in_patch:
        in_peft(clause="lifecycle.saved_and_loaded")(peft_saves_half)
    assert in_wrapper.value.code == in_patch.value.code == "duplicate-fault"
    assert faults() == before


def test_a_fault_without_a_docstring_is_refused() -> None:
    class Silent(Planted): ...

    def peft_silent(fired: Fired) -> AbstractContextManager[Any]:
        return nullcontext()

    with pytest.raises(UserError, match="fault 'Silent' has no docstring") as in_wrapper:
        in_reference(clause="injection.once")(Silent)
    with pytest.raises(UserError, match="fault 'peft_silent' has no docstring") as in_patch:
        in_peft(clause="injection.once")(peft_silent)
    assert in_wrapper.value.code == in_patch.value.code == "missing-statement"
    assert not {"silent", "peft_silent"} & set(faults())


def test_a_fault_names_its_method() -> None:
    class OfAnotherMethod(Planted):
        """It is wrong."""

    def peft_of_another_method(fired: Fired) -> AbstractContextManager[Any]:
        """It is wrong."""
        return nullcontext()

    assert {fault.method for fault in faults().values()} == set(METHODS)
    in_reference(clause="injection.once", method="P_TUNING")(OfAnotherMethod)
    in_peft(clause="injection.once", method="P_TUNING")(peft_of_another_method)
    assert {faults()[id].method for id in ("of_another_method", "peft_of_another_method")} == {"P_TUNING"}


def test_a_fault_fires_where_its_condition_holds() -> None:
    assert Planted.fired()
    assert Planted.fired([1])
    assert not Planted.fired([])


@pytest.mark.parametrize("fault", faults().values(), ids=faults())
def test_it_lies_in_the_file_of_its_chapter(fault: Fault) -> None:
    """Faults of prefix tuning: those of each other method are in a file of their own."""
    file = fault.clause.partition(".")[0] if fault.method == DEFAULT_METHOD else OF_OTHERS[fault.method]
    module = import_module(f"conformance.faults.{fault.maker}.{file}")
    defined = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    assert fault.id in {registry._snake_case(name) for name in defined}
