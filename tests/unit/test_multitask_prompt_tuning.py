"""The arithmetic of prompts that differ by task: which numbers make which row's embeddings."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.relations import row_alone, rows_reversed, without_prefix
from conformance.families import family_named
from conformance.methods.method import Layout
from conformance.methods.multitask_prompt_tuning import COLUMNS, MULTITASK_PROMPT_TUNING, ROWS
from conformance.methods.prompt_tuning import EMBEDDING
from conformance.runs.lab import Lab
from conformance.runs.training_batch import training_batch

CASE = Case(
    family="llama",
    method="MULTITASK_PROMPT_TUNING",
    roles=Roles(width=4, head_dim=4, activation="silu", rope="default"),
    prefix=Prefix(length=3, tasks=2, rank=2),
    rows=(Row(seed=0), Row(seed=3), Row(seed=4)),
)
T5 = replace(CASE, family="t5", roles=Roles(width=4, head_dim=4, encoder_layers=1, activation="relu"))
METHOD = MULTITASK_PROMPT_TUNING
LAYOUT = METHOD.layout(CASE)


def raw_of(case: Case, layout: Layout) -> dict[str, torch.Tensor]:
    return {name: METHOD.draw(case, name, shape) for name, shape in METHOD.shapes(case, layout).items()}


def test_a_row_keeps_its_task_wherever_it_stands() -> None:
    assert METHOD.beside(CASE)["task_ids"].tolist() == [0, 1, 0]
    assert METHOD.beside(rows_reversed(CASE))["task_ids"].tolist() == [0, 1, 0]
    assert METHOD.beside(row_alone(CASE, 1))["task_ids"].tolist() == [1]


@pytest.mark.parametrize("case", [CASE, T5], ids=["llama", "t5"])
def test_the_request_says_the_tasks_and_that_of_the_base_model_does_not(case: Case) -> None:
    lab, tokens = Lab("reference"), torch.zeros(3, 2, dtype=torch.long)
    for asked, told in ((case, True), (without_prefix(case), False)):
        assert ("task_ids" in lab.request(asked)) is told
        assert ("task_ids" in training_batch(asked, lab.family(asked), tokens, lab.base(asked)).request) is told


@pytest.mark.parametrize("case", [CASE, T5], ids=["llama", "t5"])
def test_each_number_is_that_of_all_tasks_times_that_of_its_own(case: Case) -> None:
    layout = METHOD.peft_layout(case, family_named(case.family))
    raw = raw_of(case, layout)
    injected = METHOD.injected(METHOD.rows(raw), case, layout)
    assert injected.embeddings is not None
    assert injected.embeddings.shape == (2, 3, 4)
    for task in range(2):
        for token in range(3):
            for index in range(4):
                scale = sum(raw[COLUMNS][task, token, r] * raw[ROWS][task, r, index] for r in range(2))
                assert float(injected.embeddings[task, token, index]) == float(raw[EMBEDDING][token, index] * scale)
    row = injected.of(CASE.rows[1]).embeddings
    assert row is not None
    assert torch.equal(row[0], injected.embeddings[1])
    assert injected.length == 3


def test_a_real_text_is_the_same_for_all_tasks() -> None:
    read = METHOD.injected(METHOD.rows(raw_of(CASE, LAYOUT)), CASE, LAYOUT).of(CASE.rows[0])
    held = METHOD.raw_holding(read, CASE, LAYOUT)
    assert {name: tuple(value.shape) for name, value in held.items()} == METHOD.shapes(CASE, LAYOUT)
    again = METHOD.injected(METHOD.rows(held), CASE, LAYOUT)
    assert read.embeddings is not None
    assert again.embeddings is not None
    assert torch.equal(again.embeddings, read.embeddings.expand(2, -1, -1))


def test_reversed_virtual_tokens_are_the_same_in_the_opposite_order() -> None:
    turned = replace(CASE, prefix=replace(CASE.prefix, order="reversed"))
    one = METHOD.injected(METHOD.rows(raw_of(CASE, LAYOUT)), CASE, LAYOUT).embeddings
    other = METHOD.injected(METHOD.rows(raw_of(turned, LAYOUT)), turned, LAYOUT).embeddings
    assert one is not None
    assert other is not None
    assert torch.equal(other, one.flip(1))


@pytest.mark.parametrize("maker", ["peft", "reference"])
@pytest.mark.parametrize("case", [CASE, T5], ids=["llama", "t5"])
def test_the_parameters_have_the_shapes_that_are_told(maker: str, case: Case) -> None:
    lab = Lab(maker)
    told = METHOD.shapes(case, lab.layout(case))
    assert {name: tuple(value.shape) for name, value in lab.subject(case).parameters().items()} == told
    assert all(torch.equal(value, lab.raw(case)[name]) for name, value in lab.subject(case).raw().items())
