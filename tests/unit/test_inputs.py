from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.case import FIRST_TEXT_TOKEN, PAD, VOCABULARY, Case, Prefix, Row
from conformance.core.relations import row_alone, rows_reversed
from conformance.families import families, family_named
from conformance.families.inputs import inputs_of, kinds, request
from conformance.families.inputs.idefics import ENCODED
from conformance.families.inputs.text import INPUTS, images, padding_mask, position_ids, prefix_text, text, token_ids

CASE = Case(family="llama", rows=(Row(length=2, seed=1), Row(length=4, seed=2), Row(length=1, seed=3)), seed=6)
RIGHT = replace(CASE, padding="right")
IDEFICS = family_named("idefics")
PICTURED = replace(CASE, family="idefics", dtype="float64")


def test_pads_stand_on_the_side_that_the_case_says() -> None:
    assert padding_mask(CASE).tolist() == [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]]
    assert padding_mask(RIGHT).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("case", [CASE, RIGHT], ids=["left", "right"])
def test_a_row_keeps_its_tokens_wherever_it_stands(case: Case) -> None:
    ids, mask = token_ids(case), padding_mask(case).bool()
    reversed_ids, reversed_mask = token_ids(rows_reversed(case)), padding_mask(rows_reversed(case)).bool()
    for index, row in enumerate(case.rows):
        assert ids[index][mask[index]].tolist() == text(case, row).tolist()
        assert ids[index][~mask[index]].tolist() == [PAD] * (case.longest - row.length)
        assert reversed_ids[2 - index][reversed_mask[2 - index]].tolist() == text(case, row).tolist()
        assert token_ids(row_alone(case, index)).tolist() == [text(case, row).tolist()]


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 64))
@settings(deadline=None, derandomize=True, database=None)
def test_texts_never_hold_a_special_token(seed: int, row: int, length: int) -> None:
    case = Case(family="llama", seed=seed, prefix=Prefix(length=length, seed=row))
    for ids in (text(case, Row(length=length, seed=row)), prefix_text(case)):
        assert len(ids) == length
        assert int(ids.min()) >= FIRST_TEXT_TOKEN
        assert int(ids.max()) < VOCABULARY


def test_texts_differ_with_row_and_with_model_and_from_the_prefix() -> None:
    row = Row(length=20, seed=1)
    texts = [text(CASE, row), text(CASE, replace(row, seed=2)), text(replace(CASE, seed=7), row)]
    texts.append(prefix_text(replace(CASE, prefix=Prefix(length=20, seed=1))))
    assert len({tuple(ids.tolist()) for ids in texts}) == 4


def test_a_longer_text_begins_like_a_shorter_one() -> None:
    assert text(CASE, Row(length=9, seed=1))[:4].tolist() == text(CASE, Row(length=4, seed=1)).tolist()


def test_given_positions_count_the_text_and_leave_the_pads_at_0() -> None:
    assert position_ids(CASE, padding_mask(CASE)).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 0]]
    shifted = replace(RIGHT, position_shift=3)
    assert position_ids(shifted, padding_mask(shifted)).tolist() == [[3, 4, 0, 0], [3, 4, 5, 6], [3, 0, 0, 0]]


@pytest.mark.parametrize(("mask", "dtype"), [("long", torch.int64), ("bool", torch.bool), ("float", torch.float32)])
def test_the_mask_says_the_same_in_every_dtype(mask: str, dtype: torch.dtype) -> None:
    passed = request(replace(CASE, mask=mask), family_named("llama"))["attention_mask"]
    assert passed.dtype == dtype
    assert torch.equal(passed.long(), padding_mask(CASE))


def test_a_request_holds_what_the_case_says_and_no_more() -> None:
    llama = family_named("llama")
    assert set(request(CASE, llama)) == {"input_ids", "attention_mask"}
    assert set(request(replace(CASE, mask="omitted"), llama)) == {"input_ids"}
    assert set(request(replace(CASE, given_positions=True), llama)) == {"input_ids", "attention_mask", "position_ids"}
    images = {"pixel_values", "image_attention_mask"}
    assert set(request(PICTURED, IDEFICS)) == {"input_ids", "attention_mask"} | images


def test_there_is_a_kind_of_input_for_each_file_of_the_folder() -> None:
    assert kinds() == ["idefics", "text"]
    assert {name: inputs_of(family).arguments for name, family in families().items() if family.inputs != "text"} == {
        "idefics": {"pixel_values", "image_attention_mask", "image_encoder_embeddings"}
    }


def test_text_has_nothing_beside_it() -> None:
    assert INPUTS.arguments == frozenset()
    assert INPUTS.beside(CASE, family_named("llama"), 4) == {}
    tokens, width = torch.tensor([[5, 6]]), 2
    for later in (INPUTS.for_piece({}, tokens, width), INPUTS.for_next_token({}, None, frozenset())):
        assert later == {}
    assert INPUTS.for_longer_text({}, 9) == {}
    assert INPUTS.in_text(tokens) is tokens


def test_an_image_belongs_to_its_row() -> None:
    beside = inputs_of(IDEFICS).beside(PICTURED, IDEFICS, 4)
    pixels = beside["pixel_values"]
    assert pixels.shape == (3, 1, 3, 4, 4)
    assert pixels.dtype == torch.float64
    assert beside["image_attention_mask"].tolist() == [[[1]] * 4] * 3
    turned = inputs_of(IDEFICS).beside(rows_reversed(PICTURED), IDEFICS, 4)["pixel_values"]
    assert torch.equal(turned.flip(0), pixels)
    assert not torch.equal(turned, pixels)
    alone = inputs_of(IDEFICS).beside(row_alone(PICTURED, 1), IDEFICS, 4)["pixel_values"]
    assert torch.equal(alone, pixels[1:2])


def test_the_numbers_of_an_image_never_change() -> None:
    """Golden, as those of the weights are."""
    image = images(replace(PICTURED, dtype="float32"), IDEFICS)[0, 0, 0]
    assert image.tolist() == [-2.75, -1.5, -1.25, -0.75]


def test_a_piece_that_is_to_be_blind_sees_no_image() -> None:
    beside = inputs_of(IDEFICS).beside(PICTURED, IDEFICS, 1)
    tokens = torch.tensor([[5, 6, 7]])
    piece = inputs_of(IDEFICS).for_piece(beside, tokens, 3, blind=2)
    assert piece["image_attention_mask"].tolist() == [[[0], [0], [1]]]
    assert piece["pixel_values"] is beside["pixel_values"]


def test_a_longer_text_sees_what_its_end_saw() -> None:
    beside = inputs_of(IDEFICS).beside(row_alone(PICTURED, 0), IDEFICS, 2)
    behind = inputs_of(IDEFICS).with_virtual_tokens(beside, 1)
    longer = inputs_of(IDEFICS).for_longer_text(behind, 5)
    assert longer["image_attention_mask"].tolist() == [[[0], [1], [1], [1], [1]]]
    assert INPUTS.with_virtual_tokens({}, 1) == {}


@pytest.mark.parametrize("accepts", [True, False])
def test_an_image_is_given_once_if_the_model_takes_what_it_made_of_it(accepts: bool) -> None:
    beside = inputs_of(IDEFICS).beside(row_alone(PICTURED, 0), IDEFICS, 2)
    out = SimpleNamespace(image_hidden_states=torch.ones(1, 1, 4, 8))
    later = inputs_of(IDEFICS).for_next_token(beside, out, frozenset({ENCODED} if accepts else ()))
    assert later["image_attention_mask"].shape == (1, 1, 1)
    assert set(later) - {"image_attention_mask"} == {ENCODED if accepts else "pixel_values"}


def test_what_the_model_made_of_an_image_is_what_its_encoder_left_and_not_what_is_pooled() -> None:
    beside, left = inputs_of(IDEFICS).beside(row_alone(PICTURED, 0), IDEFICS, 2), torch.ones(1, 4, 8)
    out = SimpleNamespace(image_hidden_states=torch.ones(1, 8), image_outputs=SimpleNamespace(last_hidden_state=left))
    assert inputs_of(IDEFICS).for_next_token(beside, out, frozenset({ENCODED}))[ENCODED] is left
