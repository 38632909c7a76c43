"""Device maps of small modules that are nobody's model. No lane is entered: devices are called as torch calls real ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conformance.core.case import Device, Placement
from conformance.devices.maps import Name, cut_points, device_map, main_device, numbered, places, spell

NAMES = ("cuda:0", "cuda:1", "cuda:2")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)


class Tower(nn.Module):
    """Blocks of its own class, with weights beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(1))
        self.blocks = nn.ModuleList([Block(), Block()])


class Body(nn.Module):
    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 2)
        self.layers = nn.ModuleList([Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(2)


class Model(nn.Module):
    """As models of transformers are made: a body and a head."""

    _no_split_modules = ("Seen",)

    def __init__(self, depth: int = 3, tied: bool = False) -> None:
        super().__init__()
        self.body = Body(depth)
        self.head = nn.Linear(2, 5, bias=False)
        if tied:
            self.head.weight = self.body.embed.weight


class Seen(Tower):
    """A tower that may not be split."""


def dealt(model: nn.Module, **placement: object) -> dict[str, object]:
    return device_map(model, "body.layers", Placement(way="dispatched", **placement), NAMES)  # type: ignore[arg-type]


def test_a_model_is_cut_around_its_layers_and_between_them() -> None:
    assert cut_points(Model(), "body.layers") == [
        "body.embed",
        "body.layers.0",
        "body.layers.1",
        "body.layers.2",
        "body.norm",
        "head",
    ]


def test_a_module_with_blocks_inside_is_cut_too_and_what_lies_beside_them_has_keys_of_its_own() -> None:
    model = Model(1)
    model.tower = Tower()
    assert cut_points(model, "body.layers")[-4:] == ["tower.scale", "tower.steps", "tower.blocks.0", "tower.blocks.1"]


def test_what_must_not_be_split_is_not_whatever_is_inside() -> None:
    model = Model(1)
    model.tower = Seen()
    assert cut_points(model, "body.layers")[-1] == "tower"


@pytest.mark.parametrize("nothing", [None, ()])
def test_a_model_that_says_nothing_about_splitting_is_cut_by_its_layers(nothing: tuple[str, ...] | None) -> None:
    model = Model(2)
    model._no_split_modules = nothing  # type: ignore[assignment]
    assert cut_points(model, "body.layers")[1:3] == ["body.layers.0", "body.layers.1"]


@pytest.mark.parametrize(
    ("layers", "others", "expected"),
    [
        ((0,), (0,), "000000"),
        ((0, 1), (0,), "001000"),
        ((1,), (0, 2), "011120"),
        ((0, 1, 2), (2, 1, 0), "201210"),
        ((4,), (3,), "011100"),  # numbers go round the devices that there are
    ],
)
def test_devices_are_dealt_to_layers_and_to_what_is_around_them(
    layers: tuple[Device, ...], others: tuple[Device, ...], expected: str
) -> None:
    found = dealt(Model(), layers=layers, others=others)
    assert list(found.values()) == [f"cuda:{number}" for number in expected]


def test_tied_weights_are_where_the_first_of_them_is() -> None:
    apart, tied = (dealt(Model(1, tied=tied), layers=(1,), others=(0, 1, 2)) for tied in (False, True))
    assert (apart["body.embed"], apart["head"]) == ("cuda:0", "cuda:2")
    assert (tied["body.embed"], tied["head"]) == ("cuda:0", "cuda:0")


def test_a_chain_of_tied_weights_is_followed_to_its_beginning() -> None:
    model = Model(1)
    model.second, model.third = nn.Linear(2, 5, bias=False), nn.Linear(2, 5, bias=True)
    model.second.weight = model.head.weight = model.body.embed.weight
    model.third.weight = model.second.weight
    found = dealt(model, layers=(1,), others=(2, 1, 0))
    assert [found[key] for key in ("body.embed", "head", "second", "third")] == ["cuda:2"] * 4


@pytest.mark.parametrize(
    ("device", "spelling", "expected"),
    [
        (1, "name", "cuda:1"),
        (1, "number", 1),
        (5, "number", 2),
        (1, "device", torch.device("cuda", 1)),
        ("cpu", "number", "cpu"),
        ("disk", "device", "disk"),
    ],
)
def test_a_device_is_spelled_in_three_ways_and_what_is_away_in_one(
    device: Device, spelling: str, expected: object
) -> None:
    found = spell(device, spelling, NAMES)
    assert found == expected
    assert not isinstance(expected, int) or type(found) is int


def test_a_number_means_the_device_that_was_given_and_not_its_place_among_those_given() -> None:
    assert spell(0, "number", ("cuda:2", "cuda:1")) == 2


def test_names_are_hashed_alike_in_every_process() -> None:
    assert [hash(Name(name)) for name in NAMES] == [0, 1, 2]
    assert Name("cuda:1") == "cuda:1"


def test_only_devices_with_numbers_are_called_by_them() -> None:
    assert numbered(NAMES)
    assert not numbered(("cpu",))


def test_keys_that_share_a_device_become_their_parent() -> None:
    apart = {"body.embed": "cuda:0", "body.norm": "cuda:0", "head": "cuda:0"}
    assert dealt(Model(), layers=(1,), others=(0,), merged=True) == {**apart, "body.layers": "cuda:1"}
    assert dealt(Model(), layers=(1,), others=(1, 1, 0), merged=True) == {"body": "cuda:1", "head": "cuda:0"}
    assert dealt(Model(), merged=True) == {"": "cuda:0"}


def test_reversed_the_map_is_the_same_and_its_keys_come_the_other_way_round() -> None:
    plain, reversed_ = (dealt(Model(), layers=(1, 0), others=(2, 0), order=order) for order in ("model", "reversed"))
    assert reversed_ == plain
    assert list(reversed_) == list(plain)[::-1]
    assert (main_device(plain), main_device(reversed_)) == ("cuda:2", "cuda:2")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"a": "cpu", "b": "cuda:1", "c": "cuda:0"}, "cuda:1"),
        ({"a": "disk", "b": 2}, 2),
        ({"a": 0, "b": 1}, 0),
        ({"a": "disk", "b": "cpu"}, "cpu"),
    ],
)
def test_the_main_device_is_the_first_that_computes(found: dict[str, object], expected: object) -> None:
    assert main_device(found) == expected


@pytest.mark.parametrize(
    ("layers", "others", "depth", "expected"),
    [
        ((0, 1), (0,), 2, {"cuda:0", "cuda:1"}),
        ((0, 1), (0,), 1, {"cuda:0"}),
        ((0,), (3,), 1, {"cuda:0"}),
        (("cpu",), (1, "disk"), 3, {"cpu", "cuda:1", "disk"}),
    ],
)
def test_a_map_has_as_many_places_as_its_model_has_parts_for(
    layers: tuple[Device, ...], others: tuple[Device, ...], depth: int, expected: set[str]
) -> None:
    assert places(Placement(layers=layers, others=others), depth, NAMES) == expected
