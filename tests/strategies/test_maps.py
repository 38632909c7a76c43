"""What is drawn for placed models: every kind of map in every budget, and only maps that are legal for the model.

Devices are called as torch calls real ones: a map can be made without entering a lane.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from torch import nn

from conformance.clauses import Clause, clauses
from conformance.core.case import Case, from_json
from conformance.core.dimensions import DIMENSIONS
from conformance.core.features import FURTHER, features
from conformance.devices.maps import device_map
from conformance.engine.search import drawn
from conformance.families import Family, family_named, flagships
from conformance.families.build import build, decoder_layers
from conformance.strategies import one_array, strata

NAMES = tuple(flagships())
DEVICES = ("cuda:0", "cuda:1", "cuda:2")
PLACED = {id: clause for id, clause in clauses().items() if clause.placed}


@cache
def met(name: str, start: int) -> tuple[Case, ...]:
    """The placed Cases that one item meets in the quick profile."""
    return tuple(drawn(name, stratum, start) for stratum in strata(family_named(name), 1, start, placed=True))


def kinds(case: Case) -> frozenset[str]:
    """What a Case is an example of."""
    placement = case.placement
    by_hand = not placement.automatic
    holds = {
        "three devices": len({device for device in placement.named if isinstance(device, int)}) == 3,
        "numbers": by_hand and placement.spelling == "number",
        "torch.device": by_hand and placement.spelling == "device",
        "reversed": by_hand and placement.order == "reversed",
        "dispatched": placement.way == "dispatched",
        "pretrained": placement.way == "pretrained",
        "the embedding is not on the first device": by_hand and placement.others[0] != 0,
        "the last layer apart from the embedding": by_hand and placement.layers[-1] != placement.others[0],
        "projected, and layers apart": case.prefix.projection > 0 and "layers_apart" in features(case),
        "projected, and loaded": case.prefix.projection > 0 and placement.adapter == "loaded",
        "offloaded, with a device": "offloaded" in features(case) and "no_device" not in features(case),
        "padded": case.padded,
        "even": len(case.rows) > 1 and not case.padded,
        "room for all": placement.automatic and sum(placement.memory) >= 100,
    }
    return features(case) | {name for name, here in holds.items() if here}


BY_RELATION = {"beams", "static_cache"}
OF_MAPS = set(list(FURTHER)[list(FURTHER).index("placed") :]) | {
    name
    for dimension in DIMENSIONS
    if dimension.of == "placed"
    for name in dimension.classes
    if name != dimension.unsaid
}
REACHED = {
    "offloaded, with a device",
    "room for all",
    "three devices",
    "numbers",
    "torch.device",
    "reversed",
    "dispatched",
    "pretrained",
    "the embedding is not on the first device",
    "the last layer apart from the embedding",
    "projected, and layers apart",
    "projected, and loaded",
    "no_projection",
    "padded",
    "even",
}


PAIRED = {"no_device"}
"""What takes two classes together: layers that wait, and all else that waits, too."""


@pytest.mark.parametrize("start", [0, 2, 1234])
def test_every_kind_of_map_is_reached_with_any_seed(start: int) -> None:
    """Within each family what takes one class; in the union all."""
    each = {name: set().union(*map(kinds, met(name, start))) for name in NAMES}
    assert {name: missing for name, seen in each.items() if (missing := (OF_MAPS | REACHED) - PAIRED - seen)} == {}
    assert sorted((OF_MAPS | REACHED) - set().union(*each.values())) == []
    assert not set().union(*each.values()) & BY_RELATION


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 1, 1234])
def test_no_seed_brings_fewer_cases_than_a_verdict_needs(name: str, start: int) -> None:
    """Of each clause's own, before anybody has run them: five are needed. The search goes on where there are any, but too few."""
    begun, whole = (
        met(name, start),
        tuple(drawn(name, row, start) for row in one_array(family_named(name), 0, start, True)),
    )
    assert min(_meant(clause, begun) for clause in PLACED.values()) > 0
    counts = Counter({id: _meant(clause, whole) for id, clause in PLACED.items()})
    assert min(counts.values()) >= 6, counts
    assert set(counts) == {
        f"placement.{claim}"
        for claim in ("split", "spelling", "cache_follows_layer", "offloaded", "automatic", "trains")
    }


def _meant(clause: Clause, cases: tuple[Case, ...]) -> int:
    follows = [follow for case in cases for follow in clause.cases(case)]
    return sum(follow.cache == "dynamic" and not clause.missing(follow) for follow in follows)


@pytest.mark.parametrize("name", NAMES)
def test_every_drawn_case_is_placed_small_and_valid(name: str) -> None:
    for case in met(name, 1):
        assert case.placed
        assert from_json(case.to_json()) == case
        assert case.roles.layers in (2, 3)
        assert (case.beams, case.cache, case.padding) == (1, "dynamic", "left")


@pytest.mark.parametrize("name", NAMES)
def test_every_map_is_legal_for_its_model(name: str) -> None:
    """Every weight has a place, tied weights have one, and no block is split."""
    for case in met(name, 0):
        if not case.placement.automatic:
            model = build(case)
            _is_legal(
                model, family_named(name), device_map(model, family_named(name).anatomy.layers, case.placement, DEVICES)
            )


@pytest.mark.parametrize("name", NAMES)
def test_what_waits_on_disk_has_weights(name: str) -> None:
    """accelerate writes no index of nothing, and then looks for it: a dropout alone cannot wait on disk."""
    for case in met(name, 0):
        if "weights_on_disk" in features(case):
            model = build(case)
            found = device_map(model, family_named(name).anatomy.layers, case.placement, DEVICES)
            away = [key for key, device in found.items() if device == "disk"]
            assert [key for key in away if any(f"{w}.".startswith(f"{key}.") for w in model.state_dict())], found


def _is_legal(model: nn.Module, family: Family, devices: dict[str, object]) -> None:
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    places: dict[int, set[str]] = {}
    for name, tensor in tensors:
        keys = [key for key in devices if not key or f"{name}.".startswith(f"{key}.")]
        assert keys, f"{name} has no place"
        places.setdefault(id(tensor), set()).add(str(devices[max(keys, key=len)]))
    assert {len(devices) for devices in places.values()} == {1}
    whole = {type(layer).__name__ for layer in decoder_layers(model, family)}
    whole |= set(getattr(model, "_no_split_modules", None) or ())
    blocks = [name for name, module in model.named_modules() if type(module).__name__ in whole]
    assert blocks
    assert [key for key in devices for block in blocks if key.startswith(f"{block}.")] == []


def test_the_same_seed_draws_the_same_maps_and_another_does_not() -> None:
    drawn.cache_clear()
    before = met("llama", 5)
    drawn.cache_clear()
    met.cache_clear()
    assert met("llama", 5) == before != met("llama", 6)
