"""What is drawn for placed models: every kind of map in every budget, and only legal ones."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from conformance.case import Case, Device, Placement, from_json
from conformance.clauses import clauses
from conformance.engine import PROFILES
from conformance.errors import UserError
from conformance.families import families, family
from conformance.families.build import build, decoder_layers
from conformance.features import FEATURES, features
from conformance.placement.maps import cut_points, device_map
from conformance.strategies import MAPS, cases

NAMES = tuple(families())
DEVICES = ("cuda:0", "cuda:1", "cuda:2")
BY_RELATION = {"beams", "static_cache"}
OF_MAPS = set(list(FEATURES)[list(FEATURES).index("beams") :]) - BY_RELATION


def drawn(name: str, start: int, examples: int) -> list[Case]:
    met: list[Case] = []
    for stratum in MAPS:

        @seed(start)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(family(name), stratum))
        def meet(case: Case) -> None:
            met.append(case)

        meet()
    return met


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 1, 1234])
def test_the_first_case_of_each_stratum_reaches_every_kind_of_map_with_any_seed(name: str, start: int) -> None:
    found = set().union(*map(features, drawn(name, start, 1)))
    assert found >= OF_MAPS | {"left_padded"}
    assert not found & BY_RELATION


@pytest.mark.parametrize("name", NAMES)
def test_each_claim_is_met_often_enough(name: str) -> None:
    for clause in clauses().values():
        if clause.placed:
            met = [f for case in drawn(name, 0, PROFILES["quick"]) for f in clause.cases(case) if not clause.missing(f)]
            assert len(met) >= clause.decisive, clause.id


@pytest.mark.parametrize("name", NAMES)
def test_every_map_is_legal(name: str) -> None:
    """Every parameter has a place, no layer is split, and tied weights are together."""
    kind = family(name)
    for case in drawn(name, 1, PROFILES["quick"]):
        assert from_json(case.to_json()) == case
        if case.placement.automatic:
            continue
        model = build(case)
        found = device_map(model, kind.anatomy.layers, case.placement, DEVICES)
        places: dict[int, set[str]] = {}
        for parameter, value in model.named_parameters(remove_duplicate=False):
            keys = [key for key in found if not key or parameter == key or parameter.startswith(f"{key}.")]
            assert keys, parameter
            places.setdefault(id(value), set()).add(str(found[max(keys, key=len)]))
        assert all(len(where) == 1 for where in places.values())
        inside = {f"{kind.anatomy.layers}.{index}" for index in range(len(decoder_layers(model, kind)))}
        assert not [key for key in found for layer in inside if key.startswith(f"{layer}.")]


def test_the_layers_get_the_devices_in_turn_and_all_else_the_others() -> None:
    case = next(case for case in drawn("llama", 0, 1) if case.placement.way == "dispatched")
    placement = Placement(way="dispatched", layers=(0, "cpu"), others=(2, 1))
    model = build(case)
    found = device_map(model, "model.layers", placement, DEVICES)
    assert list(found) == cut_points(model, "model.layers")
    layers = [str(device) for key, device in found.items() if key.startswith("model.layers.")]
    assert layers == ["cuda:0", "cpu", "cuda:0"][: case.roles.layers]
    rest = [str(device) for key, device in found.items() if not key.startswith("model.layers.")]
    assert rest[:2] == ["cuda:2", "cuda:1"]


@pytest.mark.parametrize(
    "text",
    [
        '{"family": "llama", "placement": {"way": "auto"}}',
        '{"family": "llama", "placement": {"way": "dispatched", "memory": [60]}}',
        '{"family": "llama", "placement": {"way": "dispatched", "layers": []}}',
        '{"family": "llama", "placement": {"way": "dispatched", "layers": ["gpu"]}}',
        '{"family": "llama", "placement": {"way": "by hand"}}',
    ],
)
def test_what_is_no_placement_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="malformed-case"):
        from_json(text)


def test_a_device_is_a_number_or_where_weights_wait() -> None:
    devices: tuple[Device, ...] = (0, 1, "cpu", "disk")
    assert Placement(way="dispatched", layers=devices).named == (*devices, 0)
