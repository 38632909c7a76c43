"""The arithmetic of contexts of worked examples: types, projections, and the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.relations import row_alone, rows_reversed, with_labels, without_prefix
from conformance.methods.cpt import CPT, DELTA, HELD, TYPES
from conformance.methods.prompt_tuning import EMBEDDING
from conformance.oracles.loss import log_probabilities, loss_of
from conformance.runs.lab import Lab
from conformance.runs.training_batch import training_batch

CASE = Case(
    family="llama",
    method="CPT",
    roles=Roles(width=4, head_dim=4, activation="silu", rope="default"),
    prefix=Prefix(length=6, context="decaying", radii="narrow"),
    rows=(Row(length=3, seed=1), Row(length=1, seed=2)),
)
LAYOUT = CPT.layout(CASE)


def of(context: str, length: int) -> Case:
    return replace(CASE, prefix=Prefix(length=length, context=context))  # type: ignore[arg-type]


def raw_of(case: Case) -> dict[str, torch.Tensor]:
    return {name: CPT.draw(case, name, shape) for name, shape in CPT.shapes(case, LAYOUT).items()}


@pytest.mark.parametrize(
    ("context", "length", "types"),
    [
        ("template", 3, (1, 1, 1)),
        ("examples", 1, (4,)),
        ("examples", 4, (1, 2, 3, 4)),
        ("examples", 5, (0, 1, 2, 3, 4)),
        ("decaying", 7, (3, 4, 0, 5, 6, 7, 8)),
    ],
)
def test_a_context_is_one_template_or_ends_with_a_whole_example(context: str, length: int, types: tuple[int]) -> None:
    assert CPT.types(of(context, length)) == types
    assert list(CPT.trained(of(context, length))) == [i for i, type in enumerate(types) if type % 4]


def test_a_text_and_its_answer_are_two_examples_and_pads_are_of_no_type() -> None:
    for case, expected in (
        (CASE, [[1, 2, 4, 8, 8], [0, 0, 4, 8, 8]]),
        (replace(CASE, padding="right"), [[1, 2, 4, 8, 8], [4, 8, 8, 0, 0]]),
        (rows_reversed(CASE), [[0, 0, 4, 8, 8], [1, 2, 4, 8, 8]]),
        (row_alone(CASE, 1), [[4, 8, 8]]),
    ):
        lab, tokens = Lab("reference"), torch.zeros(len(case.rows), 3, dtype=torch.long)
        asked = training_batch(case, lab.family(case), tokens, lab.base(case)).request
        assert asked[TYPES].tolist() == expected
        assert asked[TYPES].shape == asked["labels"].shape
        bare = without_prefix(case)
        assert TYPES not in training_batch(bare, lab.family(bare), tokens, lab.base(bare)).request
        assert TYPES not in lab.request(case)


def test_a_delta_is_cut_to_the_radius_of_its_type_and_outputs_are_where_they_were() -> None:
    delta = torch.tensor([[3.0, 0.0, 4.0, 0.0]]).repeat(6, 1)
    cut = CPT.projected(delta, CASE).norm(dim=1)
    # Types 4, 0, 5, 6, 7, 8 in a model of width 4: a template may be moved by 2, an input by 1.5.
    assert cut.tolist() == pytest.approx([HELD, HELD, 2.0, 1.5, 2.0, HELD])
    short = CPT.projected(delta / 10, CASE)
    assert torch.equal(short[2:5], delta[2:5] / 10)


def test_what_is_in_front_is_the_sum_and_only_templates_and_inputs_learn() -> None:
    raw = {name: value.requires_grad_() for name, value in raw_of(CASE).items()}
    front = CPT.injected(CPT.rows(raw), CASE, LAYOUT).embeddings
    assert front is not None
    assert torch.equal(front[0], raw[EMBEDDING] + CPT.projected(raw[DELTA].detach(), CASE))
    (learnt,) = torch.autograd.grad(front.sum(), [raw[DELTA]])
    assert learnt[:, 0].tolist() == [0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("width", [4, 6, 24])
def test_a_drawn_delta_that_was_projected_stays_where_it_is(width: int) -> None:
    case = replace(CASE, roles=replace(CASE.roles, width=width))
    once = CPT.projected(raw_of(case)[DELTA], case)
    assert not torch.equal(once, raw_of(case)[DELTA])
    assert torch.equal(CPT.projected(once, case), once)


def test_within_wide_radii_nothing_is_cut() -> None:
    case = of("examples", 6)
    delta = raw_of(case)[DELTA]
    assert torch.equal(CPT.projected(delta, case), delta)
    assert delta.any(1).tolist() == [False, False, True, True, True, False]


def test_a_real_text_is_not_moved() -> None:
    read = CPT.injected(CPT.rows(raw_of(CASE)), CASE, LAYOUT)
    held = CPT.raw_holding(read, CASE, LAYOUT)
    assert not held[DELTA].any()
    again = CPT.injected(CPT.rows(held), CASE, LAYOUT).embeddings
    assert read.embeddings is not None
    assert again is not None
    assert torch.equal(again, read.embeddings)


def test_of_all_tokens_only_outputs_count_of_which_each_weighs_half_of_the_next() -> None:
    """Types 4, 0, 5, 6, 7, 8 of the context, and 1, 2, 4, 8, 8 of text and answer, which are 9, 10, 12, 16, 16 behind it."""
    case = replace(row_alone(CASE, 0), new_tokens=3)
    # The first output has nothing in front of it that could predict it.
    nothing = [None] * 4
    assert CPT.label_weights(case, 0) == [*nothing, 1 / 4, None, None, 1 / 2, 1, 1]
    assert CPT.label_weights(with_labels(case, "some"), 0) == [*nothing, 1 / 4, None, None, 1 / 2, None, 1]
    assert [CPT.counted_labels(with_labels(case, which), 0) for which in ("all", "some")] == [4, 3]
    assert CPT.label_weights(without_prefix(case), 0) == [1, 1, 1, 1]


def test_the_loss_by_hand_is_the_weighted_mean_of_what_the_outputs_cost() -> None:
    found = [torch.tensor([-9.0] * 4 + [-4.0, -9.0, -9.0, -2.0, -1.0, -3.0])]
    assert float(loss_of(replace(row_alone(CASE, 0), new_tokens=3), found)) == pytest.approx((1 + 1 + 1 + 3) / 4)


def test_tokens_of_the_context_are_asked_of_the_columns_in_front() -> None:
    """By one whole forward over all embeddings, without pads."""
    case = replace(row_alone(CASE, 0), new_tokens=3)
    lab, tokens = Lab("reference"), torch.tensor([[5, 6, 7]])
    read = torch.tensor([*CPT.tokens(case), *lab.request(case)["input_ids"][0], 5, 6])
    front = lab.injected(case).embeddings
    assert front is not None
    embedded = torch.cat([front, lab.base(case).get_input_embeddings()(read[None, case.prefix.length :])], dim=1)
    said = lab.base(case)(inputs_embeds=embedded).logits[0, :-1].log_softmax(-1)
    expected = said.gather(-1, read[1:, None])[:, 0]
    (got,) = log_probabilities(lab.base(case), lab.family(case), case, tokens, lab.injected(case))
    assert torch.allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("maker", ["peft", "reference"])
@pytest.mark.parametrize("context", ["template", "examples", "decaying"])
def test_the_parameters_have_the_shapes_that_are_told(maker: str, context: Any) -> None:
    case = of(context, 3)
    lab = Lab(maker)
    assert {name: tuple(value.shape) for name, value in lab.subject(case).parameters().items()} == CPT.shapes(
        case, LAYOUT
    )
    assert all(torch.equal(value, lab.raw(case)[name]) for name, value in lab.subject(case).raw().items())


def test_peft_begins_with_the_embeddings_of_the_tokens_that_are_told() -> None:
    """What every Case overwrites: that its context is what its labels say."""
    lab = Lab("peft")
    made = lab.maker(CASE)
    table = lab.base(CASE).get_input_embeddings().weight
    assert torch.equal(made.raw()[EMBEDDING], table[list(CPT.tokens(CASE))])
    assert not made.raw()[DELTA].any()
