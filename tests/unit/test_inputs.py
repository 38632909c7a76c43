from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.case import FIRST_TEXT_TOKEN, PAD, VOCABULARY, Case, Prefix, Row
from conformance.core.relations import row_alone, rows_reversed
from conformance.families import family_named
from conformance.families.inputs import request
from conformance.families.inputs.text import padding_mask, pixels, position_ids, prefix_text, text, token_ids

CASE = Case(family="llama", rows=(Row(length=2, seed=1), Row(length=4, seed=2), Row(length=1, seed=3)), seed=6)
RIGHT = replace(CASE, padding="right")


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
    given_mask = request(replace(CASE, mask=mask), family_named("llama"))["attention_mask"]
    assert given_mask.dtype == dtype
    assert torch.equal(given_mask.long(), padding_mask(CASE))


def test_a_request_holds_what_the_case_says_and_no_more() -> None:
    kind = family_named("llama")
    assert set(request(CASE, kind)) == {"input_ids", "attention_mask"}
    assert set(request(replace(CASE, mask="omitted"), kind)) == {"input_ids"}
    assert set(request(replace(CASE, given_positions=True), kind)) == {"input_ids", "attention_mask", "position_ids"}


def test_an_image_belongs_to_its_row() -> None:
    case, kind = replace(CASE, family="idefics", dtype="float64"), family_named("idefics")
    given_pixels = pixels(case, kind)
    assert given_pixels["pixel_values"].shape == (3, 1, 3, 4, 4)
    assert given_pixels["pixel_values"].dtype == torch.float64
    assert given_pixels["image_attention_mask"].shape == (3, 4, 1)
    turned = pixels(rows_reversed(case), kind)["pixel_values"]
    assert torch.equal(turned.flip(0), given_pixels["pixel_values"])
    assert not torch.equal(turned, given_pixels["pixel_values"])
