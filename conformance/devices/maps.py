"""A Case's placement -> a device map of its model, legal by construction: no block is split, tied weights stay together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from conformance.core.case import Device, Placement

if TYPE_CHECKING:
    from torch import nn

AWAY = ("cpu", "disk")
"""Where weights wait; they are brought to the main device when they are needed."""
Map = dict[str, Any]


class Name(str):
    """A device's name with a hash of its own.

    Where nobody names the main device, as in ``from_pretrained``, accelerate takes the first of a set of devices: of
    strings another one in each process, unless their hashes are fixed.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        import torch

        return torch.device(self).index or 0


def cut_points(model: nn.Module, layers: str) -> list[str]:
    """The finest legal keys of a device map, in the model's order; ``layers`` names the module of the decoder's layers."""
    whole = set(getattr(model, "_no_split_modules", None) or ())
    whole |= {type(layer).__name__ for layer in model.get_submodule(layers).children()}
    return list(_cut(model, "", whole))


def _cut(module: nn.Module, name: str, whole: set[str]) -> Iterator[str]:
    inside = {type(part).__name__ for part in module.modules() if part is not module}
    if name and (type(module).__name__ in whole or not inside & whole):
        yield name
        return
    for own, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        yield _join(name, own)
    for child, part in module.named_children():
        yield from _cut(part, _join(name, child), whole)


def _join(parent: str, child: str) -> str:
    return f"{parent}.{child}" if parent else child


def device_map(model: nn.Module, layers: str, placement: Placement, names: Sequence[str]) -> Map:
    """The map that ``placement`` says, over devices called ``names``."""
    dealt = _deal(model, cut_points(model, layers), layers, placement)
    together = _tied(model, dealt)
    spelled = {key: spell(dealt[together.get(key, key)], placement.spelling, names) for key in dealt}
    merged = _merged(spelled) if placement.merged else spelled
    return dict(reversed(merged.items())) if placement.order == "reversed" else merged


def _deal(model: nn.Module, keys: list[str], layers: str, placement: Placement) -> dict[str, Device]:
    """The devices of ``keys``, in their order; what has no weights is where the part before it is.

    accelerate cannot dispatch a model of which nothing but parts without weights waits on disk.
    """
    saved, dealt = tuple(model.state_dict()), dict[str, Device]()
    inner, outer = cycle(placement.layers), cycle(placement.others)
    before = placement.others[0]
    for key in keys:
        if key.startswith(f"{layers}."):
            dealt[key] = next(inner)
        else:
            before = next(outer) if any(f"{name}.".startswith(f"{key}.") for name in saved) else before
            dealt[key] = before
    return dealt


def _tied(model: nn.Module, keys: Sequence[str] | Map) -> dict[str, str]:
    """For each key whose module shares a weight with an earlier key's, that earlier key."""
    first: dict[int, str] = {}
    together: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        key = max((key for key in keys if name == key or name.startswith(f"{key}.")), key=len)
        earlier = first.setdefault(id(parameter), key)
        if earlier != key:
            together[key] = together.get(earlier, earlier)
    return together


def spell(device: Device, spelling: str, names: Sequence[str]) -> Any:
    """How ``device`` is called: by name, by number, or as a ``torch.device``. A Case's numbers go round the devices there are.

    A map's numbers count accelerators, so that what is called ``cpu:1`` has none; ``cpu`` has one spelling.
    """
    import torch

    if device in AWAY:
        return device
    name = names[int(device) % len(names)]
    if name in AWAY:
        return name
    if spelling == "name" or (spelling == "number" and not numbered(names)):
        return Name(name)
    named = torch.device(name)
    return named.index if spelling == "number" else named


def numbered(names: Sequence[str]) -> bool:
    """Whether a map may call the devices ``names`` by numbers."""
    return names[0].partition(":")[0] != "cpu"


def _merged(found: Map) -> Map:
    """What accelerate makes of a map: children that share a device become their parent.

    But not all of them one key, on disk: accelerate would look for weights under names that begin with a dot.
    """
    from accelerate.utils.modeling import clean_device_map

    cleaned: Map = clean_device_map(dict(found))
    return found if cleaned == {"": "disk"} else cleaned


def places(placement: Placement, layers: int, names: Sequence[str]) -> set[str]:
    """Where a map of ``placement`` puts parts of a model with so many decoder ``layers``; devices by their names."""
    return {str(spell(device, "name", names)) for device in (*placement.of_layers(layers), *placement.others)}


def main_device(found: Map) -> Any:
    """Where the user puts the inputs: the first device of the map that computes, the CPU if there is none."""
    return next((device for device in found.values() if device not in AWAY), "cpu")
