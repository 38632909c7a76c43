"""A maker with a fault in force lays its adapter out like the maker without."""

from __future__ import annotations

import pytest

from conformance.core.case import Case, Prefix, Roles
from conformance.faults import planted_maker
from conformance.runs.lab import Lab
from conformance.runs.makers import MAKERS

T5 = Case(family="t5", roles=Roles(layers=2, encoder_layers=3, activation="relu"), prefix=Prefix(length=2))


@pytest.mark.parametrize(("name", "without"), [("peft+peft_saves_half", "peft"), ("reference+saves_half", "reference")])
def test_a_maker_with_a_fault_keeps_the_layout_of_the_maker_without(name: str, without: str) -> None:
    with planted_maker(name) as maker:
        assert Lab(maker).layout(T5) == MAKERS[without].layout(T5)


def test_the_two_makers_lay_out_an_encoder_decoder_differently() -> None:
    assert Lab("peft").layout(T5) == MAKERS["peft"].layout(T5) != MAKERS["reference"].layout(T5)
