"""The closed list of a Case's features: what known failures need and reports show.

They are the classes of all dimensions (:mod:`conformance.core.dimensions`) but for what nobody would say, and further
ones: unions of classes, and details of maps.
"""

from __future__ import annotations

from conformance.core.case import Case, Device
from conformance.core.dimension import Dimension, Predicate
from conformance.core.dimensions import DIMENSIONS
from conformance.core.relations import asked_in


def _layer_devices(case: Case) -> set[Device]:
    """The devices of the decoder's layers."""
    return set(case.placement.of_layers(case.roles.layers))


def _layers_joined(case: Case) -> bool:
    """Whether one key of the map, which is not the whole model's, stands for all of the decoder's layers."""
    devices = _layer_devices(case)
    joined = case.placement.merged and case.roles.layers > 1 and len(devices) == 1
    return joined and not set(case.placement.others) <= devices


def _two_devices(case: Case) -> bool:
    """Whether the model is on two devices at least."""
    if case.placement.automatic:
        return len(case.placement.memory) > 1
    return len((_layer_devices(case) | set(case.placement.others)) - {"cpu", "disk"}) > 1


def _lowest_not_first(case: Case) -> bool:
    """Whether the first device that the map names may not be the lowest.

    How many keys there are is not known here, hence which one is the last, that a reversed map begins with.
    """
    placement = case.placement
    lowest = min((device for device in placement.named if isinstance(device, int)), default=None)
    certain = placement.order == "model" or len(set(placement.others)) == 1
    return not placement.automatic and _two_devices(case) and not (certain and placement.others[0] == lowest)


def _of(dimension: Dimension, holds: Predicate) -> Predicate:
    return lambda case: dimension.counts(case) and holds(case)


CLASSES: dict[str, Predicate] = {
    name: _of(dimension, holds)
    for dimension in DIMENSIONS
    for name, holds in dimension.classes.items()
    if name != dimension.unsaid
}
FURTHER: dict[str, Predicate] = {
    "many_rows": lambda c: len(c.rows) > 1,
    "left_padded": lambda c: c.padded and c.padding == "left",
    "right_padded": lambda c: c.padded and c.padding == "right",
    "given_positions": lambda c: c.given_positions,
    "odd_layers": lambda c: c.roles.layers % 2 == 1,
    "three_layers": lambda c: c.roles.layers > 2,  # noqa: PLR2004
    "one_kv_head": lambda c: c.roles.kv_heads == 1,
    "grouped_query": lambda c: 1 <= c.roles.kv_heads < c.roles.heads,
    "all_kv_heads": lambda c: c.roles.kv_heads == c.roles.heads,
    "own_head_dim": lambda c: c.roles.head_dim * c.roles.heads != c.roles.width,
    "scaled_rope": lambda c: c.roles.rope not in ("", "default"),
    "sliding": lambda c: any(c.roles.sliding),
    "alternating": lambda c: len(set(c.roles.sliding)) > 1,
    "n_below_window": lambda c: any(c.roles.sliding) and c.prefix.length < c.roles.window,
    "n_reaches_window": lambda c: any(c.roles.sliding) and c.prefix.length >= c.roles.window,
    "window_edge": lambda c: any(c.roles.sliding) and abs(c.prefix.length - c.roles.window) <= 1,
    "crosses_window": lambda c: any(c.roles.sliding) and c.prefix.length + c.longest + c.new_tokens > c.roles.window,
    "guessed": lambda c: c.decoding in ("looked_up", "assisted"),
    "another_cache": lambda c: c.cache not in ("dynamic", "none"),
    "decoder_mask": lambda c: c.decoder_mask != "omitted",
    "placed": lambda c: c.placed,
    "layers_apart": lambda c: c.placed and len(_layer_devices(c)) > 1,
    "ends_apart": lambda c: (
        c.placed and not c.placement.automatic and not set(c.placement.others) <= set(c.placement.layers)
    ),
    "offloaded": lambda c: c.placed and bool({"cpu", "disk"} & set(c.placement.named)),
    "offloaded_or_automatic": lambda c: (
        c.placed and (c.placement.automatic or bool({"cpu", "disk"} & set(c.placement.named)))
    ),
    "on_disk": lambda c: c.placed and "disk" in c.placement.named,
    "no_device": lambda c: c.placed and not c.placement.automatic and set(c.placement.named) <= {"cpu", "disk"},
    "automatic": lambda c: c.placement.automatic,
    "layers_joined": lambda c: c.placed and _layers_joined(c),
    "layers_joined_or_automatic": lambda c: c.placed and (_layers_joined(c) or c.placement.automatic),
    "two_devices": lambda c: c.placed and _two_devices(c),
    "lowest_not_first": lambda c: c.placed and _lowest_not_first(c),
    "embedding_away": lambda c: c.placed and c.placement.others[0] in ("cpu", "disk"),
    "from_pretrained": lambda c: c.placed and c.placement.way != "dispatched",
}
FEATURES = {**CLASSES, **FURTHER}


def features(case: Case) -> frozenset[str]:
    """The features that ``case`` has, and what is asked in its story."""
    several = (case, *asked_in(case))
    return frozenset(name for name, holds in FEATURES.items() if any(map(holds, several)))
