"""What a decoder reads in training, with each kind of mask."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from msgspec.structs import replace

from conformance.core.case import IGNORED, PAD, START, Case, Roles, Row
from conformance.families import family_named
from conformance.runs.training_batch import embedded_request, training_batch

CASE = Case(
    family="t5",
    roles=Roles(encoder_layers=1, head_dim=4, width=4, activation="relu"),
    rows=(Row(), Row(length=2)),
    new_tokens=3,
)
TOKENS = torch.tensor([[5, 6, 7], [8, 9, 10]])


def batch(mask: Literal["omitted", "ones", "padded", "left"]) -> dict[str, Any]:
    return training_batch(replace(CASE, decoder_mask=mask), family_named("t5"), TOKENS, None).request


def test_without_a_mask_and_with_ones_every_row_is_answered_in_full() -> None:
    read = [[START, 5, 6], [START, 8, 9]]
    assert "decoder_attention_mask" not in batch("omitted")
    assert batch("ones")["decoder_attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]
    masks: tuple[Literal["omitted", "ones"], ...] = ("omitted", "ones")
    for mask in masks:
        assert batch(mask)["decoder_input_ids"].tolist() == read
        assert batch(mask)["labels"].tolist() == TOKENS.tolist()


def test_with_pads_a_shorter_answer_ends_in_pads_that_do_not_count() -> None:
    padded = batch("padded")
    assert padded["decoder_attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert padded["decoder_input_ids"].tolist() == [[START, 5, 6], [START, 8, PAD]]
    assert padded["labels"].tolist() == [[5, 6, 7], [8, 9, IGNORED]]


def test_with_pads_on_the_left_a_shorter_answer_begins_behind_them() -> None:
    whole = training_batch(replace(CASE, decoder_mask="left"), family_named("t5"), TOKENS, None)
    assert whole.request["decoder_attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert whole.request["decoder_input_ids"].tolist() == [[START, 5, 6], [PAD, START, 8]]
    assert whole.request["labels"].tolist() == [[5, 6, 7], [IGNORED, 8, 9]]
    assert whole.columns.tolist() == [[-3, -2, -1], [-2, -1, -1]]


def test_some_labels_are_the_last_of_a_row_and_every_other_one_before_it() -> None:
    some = replace(CASE, labels="some")
    assert training_batch(some, family_named("t5"), TOKENS, None).request["labels"].tolist() == [
        [5, IGNORED, 7],
        [8, IGNORED, 10],
    ]
    padded = training_batch(replace(some, decoder_mask="padded"), family_named("t5"), TOKENS, None).request["labels"]
    assert padded.tolist() == [[5, IGNORED, 7], [IGNORED, 9, IGNORED]]


def test_of_a_decoder_the_first_token_and_pads_have_no_label() -> None:
    case = Case(family="llama", rows=(Row(), Row(length=3)), new_tokens=3, padding="right")
    every, some = (
        training_batch(replace(case, labels=labels), family_named("llama"), TOKENS, None).request
        for labels in ("all", "some")
    )
    text = every["input_ids"][1, :3].tolist()
    assert every["input_ids"].tolist() == [[every["input_ids"][0, 0], 5, 6, PAD, PAD], [*text, 8, 9]]
    assert every["labels"].tolist() == [[IGNORED, 5, 6, IGNORED, IGNORED], [IGNORED, *text[1:], 8, 9]]
    assert some["labels"].tolist() == [[IGNORED, IGNORED, 6, IGNORED, IGNORED], [IGNORED, IGNORED, text[2], IGNORED, 9]]


@pytest.mark.parametrize("mask", ["ones", "padded"])
def test_generate_is_given_a_mask_of_the_start_token(mask: Literal["ones", "padded"]) -> None:
    given = embedded_request(replace(CASE, decoder_mask=mask), family_named("t5"), lambda: None)
    assert given["decoder_attention_mask"].tolist() == [[1], [1]]
