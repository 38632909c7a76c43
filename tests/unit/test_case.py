from __future__ import annotations

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import conformance
from conformance.core.case import (
    OF_REQUEST,
    OF_WRAPPER,
    Call,
    Case,
    Decoding,
    Dtype,
    Placement,
    Prefix,
    Roles,
    Row,
    Scale,
    base_of,
    from_json,
    model_of,
)
from conformance.core.errors import UserError
from conformance.core.part import Part
from conformance.core.story import Act

pytestmark = pytest.mark.light

PLAIN = Case(family="llama")
RICH = Case(
    family="gemma3",
    roles=Roles(layers=3, heads=4, kv_heads=2, head_dim=4, width=24, tied=True, window=5, sliding=(True, False)),
    prefix=Prefix(length=7, projection=4, order="reversed", seed=3),
    rows=(Row(), Row(length=4, seed=9)),
    new_tokens=8,
    padding="right",
    mask="bool",
    inputs="embeds",
    given_positions=True,
    position_shift=2,
    attention="eager",
    dtype="float64",
    seed=5,
)
STORY = Case(family="t5", roles=Roles(encoder_layers=2, layers=2), rows=(Row(length=4, text="1+1="),), new_tokens=2)
PLACED = Case(
    family="gpt2",
    roles=Roles(layers=3),
    beams=2,
    cache="static",
    placement=Placement(
        way="pretrained",
        layers=(1, "cpu"),
        others=(2, "disk"),
        spelling="device",
        order="reversed",
        merged=True,
        adapter="loaded",
    ),
)
AUTOMATIC = Case(family="gpt2", placement=Placement(way="auto", memory=(60, 40)))

IDS = {
    "f99f3c74b41e": PLAIN,
    "9e2ac3fd6036": RICH,
    "a03d857f6c33": STORY,
    "e38081e7c02b": PLACED,
    "59f1a6da6aa9": AUTOMATIC,
}

devices = st.lists(st.sampled_from((0, 1, 7, "cpu", "disk")), min_size=1, max_size=8).map(tuple)
placements = st.builds(
    Placement,
    way=st.sampled_from(("none", "dispatched", "pretrained")),
    layers=devices,
    others=devices,
    spelling=st.sampled_from(("name", "number", "device")),
    order=st.sampled_from(("model", "reversed")),
    merged=st.booleans(),
    adapter=st.sampled_from(("made", "loaded")),
) | st.builds(
    Placement,
    way=st.sampled_from(("auto", "balanced", "sequential")),
    memory=st.lists(st.integers(0, 400), min_size=1, max_size=8).map(tuple),
)

parts = st.builds(
    Case,
    family=st.sampled_from(("llama", "t5", "x")),
    roles=st.builds(
        Roles,
        layers=st.integers(1, 64),
        encoder_layers=st.integers(0, 99),
        tied=st.booleans(),
        activation=st.sampled_from(("", "silu")),
        rotary=st.integers(0, 100),
        sliding=st.lists(st.booleans(), max_size=4).map(tuple),
    ),
    prefix=st.builds(
        Prefix,
        length=st.integers(0, 99),
        content=st.sampled_from(("random", "tokens")),
        order=st.sampled_from(("drawn", "reversed")),
        scale=st.sampled_from(get_args(Scale)),
    ),
    rows=st.lists(st.builds(Row, length=st.integers(1, 64), seed=st.integers(0, 99)), min_size=1, max_size=8).map(
        tuple
    ),
    new_tokens=st.integers(1, 32),
    padding=st.sampled_from(("left", "right")),
    mask=st.sampled_from(("long", "bool", "float", "omitted")),
    given_positions=st.booleans(),
    dtype=st.sampled_from(get_args(Dtype)),
    autocast=st.booleans(),
    beams=st.integers(1, 8),
    decoding=st.sampled_from(get_args(Decoding)),
    cache=st.sampled_from(("dynamic", "static")),
    decoder_mask=st.sampled_from(("omitted", "ones", "padded")),
    limit=st.sampled_from(("new_tokens", "length")),
    ends=st.booleans(),
    streamed=st.booleans(),
    labels=st.sampled_from(("all", "some")),
    call=st.sampled_from(get_args(Call)),
    mode=st.sampled_from(("eval", "train")),
    checkpointing=st.sampled_from(("off", "before", "after")),
    placement=placements,
)
NAMES = ("Case", "Placement", "Prefix", "Roles", "Row")


@given(parts)
@settings(deadline=None, derandomize=True, database=None)
def test_json_and_repr_give_the_case_back(case: Case) -> None:
    again = from_json(case.to_json())
    assert again == case
    assert again.id == case.id
    assert again.to_json() == case.to_json()
    assert eval(repr(case), {name: getattr(conformance, name) for name in NAMES}) == case


@pytest.mark.parametrize(("name", "case"), IDS.items())
def test_the_id_of_a_case_never_changes(name: str, case: Case) -> None:
    assert case.id == name


def test_json_is_canonical() -> None:
    shuffled = json.dumps(dict(reversed(json.loads(RICH.to_json()).items())), indent=2)
    assert from_json(shuffled).to_json() == RICH.to_json()
    assert PLAIN.to_json() == '{"family":"llama"}'


def test_a_default_that_is_spelt_out_does_not_change_the_id() -> None:
    assert from_json('{"family":"llama","new_tokens":5,"prefix":{"length":1}}').id == PLAIN.id
    first = from_json('{"family":"llama","placement":{"way":"dispatched","layers":[0],"others":[0]}}')
    assert first.to_json() == '{"family":"llama","placement":{"way":"dispatched"}}'
    assert first.id == Case(family="llama", placement=Placement(way="dispatched", others=tuple(range(1)))).id
    assert repr(first) == "Case(family='llama', placement=Placement(way='dispatched'))"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"family":"llama","colour":1}', "unknown field `colour`"),
        ('{"family":"llama","roles":{"depth":1}}', "unknown field `depth`"),
        ('{"family":"llama","roles":{"layers":0}}', "`int` >= 1"),
        ('{"family":"llama","roles":{"layers":65}}', "`int` <= 64"),
        ('{"family":"llama","prefix":{"length":100}}', "`int` <= 99"),
        ('{"family":"llama","prefix":{"length":-1}}', "`int` >= 0"),
        ('{"family":"llama","rows":[]}', "length >= 1"),
        ('{"family":"llama","rows":[{},{},{},{},{},{},{},{},{}]}', "length <= 8"),
        ('{"family":"llama","rows":[{"length":3,"text":"1+1="}]}', "has length 4, not 3"),
        ('{"family":"llama","rows":[{"length":3,"text":"a b"}]}', "matching regex"),
        ('{"family":"llama","new_tokens":33}', "`int` <= 32"),
        ('{"family":"llama","padding":"both"}', "both"),
        ('{"family":"llama","dtype":"float8"}', "float8"),
        ('{"family":"llama","method":"lora"}', "matching regex"),
        ('{"family":"llama","beams":0}', "`int` >= 1"),
        ('{"family":"llama","beams":9}', "`int` <= 8"),
        ('{"family":"llama","cache":"no cache"}', "cache"),
        ('{"family":"llama","placement":{"way":"balanced_low_0"}}', "balanced_low_0"),
        ('{"family":"llama","placement":{"layers":[]}}', "length >= 1"),
        ('{"family":"llama","placement":{"others":[0,1,2,3,4,5,6,7,0]}}', "length <= 8"),
        ('{"family":"llama","placement":{"layers":[8]}}', "`int` <= 7"),
        ('{"family":"llama","placement":{"layers":[-1]}}', "`int` >= 0"),
        ('{"family":"llama","placement":{"layers":["cuda:0"]}}', "cuda:0"),
        ('{"family":"llama","placement":{"layers":[true]}}', "got `bool`"),
        ('{"family":"llama","placement":{"spelling":"index"}}', "index"),
        ('{"family":"llama","placement":{"order":"shuffled"}}', "shuffled"),
        ('{"family":"llama","placement":{"adapter":"merged"}}', "merged"),
        ('{"family":"llama","placement":{"device_map":{}}}', "unknown field `device_map`"),
        ('{"family":"llama","placement":{"way":"auto"}}', "belongs to the ways auto"),
        ('{"family":"llama","placement":{"way":"dispatched","memory":[50]}}', "not to dispatched"),
        ('{"family":"llama","placement":{"way":"auto","memory":[401]}}', "`int` <= 400"),
        ('{"roles":{}}', "missing required field `family`"),
        ('{"model_type":"llama","hidden_size":8}', "unknown field `model_type`"),
        ("[1, 2]", "got `array`"),
        ('{"family":"llama"', "truncated"),
        ('{"family":"llama"} {}', "trailing"),
        ("", "truncated"),
    ],
)
def test_what_is_not_exactly_a_case_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        from_json(text, "case.json")
    assert error.value.code == "malformed-case"
    assert error.value.message.startswith("case.json is not a Case")
    assert said in error.value.message


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(UserError, match="malformed-case"):
        from_json(b'{"family":"\xff"}')


@pytest.mark.parametrize("part", [PLAIN, Roles(), Prefix(), Row(), Placement()])
def test_every_part_is_frozen_and_hashable(part: Part) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(part, part.__struct_fields__[0], 2)
    assert len({part, msgspec.structs.replace(part)}) == 1


def test_the_longest_row_says_whether_there_are_pads() -> None:
    even = replace(PLAIN, rows=(Row(length=4), Row(length=4)))
    assert (RICH.longest, RICH.padded) == (4, True)
    assert (even.longest, even.padded) == (4, False)


def test_a_placement_says_who_makes_the_map_and_what_it_names() -> None:
    assert (PLAIN.placed, PLACED.placed, AUTOMATIC.placed) == (False, True, True)
    assert (PLACED.placement.automatic, AUTOMATIC.placement.automatic) == (False, True)
    assert PLACED.placement.named == (1, "cpu", 2, "disk")


RICHER = replace(
    RICH,
    method="OTHER",
    dtype="float64",
    beams=2,
    decoding="sampled",
    cache="static",
    decoder_mask="padded",
    limit="length",
    ends=True,
    streamed=True,
    labels="some",
    call="tuple",
    mode="train",
    autocast=True,
    checkpointing="after",
    wrong="no_task",
    stacked="over",
    placement=Placement(way="dispatched"),
    story=(Act(decoding="sampled"),),
)


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Case) if field.name != "family"])
def test_every_field_is_hashed_and_forgotten_only_where_it_says_nothing(name: str) -> None:
    """A new field is taken by itself; this fails for one that RICHER does not have, or that is listed in two places."""
    plain = Case(family="llama")
    other = replace(plain, **{name: getattr(RICHER, name)})
    assert other != plain, "give RICHER another value for it"
    assert other.id != plain.id
    assert (model_of(other) == model_of(plain)) is (name in OF_REQUEST)
    assert (base_of(other) == base_of(plain)) is (name in OF_REQUEST | OF_WRAPPER)


def test_what_a_field_is_of_is_said_of_real_fields_and_once() -> None:
    assert {field.name for field in msgspec.structs.fields(Case)} >= OF_REQUEST | OF_WRAPPER
    assert not OF_REQUEST & OF_WRAPPER


def test_only_under_a_padded_mask_a_row_further_down_is_answered_by_fewer_tokens_but_never_by_none() -> None:
    case = Case(family="t5", new_tokens=3)
    assert [case.answered(row) for row in range(5)] == [3] * 5
    assert [replace(case, decoder_mask="padded").answered(row) for row in range(5)] == [3, 2, 1, 3, 2]
