"""The arithmetic of cartridges: which rows are frozen, and that they stand in front of the others."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from conformance.assertions.gradients import close_gradients, gradients, gradients_of_rows, visible_virtual_tokens
from conformance.core.case import Case, Prefix, Roles
from conformance.core.relations import without_prefix
from conformance.core.signals import Violation
from conformance.methods.cartridge import CARTRIDGE, FROZEN, TRAINABLE
from conformance.methods.prefix_tuning import EMBEDDING, PREFIX_TUNING
from conformance.runs.lab import Lab

CASE = Case(
    family="llama",
    method="CARTRIDGE",
    roles=Roles(layers=2, head_dim=4, width=4, activation="silu", rope="default"),
    prefix=Prefix(length=3, frozen=1),
)
FREE, ALL = (replace(CASE, prefix=Prefix(length=3, frozen=frozen)) for frozen in (0, 3))
LAYOUT = CARTRIDGE.layout(CASE)


def test_no_more_are_frozen_than_there_are() -> None:
    assert replace(CASE.prefix, frozen=9) == Prefix(length=3, frozen=3)
    assert without_prefix(CASE).prefix.frozen == 0
    assert Case(family="llama", prefix=Prefix(frozen=0)).id == Case(family="llama").id


def test_the_frozen_part_is_there_only_where_something_is_frozen() -> None:
    assert CARTRIDGE.shapes(FREE, LAYOUT) == {TRAINABLE: (3, 16)}
    assert CARTRIDGE.shapes(CASE, LAYOUT) == {FROZEN: (1, 16), TRAINABLE: (2, 16)}
    assert CARTRIDGE.shapes(ALL, LAYOUT) == {FROZEN: (3, 16), TRAINABLE: (0, 16)}


@pytest.mark.parametrize("order", ["drawn", "reversed"])
def test_the_rows_are_the_same_however_many_are_frozen(order: str) -> None:
    rows = []
    for case in (FREE, CASE, ALL):
        turned = replace(case, prefix=replace(case.prefix, order=order))
        shapes = CARTRIDGE.shapes(turned, LAYOUT)
        rows.append(CARTRIDGE.rows({name: CARTRIDGE.draw(turned, name, shape) for name, shape in shapes.items()}))
    assert rows[0].shape == (3, 16)
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[0], rows[2])


def test_frozen_rows_stand_in_front_and_are_read_as_a_prefix_is() -> None:
    raw = {TRAINABLE: torch.arange(16.0, 48.0).reshape(2, 16), FROZEN: torch.arange(16.0).reshape(1, 16)}
    got = CARTRIDGE.injected(CARTRIDGE.rows(raw), CASE, LAYOUT)
    prefix = PREFIX_TUNING.injected(torch.arange(48.0).reshape(3, 16), CASE, LAYOUT)
    for (keys, values), (its_keys, its_values) in zip(got.cache, prefix.cache, strict=True):
        assert torch.equal(keys, its_keys)
        assert torch.equal(values, its_values)
    assert got.length == 3


def test_a_real_text_is_held_in_two_parts() -> None:
    read = PREFIX_TUNING.injected(torch.arange(48.0).reshape(3, 16), CASE, LAYOUT)
    whole = PREFIX_TUNING.raw_holding(read, CASE, LAYOUT)[EMBEDDING]
    held = CARTRIDGE.raw_holding(read, CASE, LAYOUT)
    assert torch.equal(held[FROZEN], whole[:1])
    assert torch.equal(held[TRAINABLE], whole[1:])


def test_a_frozen_virtual_token_is_not_expected_to_learn() -> None:
    assert (CARTRIDGE.learns(TRAINABLE), CARTRIDGE.learns(FROZEN)) == (True, False)
    assert list(visible_virtual_tokens(CASE)) == [1, 2]


@pytest.mark.parametrize("maker", ["peft", "reference"])
@pytest.mark.parametrize("case", [FREE, CASE, ALL], ids=["none frozen", "one frozen", "all frozen"])
def test_the_parameters_have_the_shapes_that_are_told_and_learn_as_is_told(maker: str, case: Case) -> None:
    lab = Lab(maker)
    held = lab.subject(case).parameters()
    assert {name: tuple(value.shape) for name, value in held.items()} == CARTRIDGE.shapes(case, lab.layout(case))
    assert {name: value.requires_grad for name, value in held.items()} == {n: CARTRIDGE.learns(n) for n in held}
    assert all(torch.equal(value, lab.raw(case)[name]) for name, value in lab.subject(case).raw().items())
    learnt = gradients(lab, case, lab.some_tokens(case))[1]
    assert {name: value.shape for name, value in learnt.items()} == {TRAINABLE: held[TRAINABLE].shape}


def test_the_gradient_of_a_frozen_virtual_token_is_none() -> None:
    by_token, by_block = gradients_of_rows(Lab("peft"), CASE)
    assert by_token.any(1).tolist() == [False, True, True]
    assert by_block.any(1).tolist() == [True] * 4


def test_a_gradient_that_nobody_expects_is_a_violation() -> None:
    with pytest.raises(Violation, match=f"gradient of the adapter's {FROZEN}"):
        close_gradients({FROZEN: torch.ones(1), TRAINABLE: torch.ones(1)}, {TRAINABLE: torch.ones(1)}, "by hand")
    with pytest.raises(Violation, match=f"gradient of the adapter's {TRAINABLE}"):
        close_gradients({}, {TRAINABLE: torch.ones(1)}, "by hand")
    close_gradients({TRAINABLE: torch.ones(0, 4)}, {TRAINABLE: torch.ones(0, 4)}, "by hand")
