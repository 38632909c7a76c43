from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import asdict, replace

from conformance.core import relations
from conformance.core.case import Case, Placement, Prefix, Roles, Row
from conformance.core.story import Act

pytestmark = pytest.mark.light

CASE = Case(
    family="llama",
    roles=Roles(layers=2, positions=32),
    prefix=Prefix(length=3, projection=4, order="reversed", seed=99),
    rows=(Row(length=2, seed=1), Row(length=4, seed=2), Row(length=3, seed=3)),
    new_tokens=4,
    placement=Placement(way="pretrained", layers=(2, 0), others=(1, "cpu"), spelling="number", order="reversed"),
)
BARE = Prefix(length=0, seed=99)
CHANGES: dict[str, tuple[Callable[[Case], Case | None], dict[str, object]]] = {
    "without_prefix": (relations.without_prefix, {"prefix": BARE}),
    "row_alone": (lambda c: relations.row_alone(c, 1), {"rows": CASE.rows[1:2]}),
    "rows_reversed": (relations.rows_reversed, {"rows": CASE.rows[::-1]}),
    "one_token": (relations.one_token, {"rows": (Row(length=1, seed=1),), "new_tokens": 1}),
    "first_steps": (lambda c: relations.first_steps(c, 3), {"new_tokens": 3}),
    "first_steps enough": (lambda c: relations.first_steps(c, 8), {}),
    "same_rows": (lambda c: relations.same_rows(c, 2), {"rows": (CASE.rows[0], CASE.rows[0])}),
    "with_padding": (lambda c: relations.with_padding(c, "right"), {"padding": "right"}),
    "with_mask": (lambda c: relations.with_mask(c, "float"), {"mask": "float"}),
    "with_embeds": (relations.with_embeds, {"inputs": "embeds"}),
    "with_position_ids": (lambda c: relations.with_position_ids(c, 3), {"given_positions": True, "position_shift": 3}),
    # 3 virtual tokens, 26 of text, and the last of 4 new tokens is never read: 3 + 26 + 3 = 32.
    "filling_positions": (relations.filling_positions, {"rows": (Row(length=26, seed=1),)}),
    "filling_positions beyond": (
        lambda c: relations.filling_positions(c, beyond=1),
        {"rows": (Row(length=27, seed=1),)},
    ),
    "with_attention": (lambda c: relations.with_attention(c, "eager"), {"attention": "eager"}),
    "other_prefix": (relations.other_prefix, {"prefix": replace(CASE.prefix, seed=0)}),
    "other_length": (relations.other_length, {"prefix": replace(CASE.prefix, length=2, seed=0)}),
    "other_length of one": (
        lambda c: relations.other_length(replace(c, prefix=replace(c.prefix, length=1))),
        {"prefix": replace(CASE.prefix, length=2, seed=0)},
    ),
    "prefix_reversed": (
        lambda c: relations.prefix_reversed(relations.without_prefix(c)),
        {"prefix": replace(BARE, order="reversed")},
    ),
    "with_real_tokens": (relations.with_real_tokens, {"prefix": Prefix(length=3, content="tokens", seed=99)}),
    "in_double": (relations.in_double, {"dtype": "float64"}),
    "in_dtype": (lambda c: relations.in_dtype(c, "float16"), {"dtype": "float16"}),
    "in_single": (lambda c: relations.in_single(relations.under_autocast(relations.in_double(c))), {}),
    "under_autocast": (relations.under_autocast, {"autocast": True}),
    "with_scale": (lambda c: relations.with_scale(c, "large"), {"prefix": replace(CASE.prefix, scale="large")}),
    "with_beams": (relations.with_beams, {"beams": 2}),
    "asked_wrongly": (lambda c: relations.asked_wrongly(c, "no_task"), {"wrong": "no_task"}),
    "begun_as": (
        lambda c: relations.begun_as(c, "text"),
        {"prefix": replace(CASE.prefix, begins="text", order="drawn", tasks=1)},
    ),
    "with_lora": (lambda c: relations.with_lora(c, "over"), {"stacked": "over"}),
    "beam_searched": (relations.beam_searched, {"beams": 3, "decoding": "searched"}),
    "beam_searched early": (
        lambda c: replace(relations.beam_searched(replace(c, seed=1)), seed=c.seed),
        {"beams": 2, "decoding": "searched_early"},
    ),
    "with_decoding": (lambda c: relations.with_decoding(c, "sampled"), {"decoding": "sampled"}),
    "with_length": (lambda c: relations.with_length(c, 4), {"prefix": replace(CASE.prefix, length=4)}),
    "with_cache": (lambda c: relations.with_cache(c, "static"), {"cache": "static"}),
    "told_by_length": (relations.told_by_length, {"limit": "length"}),
    "told_by_tokens": (
        lambda c: relations.told_by_tokens(replace(c, limit="length", ends=True, streamed=True)),
        {},
    ),
    "with_ends": (relations.with_ends, {"ends": True}),
    "streamed": (relations.streamed, {"streamed": True}),
    "with_labels": (lambda c: relations.with_labels(c, "some"), {"labels": "some"}),
    "called": (lambda c: relations.called(c, "tuple"), {"call": "tuple"}),
    "with_decoder_mask": (lambda c: relations.with_decoder_mask(c, "padded"), {"decoder_mask": "padded"}),
    "checkpointed": (
        lambda c: relations.checkpointed(c, "after"),
        {"mode": "train", "checkpointing": "after"},
    ),
    "not_checkpointed": (lambda c: relations.not_checkpointed(replace(c, checkpointing="before")), {}),
    "in_mode": (lambda c: relations.in_mode(c, "train"), {"mode": "train"}),
    "without_story": (lambda c: relations.without_story(replace(c, story=(Act(),))), {}),
    "without_prefix of a story": (
        lambda c: relations.without_prefix(replace(c, story=(Act(do="save"), Act(do="train"), Act(), Act(do="raise")))),
        {"prefix": BARE, "story": (Act(do="train"), Act())},
    ),
    "asked_by": (
        lambda c: relations.asked_by(Act(do="train"), replace(c, story=(Act(),))),
        {"rows": CASE.rows[:1], "new_tokens": 2, "mode": "train"},
    ),
    "asked_by a look up": (
        lambda c: relations.asked_by(Act(decoding="looked_up"), c),
        {"rows": CASE.rows[:1], "decoding": "looked_up"},
    ),
    "asked_by a search": (
        lambda c: relations.asked_by(Act(decoding="searched"), c),
        {"new_tokens": 2, "beams": 3, "decoding": "searched"},
    ),
    "asked_by what asks nothing": (lambda c: relations.asked_by(Act(do="save"), c) or c, {}),
    "asked_in": (
        lambda c: relations.asked_in(replace(c, story=(Act(), Act(do="save"), Act(do="raise"))))[0],
        {"new_tokens": 2},
    ),
    "added_by": (
        lambda c: relations.added_by(Act(do="add", adapter="second", seed=3), replace(c, story=(Act(),))),
        {"prefix": replace(CASE.prefix, seed=3)},
    ),
    "added_by other_length": (
        lambda c: relations.added_by(Act(do="add", adapter="second", other_length=True), c),
        {"prefix": replace(CASE.prefix, length=2, seed=0)},
    ),
    "unplaced": (relations.unplaced, {"placement": Placement()}),
    "on_one_device": (relations.on_one_device, {"placement": Placement(way="dispatched")}),
    "nothing_waits": (
        relations.nothing_waits,
        {"placement": replace(CASE.placement, others=(1, 2))},
    ),
    "nothing_waits but weights that no device is left for": (
        lambda c: relations.nothing_waits(replace(c, placement=replace(c.placement, others=(2, 1, "disk", 0)))),
        {"placement": replace(CASE.placement, others=(2, 1, 0, 0))},
    ),
    "nothing_waits two": (
        lambda c: relations.nothing_waits(replace(c, placement=Placement(way="dispatched", layers=("cpu", "disk")))),
        {"placement": Placement(way="dispatched", layers=(2, 1))},
    ),
    "spelled_plainly": (
        relations.spelled_plainly,
        {"placement": Placement(way="pretrained", layers=(0, 1), others=(2, "cpu"))},
    ),
}


def test_every_relation_is_here() -> None:
    public = {
        name
        for name, found in vars(relations).items()
        if getattr(found, "__module__", "") == relations.__name__ and name[0] != "_"
    }
    assert {name.partition(" ")[0] for name in CHANGES} == public


@pytest.mark.parametrize("name", CHANGES)
def test_a_relation_changes_what_it_says_and_nothing_else(name: str) -> None:
    relation, changes = CHANGES[name]
    before = CASE.to_json()
    follow = relation(CASE)
    assert follow is not None
    assert asdict(follow) == {**asdict(CASE), **changes}
    assert CASE.to_json() == before


def test_a_prefix_that_leaves_no_room_cannot_be_filled_up() -> None:
    full = replace(CASE, prefix=Prefix(length=29))
    assert relations.filling_positions(full) is None
    assert relations.filling_positions(full, beyond=1) is not None


def test_relations_that_undo_themselves() -> None:
    assert relations.rows_reversed(relations.rows_reversed(CASE)) == CASE
    assert relations.without_prefix(relations.without_prefix(CASE)) == relations.without_prefix(CASE)
    assert relations.other_prefix(CASE).prefix.seed != CASE.prefix.seed


def placed(**changes: object) -> Case:
    return replace(CASE, placement=Placement(way="dispatched", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layers", "others", "plain_layers", "plain_others"),
    [
        ((0, 1), (0,), (0, 1), (0,)),
        ((1,), (0, 2), (0,), (1, 2)),
        ((2, 2, 1), (1, 0), (0, 0, 1), (1, 2)),
        (("cpu", 2), ("disk", 2), ("cpu", 0), ("disk", 0)),
        (("cpu",), ("disk",), ("cpu",), ("disk",)),
    ],
)
def test_devices_are_called_plainly_in_the_order_in_which_they_occur(
    layers: object, others: object, plain_layers: object, plain_others: object
) -> None:
    found = relations.spelled_plainly(placed(layers=layers, others=others, merged=True, spelling="device"))
    assert found == placed(layers=plain_layers, others=plain_others)
    assert relations.spelled_plainly(found) == found


def test_on_one_device_and_spelled_plainly_a_loaded_adapter_stays_loaded() -> None:
    loaded = placed(layers=(1, 0), adapter="loaded")
    assert relations.on_one_device(loaded) == placed(adapter="loaded")
    assert relations.spelled_plainly(loaded) == placed(layers=(0, 1), others=(1,), adapter="loaded")
    assert relations.unplaced(loaded).placement == Placement()
