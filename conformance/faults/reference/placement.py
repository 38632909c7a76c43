"""Faults in where the prefix, its mask and its cache are under a device map, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.devices.maps import AWAY
from conformance.faults.common import Layers, devices_in_use, rounded, without_first_token
from conformance.faults.registry import in_reference
from conformance.faults.weaker import placement
from conformance.faults.wrappers import ChangesAfterGenerate, Placed
from conformance.methods.method import DEFAULT_ADAPTER


@in_reference(clause="placement.split")
class LeftOnTheFirstDevice(Placed):
    """The whole prefix stays on the first device, wherever the layers are."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Leave it."""
        self.fired(self.layer_devices()[layer] != keys.device)
        return keys, values


@in_reference(clause="placement.split")
class ValuesLeftBehind(Placed):
    """The last layer's keys go where it computes, its values stay on the first device."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Leave one tensor."""
        moved_keys, moved_values = super().on_layer_device(layer, keys, values)
        last = layer == len(self.layer_devices()) - 1
        return moved_keys, values if self.fired(last and moved_values.device != values.device) else moved_values


@in_reference(clause="placement.split")
class JoinedAcrossDevices(Placed):
    """The first virtual token goes to its layer by itself, and the others are joined to it there before they follow."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Join what is on two devices."""
        first_key, first_value = super().on_layer_device(layer, keys[..., :1, :], values[..., :1, :])
        self.fired(first_key.device != keys.device)
        return torch.cat([first_key, keys[..., 1:, :]], -2), torch.cat([first_value, values[..., 1:, :]], -2)


@in_reference(clause="placement.split")
class MaskOnTheCpu(Placed):
    """The ones for the virtual tokens are made on the CPU, wherever the mask of the text is, on one device too."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Make them where torch makes tensors."""
        if given is not None and self.fired(given.device.type != "cpu"):
            return torch.cat([torch.ones(rows, self.length, dtype=torch.long), given.long()], dim=1)
        return super().mask(given, rows, width)


@in_reference(clause="placement.split", weaker=placement.unprojected)
class HalfOnTheWay(Placed):
    """What goes to another device goes there in float16, which the drawn values survive and a projection's do not."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Round what crosses."""
        if self.fired(self.layer_devices()[layer] != keys.device):
            keys, values = rounded(keys, torch.half), rounded(values, torch.half)
        return super().on_layer_device(layer, keys, values)


@in_reference(clause="placement.split", weaker=placement.two_devices)
class OnlyTheMiddleDevice(Placed):
    """The second of three devices gets half the values."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Halve them there."""
        devices = devices_in_use(self.base)
        if self.fired(len(devices) > 2 and str(self.layer_devices()[layer]) == devices[1]):
            values = values / 2
        return super().on_layer_device(layer, keys, values)


@in_reference(clause="placement.split", weaker=placement.as_with_one_device)
class RoundedUnderAnyMap(Placed):
    """A model that has a device map gets the prefix in bfloat16, on one device as on many."""

    def flat(self) -> Tensor:
        """Round it."""
        rows = super().flat()
        return rounded(rows) if self.fired(self.device_map) else rows


@in_reference(clause="placement.spelling")
class NumbersCountedFromOne(Placed):
    """A device that the map gives as a number is taken for the one before."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Misread it."""
        number = self.mapped_device(layer)
        if self.fired(isinstance(number, int) and number):
            before = torch.device(self.layer_devices()[layer].type, number - 1)
            return keys.to(before), values.to(before)
        return super().on_layer_device(layer, keys, values)


@in_reference(clause="placement.spelling", weaker=placement.in_the_models_order)
class InTheOrderOfKeys(Placed):
    """Each layer's prefix is taken from the place that its key has in the map."""

    def layers(self, rows: int) -> Layers:
        """Deal it out along the keys."""
        filled = super().layers(rows)
        names = [self.name_of(layer) for layer in range(len(filled))]
        order = [names.index(key) for key in self.device_map if key in names]
        if self.fired(order != sorted(order) == list(range(len(filled)))):
            filled = [filled[order.index(layer)] for layer in range(len(filled))]
        return filled


@in_reference(clause="placement.spelling", weaker=placement.in_the_models_order)
class FirstKeyTakenForTheMainDevice(Placed):
    """The ones for the virtual tokens are made on the device of the map's first key, which need not be the text's."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Make them there."""
        first = next((device for device in self.device_map.values() if device not in AWAY), None)
        if given is None or first is None or not self.fired(given.device != torch.zeros((), device=first).device):
            return super().mask(given, rows, width)
        return torch.cat([torch.ones(rows, self.length, dtype=torch.long, device=first), given.long()], dim=1)


@in_reference(clause="placement.spelling", weaker=placement.keys_of_their_own)
class MergedKeysUnknown(Placed):
    """Layers that have no key of their own in the map are not found in it, and get a prefix of zeros."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Forget the contents."""
        if self.fired(self.device_map and self.name_of(layer) not in self.device_map):
            keys, values = 0 * keys, 0 * values
        return super().on_layer_device(layer, keys, values)


@in_reference(clause="placement.cache_follows_layer")
class OneLayerTooFar(Placed):
    """Each layer's keys and values are where the next layer computes."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Count from one."""
        devices = self.layer_devices()
        target = devices[min(layer + 1, len(devices) - 1)]
        self.fired(target != devices[layer])
        return keys.to(target), values.to(target)


@in_reference(clause="placement.cache_follows_layer", weaker=placement.same_answers)
class CacheToAndFro(Placed):
    """Before every step the whole cache goes to the first device and back; the answers are right."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Send it to and fro."""
        if self.fired(step):
            for layer in cache.layers:
                layer.keys = layer.keys.to(self.input_device).to(layer.keys.device)
                layer.values = layer.values.to(self.input_device).to(layer.values.device)
        return super().run(cache, given, step)


@in_reference(clause="placement.cache_follows_layer", weaker=placement.same_answers)
class CacheComesHome(ChangesAfterGenerate):
    """Generate returns its cache on the first device, where nobody can go on from it."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Collect it."""
        for layer in caches.returned(out).layers:
            self.fired(layer.keys.device != self.input_device)
            layer.keys, layer.values = layer.keys.to(self.input_device), layer.values.to(self.input_device)


@in_reference(clause="placement.offloaded", weaker=placement.nothing_away)
class OnlyWithOffloadedWeights(Placed):
    """A layer whose weights wait somewhere loses the first virtual token's values."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Clear them."""
        if self.fired(self.mapped_device(layer) in AWAY):
            values = without_first_token(values)
        return super().on_layer_device(layer, keys, values)


@in_reference(clause="placement.offloaded", weaker=placement.adapter_made)
class LoadedRoundedOntoAMap(Placed):
    """An adapter that is loaded onto a dispatched model is rounded to bfloat16."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Round it."""
        super().load(folder, name)
        if self.fired(self.device_map):
            self.loaded[name] = rounded(self.loaded[name])


@in_reference(clause="placement.automatic", weaker=placement.maps_by_hand)
class OnlyUnderAutomaticMaps(Placed):
    """Where transformers makes the map, the last layer's keys are negated."""

    def layers(self, rows: int) -> Layers:
        """Negate them."""
        *first, (keys, values) = super().layers(rows)
        return [*first, (-keys if self.fired(self.shape_of.placement.automatic) else keys, values)]


@in_reference(clause="placement.trains", weaker=placement.training_forward)
class GradientStaysBehind(Placed):
    """What goes to another device arrives without its graph: those layers' parameters are not trained."""

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Cut it off."""
        if self.fired(self.layer_devices()[layer] != keys.device):
            keys, values = keys.detach(), values.detach()
        return super().on_layer_device(layer, keys, values)
