"""A maker with a fault in force lays its adapter out like the maker without."""

from __future__ import annotations

import pytest

from conformance.core.case import Case, Prefix, Roles
from conformance.faults import maker_named
from conformance.runs.lab import Lab
from conformance.runs.subject import MAKERS

T5 = Case(family="t5", roles=Roles(layers=2, encoder_layers=3, activation="relu"), prefix=Prefix(length=2))


@pytest.mark.parametrize("name", ["peft", "peft+peft_saves_half"])
def test_a_fault_in_peft_keeps_the_layout_of_peft(name: str) -> None:
    with maker_named(name) as maker:
        assert Lab(maker).layout(T5) == MAKERS["peft"].layout(T5) != MAKERS["reference"].layout(T5)
