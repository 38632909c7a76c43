"""The arithmetic of prompt tuning: which number of which parameter is read, and where."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Roles
from conformance.families import family_named
from conformance.methods.method import Layout
from conformance.methods.prompt_tuning import EMBEDDING, PROMPT_TUNING
from conformance.runs.lab import Lab

CASE = Case(
    family="mistral",
    method="PROMPT_TUNING",
    roles=Roles(layers=2, width=4, head_dim=4, activation="silu", rope="default", window=3, sliding=(True,)),
    prefix=Prefix(length=3),
)
T5 = replace(CASE, family="t5", roles=Roles(width=4, head_dim=4, encoder_layers=1, activation="relu"))


def test_each_virtual_token_is_its_row() -> None:
    raw = {EMBEDDING: torch.arange(12.0).reshape(3, 4)}
    injected = PROMPT_TUNING.injected(PROMPT_TUNING.rows(raw), CASE, PROMPT_TUNING.layout(CASE))
    assert injected.embeddings is not None
    assert injected.embeddings.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]]
    assert (injected.length, injected.cache) == (3, ())


def test_of_two_blocks_the_first_is_read() -> None:
    layout = PROMPT_TUNING.peft_layout(T5, family_named("t5"))
    assert layout == Layout(2, ())
    assert PROMPT_TUNING.shapes(T5, layout) == {EMBEDDING: (6, 4)}
    raw = {EMBEDDING: torch.arange(24.0).reshape(6, 4)}
    injected = PROMPT_TUNING.injected(PROMPT_TUNING.rows(raw), T5, layout)
    assert injected.embeddings is not None
    assert torch.equal(injected.embeddings[0], raw[EMBEDDING][:3])
    assert torch.equal(
        PROMPT_TUNING.raw_holding(injected, T5, layout)[EMBEDDING], raw[EMBEDDING] * (torch.arange(6) < 3)[:, None]
    )
    assert PROMPT_TUNING.gradient_by_block(raw, layout).tolist() == raw[EMBEDDING].reshape(2, 12).tolist()


@pytest.mark.parametrize("case", [CASE, T5], ids=["mistral", "t5"])
def test_reversed_virtual_tokens_are_the_same_in_the_opposite_order_block_by_block(case: Case) -> None:
    shape = PROMPT_TUNING.shapes(case, Layout(2, ()))[EMBEDDING]
    drawn = PROMPT_TUNING.draw(case, EMBEDDING, shape)
    turned = PROMPT_TUNING.draw(replace(case, prefix=Prefix(length=3, order="reversed")), EMBEDDING, shape)
    assert torch.equal(turned, drawn[[2, 1, 0, 5, 4, 3]])


def test_an_encoder_reads_what_the_decoder_does_not() -> None:
    assert (PROMPT_TUNING.in_front(CASE), PROMPT_TUNING.in_front(T5)) == (3, 0)


def test_all_layers_together_see_further_than_one() -> None:
    assert PROMPT_TUNING.reach(CASE) == 2 * 2
    assert PROMPT_TUNING.reach(replace(CASE, roles=replace(CASE.roles, sliding=(True, False)))) > CASE.roles.positions


@pytest.mark.parametrize("maker", ["peft", "reference"])
@pytest.mark.parametrize("case", [CASE, T5], ids=["mistral", "t5"])
def test_the_parameters_have_the_shapes_that_are_told(maker: str, case: Case) -> None:
    lab = Lab(maker)
    told = PROMPT_TUNING.shapes(case, lab.layout(case))
    assert {name: tuple(value.shape) for name, value in lab.subject(case).parameters().items()} == told
