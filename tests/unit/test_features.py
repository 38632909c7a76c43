from __future__ import annotations

from dataclasses import dataclass

import pytest

from conformance.core.case import Case, Placement, Prefix, Roles, Row
from conformance.core.features import FURTHER, features

pytestmark = pytest.mark.light


def case(
    roles: Roles | None = None, n: int = 2, lengths: tuple[int, ...] = (3,), projection: int = 0, **rest: object
) -> Case:
    rows = tuple(Row(length=length) for length in lengths)
    return Case(family="x", roles=roles or Roles(), prefix=Prefix(length=n, projection=projection), rows=rows, **rest)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Pair:
    has: Case
    lacks: Case


def placed(depth: int = 2, **how: object) -> Case:
    return case(Roles(layers=depth), placement=Placement(**{"way": "dispatched", **how}))  # type: ignore[arg-type]


def automatic(*memory: int) -> Case:
    return placed(way="auto", memory=memory)


SLIDING = Roles(window=5, sliding=(True,))
PAIRS = {
    "one_row": Pair(case(), case(lengths=(3, 3))),
    "many_rows": Pair(case(lengths=(3, 3)), case()),
    "left_padded": Pair(case(lengths=(2, 3)), case(lengths=(2, 3), padding="right")),
    "right_padded": Pair(case(lengths=(2, 3), padding="right"), case(lengths=(3, 3), padding="right")),
    "all_pads_but_one": Pair(case(lengths=(1, 3)), case(lengths=(1, 1))),
    "mask_omitted": Pair(case(mask="omitted"), case()),
    "bool_mask": Pair(case(mask="bool"), case(mask="float")),
    "float_mask": Pair(case(mask="float"), case(mask="bool")),
    "embeds": Pair(case(inputs="embeds"), case()),
    "given_positions": Pair(case(given_positions=True), case()),
    "shifted_positions": Pair(case(given_positions=True, position_shift=1), case(given_positions=True)),
    "eager": Pair(case(attention="eager"), case()),
    "projection": Pair(case(projection=4), case()),
    "no_projection": Pair(case(), case(projection=4)),
    "real_tokens": Pair(Case(family="x", prefix=Prefix(content="tokens")), case()),
    "one_virtual_token": Pair(case(n=1), case(n=0)),
    "many_virtual_tokens": Pair(case(n=2), case(n=1)),
    "n_equals_prompt": Pair(case(n=3, lengths=(1, 3)), case(n=1, lengths=(1, 3))),
    "n_above_prompt": Pair(case(n=4), case(n=3)),
    "n_below_prompt": Pair(case(n=2), case(n=3)),
    "one_token_prompt": Pair(case(lengths=(1, 1)), case(lengths=(1, 2))),
    "long_prompt": Pair(case(lengths=(1, 2)), case(lengths=(1, 1))),
    "one_layer": Pair(case(Roles(layers=1)), case(Roles(layers=2))),
    "even_layers": Pair(case(Roles(layers=2)), case(Roles(layers=3))),
    "odd_layers": Pair(case(Roles(layers=3)), case(Roles(layers=2))),
    "three_layers": Pair(case(Roles(layers=4)), case(Roles(layers=2))),
    "even_encoder_layers": Pair(case(Roles(encoder_layers=2)), case(Roles(encoder_layers=0))),
    "more_encoder_layers": Pair(case(Roles(layers=2, encoder_layers=3)), case(Roles(layers=2, encoder_layers=2))),
    "one_kv_head": Pair(case(Roles(heads=4, kv_heads=1)), case(Roles(heads=4, kv_heads=2))),
    "grouped_query": Pair(case(Roles(heads=4, kv_heads=2)), case(Roles(heads=4, kv_heads=4))),
    "all_kv_heads": Pair(case(Roles(heads=4, kv_heads=4)), case(Roles(heads=4, kv_heads=2))),
    "own_head_dim": Pair(case(Roles(heads=2, head_dim=4, width=12)), case(Roles(heads=2, head_dim=4, width=8))),
    "tied": Pair(case(Roles(tied=True)), case()),
    "scaled_rope": Pair(case(Roles(rope="linear")), case(Roles(rope="default"))),
    "sliding": Pair(case(SLIDING), case(Roles(window=5, sliding=(False,)))),
    "alternating": Pair(case(Roles(window=5, sliding=(True, False))), case(SLIDING)),
    "n_below_window": Pair(case(SLIDING, n=4), case(SLIDING, n=5)),
    "n_reaches_window": Pair(case(SLIDING, n=5), case(SLIDING, n=4)),
    "window_edge": Pair(case(SLIDING, n=6), case(SLIDING, n=7)),
    "crosses_window": Pair(case(SLIDING, n=1, new_tokens=2), case(SLIDING, n=1, lengths=(1,), new_tokens=2)),
    "beams": Pair(case(beams=2), case()),
    "sampled": Pair(case(decoding="sampled"), case()),
    "processed": Pair(case(decoding="processed"), case(decoding="sampled")),
    "searched": Pair(case(decoding="searched"), case(decoding="searched_early")),
    "searched_early": Pair(case(decoding="searched_early"), case(decoding="searched")),
    "stopped": Pair(case(decoding="stopped"), case()),
    "looked_up": Pair(case(decoding="looked_up"), case(decoding="sampled")),
    "assisted": Pair(case(decoding="assisted"), case(decoding="looked_up")),
    "guessed": Pair(case(decoding="assisted"), case(decoding="sampled")),
    "chunked": Pair(case(decoding="chunked"), case()),
    "all_returned": Pair(case(decoding="all_returned"), case()),
    "static_cache": Pair(case(cache="static"), case()),
    "given_cache": Pair(case(cache="given"), case(cache="given_static")),
    "given_static_cache": Pair(case(cache="given_static"), case(cache="static")),
    "cache_of_another_name": Pair(case(cache="hybrid"), case(cache="static")),
    "another_cache": Pair(case(cache="offloaded"), case(cache="none")),
    "without_cache": Pair(case(cache="none"), case()),
    "decoder_mask": Pair(case(decoder_mask="ones"), case()),
    "padded_decoder_mask": Pair(case(decoder_mask="padded"), case(decoder_mask="ones")),
    "left_padded_decoder_mask": Pair(case(decoder_mask="left"), case(decoder_mask="padded")),
    "ignored_labels": Pair(case(labels="some"), case()),
    "called_by_position": Pair(case(call="position"), case(call="tuple")),
    "called_for_a_tuple": Pair(case(call="tuple"), case()),
    "items_counted": Pair(case(call="counted"), case()),
    "own_items_counted": Pair(case(call="counted_alone"), case()),
    "labels_without_decoder_ids": Pair(case(call="labels"), case()),
    "types_of_tokens": Pair(case(call="types"), case()),
    "told_length": Pair(case(limit="length"), case()),
    "most_tokens_end": Pair(case(ends=True), case()),
    "streamed": Pair(case(streamed=True), case()),
    "checkpointed_before": Pair(case(checkpointing="before"), case()),
    "checkpointed_after": Pair(case(checkpointing="after"), case(checkpointing="before")),
    "training_mode": Pair(case(mode="train"), case()),
    "placed": Pair(placed(), case()),
    "layers_apart": Pair(placed(layers=(0, 1)), placed(layers=(1,))),
    "ends_apart": Pair(placed(layers=(1,), others=(0,)), placed(layers=(0, 1), others=(1,))),
    "offloaded": Pair(placed(layers=("cpu", 0)), placed()),
    "offloaded_or_automatic": Pair(automatic(60), placed()),
    "on_disk": Pair(placed(others=("disk",)), placed(others=("cpu",))),
    "no_device": Pair(placed(layers=("cpu",), others=("disk",)), placed(layers=("cpu",))),
    "automatic": Pair(automatic(60, 60), placed()),
    "layers_joined": Pair(placed(layers=(1,), merged=True), placed(layers=(0, 1), merged=True)),
    "layers_joined_or_automatic": Pair(automatic(100), placed(layers=(0, 1), merged=True)),
    "merged_keys": Pair(placed(merged=True), placed()),
    "two_devices": Pair(placed(layers=(0, 1)), placed(layers=(0, "cpu"))),
    "lowest_not_first": Pair(placed(layers=(0,), others=(1,)), placed(layers=(1,), others=(0,))),
    "embedding_away": Pair(placed(others=("cpu", 0)), placed(others=(0, "cpu"))),
    "from_pretrained": Pair(placed(way="pretrained"), placed()),
    "adapter_made": Pair(placed(), placed(adapter="loaded")),
    "adapter_loaded": Pair(placed(adapter="loaded"), case()),
}


def test_every_feature_that_is_no_class_of_a_dimension_has_its_pair() -> None:
    """Those that are: `test_dimensions.py`."""
    assert set(PAIRS) >= set(FURTHER)


@pytest.mark.parametrize("name", PAIRS)
def test_a_case_has_the_feature_and_another_lacks_it(name: str) -> None:
    assert name in features(PAIRS[name].has)
    assert name not in features(PAIRS[name].lacks)


def test_windows_count_only_where_a_layer_slides() -> None:
    windowed = {"sliding", "alternating", "n_below_window", "n_reaches_window", "window_edge", "crosses_window"}
    assert not windowed & features(case(Roles(window=5, sliding=()), n=5))


def test_what_a_map_says_of_a_model_that_nobody_places_is_not_asked() -> None:
    unused = Placement(layers=("cpu", 1), others=("disk", 0), merged=True, adapter="loaded")
    assert features(case(placement=unused)) == features(case())


def test_one_layer_or_the_whole_model_has_a_key_that_is_not_above_the_layers() -> None:
    assert "layers_joined" not in features(case(placement=Placement(way="dispatched", layers=(1,), merged=True)))
    assert "layers_joined" not in features(placed(layers=(0,), merged=True))


def test_of_a_reversed_map_the_first_device_is_known_only_if_all_around_the_layers_has_one() -> None:
    assert "lowest_not_first" not in features(placed(layers=(1,), others=(0,), order="reversed"))
    assert "lowest_not_first" in features(placed(layers=(1,), others=(0, 1), order="reversed"))


def test_an_automatic_map_has_two_devices_if_two_have_memory() -> None:
    assert "two_devices" in features(automatic(60, 60))
    assert "two_devices" not in features(automatic(60))


@pytest.mark.parametrize(
    "group",
    [
        {"one_row", "many_rows"},
        {"projection", "no_projection"},
        {"n_equals_prompt", "n_above_prompt", "n_below_prompt"},
        {"one_token_prompt", "long_prompt"},
        {"even_layers", "odd_layers"},
        {"grouped_query", "all_kv_heads"},
    ],
)
def test_a_case_has_exactly_one_of_a_group(group: set[str]) -> None:
    for pair in PAIRS.values():
        assert len(group & features(pair.has)) == 1


@pytest.mark.parametrize(
    "lacks",
    [
        placed(layers=(1,), others=(1,), merged=True),  # one key for the whole model
        placed(layers=(1,), depth=1, merged=True),  # the only layer has a key of its own
        placed(layers=(1,)),
    ],
)
def test_layers_are_joined_only_by_a_key_of_their_own(lacks: Case) -> None:
    assert "layers_joined" not in features(lacks)


@pytest.mark.parametrize(
    ("case", "holds"),
    [
        (placed(layers=(0, "cpu")), False),
        (placed(layers=(0, 1)), True),
        (placed(layers=(0, 1), depth=1), False),
        (placed(layers=(1,)), True),
        (placed(layers=("cpu",), others=(1, "disk")), False),
        (automatic(60, 60), True),
        (automatic(60), False),
    ],
)
def test_two_devices_are_two_that_compute(case: Case, holds: bool) -> None:
    assert ("two_devices" in features(case)) is holds


@pytest.mark.parametrize(
    ("case", "holds"),
    [
        (placed(layers=(1,), others=(0, 2)), False),
        (placed(layers=(1,), others=(0, 2), order="reversed"), True),  # which of the two comes last nobody knows here
        (placed(layers=(1,), order="reversed"), False),
        (placed(layers=("cpu",), others=(1,)), False),
        (automatic(60, 60), False),
    ],
)
def test_the_lowest_device_is_first_only_where_that_is_certain(case: Case, holds: bool) -> None:
    assert ("lowest_not_first" in features(case)) is holds


def test_what_is_not_placed_has_no_feature_of_a_placement() -> None:
    assert features(placed(way="none", layers=("disk", 1), others=("cpu",), merged=True, adapter="loaded")) == features(
        placed(way="none")
    )
