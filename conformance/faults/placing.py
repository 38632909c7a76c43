"""Faults in where things are: the prefix, its mask and its cache under a device map, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.devices.maps import AWAY
from conformance.devices.place_model import execution_device
from conformance.families.build import decoder_layers
from conformance.faults import weaker_placed as weaker
from conformance.faults.registry import Planted, in_reference

Layers = list[tuple[Tensor, Tensor]]


class Placed(Planted):
    """What a fault may ask of the model's whereabouts."""

    @property
    def map(self) -> dict[str, Any]:
        """The device map, as transformers and accelerate leave it on the model; empty where there is none."""
        found: dict[str, Any] = getattr(self.base, "hf_device_map", {})
        return found

    def told(self, layer: int) -> Any:
        """What the map says of a layer, under its own key or a parent's."""
        name = f"{self.family.anatomy.layers}.{layer}"
        keys = [key for key in self.map if not key or f"{name}.".startswith(f"{key}.")]
        return self.map[max(keys, key=len)] if keys else None

    def homes(self) -> list[torch.device]:
        """Where each decoder layer computes."""
        return [execution_device(layer) for layer in decoder_layers(self.base, self.family)]


@in_reference(clause="placement.split")
class LeftOnTheFirstDevice(Placed):
    """The whole prefix stays on the first device, wherever the layers are."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Leave it."""
        if self.homes()[layer] != keys.device:
            self.fired()
        return keys, values


@in_reference(clause="placement.split")
class ValuesLeftBehind(Placed):
    """The last layer's keys go where it computes, its values stay on the first device."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Leave one tensor."""
        moved = super().on_layer_device(layer, keys, values)
        if layer < len(self.homes()) - 1 or moved[1].device == values.device:
            return moved
        self.fired()
        return moved[0], values


@in_reference(clause="placement.split")
class JoinedAcrossDevices(Placed):
    """The first virtual token goes to its layer by itself, and the others are joined to it there before they follow."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Join what is on two devices."""
        first, there = super().on_layer_device(layer, keys[..., :1, :], values[..., :1, :]), self.homes()[layer]
        if there != keys.device:
            self.fired()
        return torch.cat([first[0], keys[..., 1:, :]], -2), torch.cat([first[1], values[..., 1:, :]], -2)


@in_reference(clause="placement.split")
class MaskOnTheCpu(Placed):
    """The ones for the virtual tokens are made on the CPU, wherever the mask of the text is, on one device too."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Make them where torch makes tensors."""
        if given is None or given.device.type == "cpu":
            return super().mask(given, rows, width)
        self.fired()
        return torch.cat([torch.ones(rows, self.length, dtype=torch.long), given.long()], dim=1)


@in_reference(clause="placement.split", weaker=weaker.unprojected)
class HalfOnTheWay(Placed):
    """What goes to another device goes there in float16, which the drawn values survive and a projection's do not."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Round what crosses."""
        if self.homes()[layer] == keys.device:
            return keys, values
        self.fired()
        return super().on_layer_device(layer, keys.half().to(keys.dtype), values.half().to(values.dtype))


@in_reference(clause="placement.split", weaker=weaker.two_devices)
class OnlyTheMiddleDevice(Placed):
    """The second of three devices gets half the values."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Halve them there."""
        used = sorted({str(device) for device in self.map.values() if device not in AWAY})
        if len(used) < 3 or str(self.told(layer)) != used[1]:
            return super().on_layer_device(layer, keys, values)
        self.fired()
        return super().on_layer_device(layer, keys, values / 2)


@in_reference(clause="placement.split", weaker=weaker.as_with_one_device)
class RoundedUnderAnyMap(Placed):
    """A model that has a device map gets the prefix in bfloat16, on one device as on many."""

    def flat(self) -> Tensor:
        """Round it."""
        if not self.map:
            return super().flat()
        self.fired()
        rows = super().flat()
        return rows.bfloat16().to(rows.dtype)


@in_reference(clause="placement.cache_follows_layer")
class OneLayerTooFar(Placed):
    """Each layer's keys and values are where the next layer computes."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Count from one."""
        homes = self.homes()
        there = homes[min(layer + 1, len(homes) - 1)]
        if there != homes[layer]:
            self.fired()
        return keys.to(there), values.to(there)


@in_reference(clause="placement.cache_follows_layer", weaker=weaker.same_answers)
class CacheToAndFro(Placed):
    """Before every step the whole cache goes to the first device and back; the answers are right."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Send it to and fro."""
        if step:
            self.fired()
            for held in cache.layers:
                held.keys = held.keys.to(self.input_device).to(held.keys.device)
                held.values = held.values.to(self.input_device).to(held.values.device)
        return super().run(cache, given, step)


@in_reference(clause="placement.cache_follows_layer", weaker=weaker.same_answers)
class CacheComesHome(Placed):
    """Generate returns its cache on the first device, where nobody can go on from it."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Collect it."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        for held, home in zip(caches.returned(out).layers, self.homes(), strict=True):
            if home != self.input_device:
                self.fired()
            held.keys, held.values = held.keys.to(self.input_device), held.values.to(self.input_device)
        return out


@in_reference(clause="placement.spelling")
class NumbersCountedFromOne(Placed):
    """A device that the map gives as a number is taken for the one before."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Misread it."""
        told, there = self.told(layer), self.homes()[layer]
        if not isinstance(told, int) or not told:
            return super().on_layer_device(layer, keys, values)
        self.fired()
        before = torch.device(there.type, told - 1)
        return keys.to(before), values.to(before)


@in_reference(clause="placement.spelling", weaker=weaker.in_the_models_order)
class InTheOrderOfKeys(Placed):
    """Each layer's prefix is taken from the place that its key has in the map."""

    def layers(self, rows: int) -> Layers:
        """Deal it out along the keys."""
        filled = super().layers(rows)
        names = [f"{self.family.anatomy.layers}.{layer}" for layer in range(len(filled))]
        order = [names.index(key) for key in self.map if key in names]
        if sorted(order) != list(range(len(filled))) or order == sorted(order):
            return filled
        self.fired()
        return [filled[order.index(layer)] for layer in range(len(filled))]


@in_reference(clause="placement.spelling", weaker=weaker.in_the_models_order)
class FirstKeyTakenForTheMainDevice(Placed):
    """The ones for the virtual tokens are made on the device of the map's first key, which need not be the text's."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Make them there."""
        first = next((device for device in self.map.values() if device not in AWAY), None)
        if given is None or first is None or given.device == torch.zeros((), device=first).device:
            return super().mask(given, rows, width)
        self.fired()
        return torch.cat([torch.ones(rows, self.length, dtype=torch.long, device=first), given.long()], dim=1)


@in_reference(clause="placement.spelling", weaker=weaker.keys_of_their_own)
class MergedKeysUnknown(Placed):
    """Layers that have no key of their own in the map are not found in it, and get a prefix of zeros."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Forget the contents."""
        if not self.map or f"{self.family.anatomy.layers}.{layer}" in self.map:
            return super().on_layer_device(layer, keys, values)
        self.fired()
        return super().on_layer_device(layer, 0 * keys, 0 * values)


@in_reference(clause="placement.offloaded", weaker=weaker.nothing_away)
class OnlyWithOffloadedWeights(Placed):
    """A layer whose weights wait somewhere loses the first virtual token's values."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Clear them."""
        if self.told(layer) not in AWAY:
            return super().on_layer_device(layer, keys, values)
        self.fired()
        return super().on_layer_device(layer, keys, torch.cat([0 * values[..., :1, :], values[..., 1:, :]], -2))


@in_reference(clause="placement.offloaded", weaker=weaker.adapter_made)
class LoadedRoundedOntoAMap(Placed):
    """An adapter that is loaded onto a dispatched model is rounded to bfloat16."""

    def load(self, folder: str | Path) -> None:
        """Round it."""
        super().load(folder)
        if self.map and self.collapsed is not None:
            self.fired()
            self.collapsed = self.collapsed.bfloat16().to(self.collapsed.dtype)


@in_reference(clause="placement.automatic", weaker=weaker.maps_by_hand)
class OnlyUnderAutomaticMaps(Placed):
    """Where transformers makes the map, the last layer's keys are negated."""

    def layers(self, rows: int) -> Layers:
        """Negate them."""
        filled = super().layers(rows)
        if not self.shape_of.placement.automatic:
            return filled
        self.fired()
        *first, (keys, values) = filled
        return [*first, (-keys, values)]


@in_reference(clause="placement.trains", weaker=weaker.training_forward)
class GradientStaysBehind(Placed):
    """What goes to another device arrives without its graph: those layers' parameters are not trained."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Cut it off."""
        if self.homes()[layer] == keys.device:
            return keys, values
        self.fired()
        return super().on_layer_device(layer, keys.detach(), values.detach())
