"""The dimensions of placed models: who places them, what lies where, and how a map is spelled."""

from __future__ import annotations

from conformance.core.case import Case, Device
from conformance.core.dimension import Dimension, by_field

AWAY = {"cpu", "disk"}


def _layers(case: Case) -> set[Device]:
    return set(case.placement.of_layers(case.roles.layers))


def _others(case: Case) -> set[Device]:
    return set(case.placement.others)


def _waiting(case: Case) -> set[Device]:
    return (_layers(case) | _others(case)) & AWAY


def _between(case: Case) -> bool:
    """Whether, however many layers there are, one is on the second of three devices."""
    layers = case.placement.of_layers(min(case.roles.layers, 2))
    return not case.placement.automatic and 1 in layers and {0, 1, 2} <= {*layers, *case.placement.others}


PLACED = (
    Dimension(
        name="who places",
        of="placed",
        classes={
            "dispatched": lambda c: c.placement.way == "dispatched",
            "map_given": lambda c: c.placement.way == "pretrained",
            "map_made": lambda c: c.placement.automatic,
        },
    ),
    Dimension(
        name="where the layers are",
        of="placed",
        classes={
            "layers_together": lambda c: len(_layers(c)) == 1 and not _layers(c) & AWAY,
            "layers_spread": lambda c: len(_layers(c)) > 1 and not _layers(c) & AWAY,
            "some_layers_wait": lambda c: bool(_layers(c) & AWAY) and not _layers(c) <= AWAY,
            "all_layers_wait": lambda c: _layers(c) <= AWAY,
        },
    ),
    Dimension(
        name="where the rest is",
        of="placed",
        classes={
            "rest_together": lambda c: len(_others(c)) == 1 and not _others(c) & AWAY,
            "rest_spread": lambda c: len(_others(c)) > 1 and not _others(c) & AWAY,
            "embedding_waits": lambda c: c.placement.others[0] in AWAY and not _others(c) <= AWAY,
            "other_parts_wait": lambda c: c.placement.others[0] not in AWAY and bool(_others(c) & AWAY),
            "all_the_rest_waits": lambda c: _others(c) <= AWAY,
        },
    ),
    Dimension(
        name="embedding and first layer",
        of="placed",
        classes={
            "embedding_with_layer": lambda c: c.placement.others[0] == c.placement.layers[0],
            "embedding_elsewhere": lambda c: c.placement.others[0] != c.placement.layers[0],
        },
        unsaid="embedding_with_layer",
    ),
    Dimension(
        name="middle device",
        of="placed",
        classes={"no_layer_between": lambda c: not _between(c), "layer_between": _between},
        unsaid="no_layer_between",
    ),
    Dimension(
        name="weights that wait",
        of="placed",
        classes={
            "no_weights_wait": lambda c: not _waiting(c),
            "weights_on_cpu": lambda c: _waiting(c) == {"cpu"},
            "weights_on_disk": lambda c: "disk" in _waiting(c),
        },
        unsaid="no_weights_wait",
    ),
    Dimension(
        name="memory",
        of="placed",
        classes={
            "memory_unsaid": lambda c: not c.placement.memory,
            "memory_for_all": lambda c: sum(c.placement.memory) >= 100,  # noqa: PLR2004 - percent
            "memory_for_some": lambda c: bool(c.placement.memory) and sum(c.placement.memory) < 100,  # noqa: PLR2004 - percent
        },
        unsaid="memory_unsaid",
    ),
    by_field(
        "placement.spelling", "placed", devices_by_name="name", devices_by_number="number", torch_devices="device"
    ),
    by_field("placement.order", "placed", keys_in_order="model", keys_reversed="reversed"),
    by_field("placement.merged", "placed", single_keys=False, merged_keys=True),
    by_field("placement.adapter", "placed", all_said=True, adapter_made="made", adapter_loaded="loaded"),
)
