"""Faults in where the prefix goes when the model is spread over devices, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.families.build import decoder_layers
from conformance.faults.registry import Planted, in_reference

Pair = tuple[Tensor, Tensor]


@in_reference(clause="placement.split")
class PrefixOnTheFirstDevice(Planted):
    """Keys and values of every layer stay where the adapter is: two devices meet in the cache."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Move nothing."""
        self.fired()
        return keys, values


@in_reference(clause="placement.split")
class LastLayersValuesElsewhere(Planted):
    """The keys follow their layer, the last layer's values do not."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Move the keys only."""
        moved = super().beside(layer, keys, values)
        if layer < self.shape_of.roles.layers - 1 or moved[1].device == values.device:
            return moved
        self.fired()
        return moved[0], values


@in_reference(clause="placement.split")
class HalfOnTheWay(Planted):
    """What crosses from one device to another does so in half precision: invisible in values of few bits."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Round what crosses."""
        moved = super().beside(layer, keys, values)
        if moved[0].device == keys.device:
            return moved
        self.fired()
        return moved[0].half().to(keys.dtype), moved[1].half().to(values.dtype)


@in_reference(clause="placement.split")
class OnlyTheSecondDevice(Planted):
    """On the second device, beside a first one, the virtual tokens stand in the opposite order."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Turn the values round."""
        keys, values = super().beside(layer, keys, values)
        if keys.device.index == 1 and self.home.index != 1:
            self.fired()
            values = values.flip(-2, -1)
        return keys, values


@in_reference(clause="placement.trains")
class GradientLostOnTheWay(Planted):
    """What crosses to another device has no gradient: those layers' part of the adapter is never trained."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Cut what crosses."""
        moved = super().beside(layer, keys, values)
        if moved[0].device == keys.device:
            return moved
        self.fired()
        return moved[0].detach(), moved[1].detach()


@in_reference(clause="placement.cache_follows_layer")
class CacheToAndFro(Planted):
    """At every step the whole cache goes to the first device and back: the answers are right, and slow."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Send it to and fro."""
        for held in getattr(getattr(cache, "self_attention_cache", cache), "layers", ()):
            if step and held.keys is not None and self.home != held.keys.device:
                self.fired()
                held.keys = held.keys.to(self.home).to(held.keys.device)
                held.values = held.values.to(self.home).to(held.values.device)
        return super().run(cache, given, step)


@in_reference(clause="placement.offloaded")
class NothingForWaitingLayers(Planted):
    """A layer whose weights wait on the CPU or on disk gets a prefix of zeros."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Forget the contents."""
        keys, values = super().beside(layer, keys, values)
        if any(weight.is_meta for weight in decoder_layers(self.base, self.kind)[layer].parameters()):
            self.fired()
            return torch.zeros_like(keys), torch.zeros_like(values)
        return keys, values


@in_reference(clause="placement.offloaded")
class LoadedRowsOutOfOrder(Planted):
    """A loaded adapter's virtual tokens change places on layers that are not where the adapter is."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Turn them round."""
        moved = super().beside(layer, keys, values)
        if self.collapsed is None or moved[0].device == keys.device:
            return moved
        self.fired()
        return moved[0], moved[1].flip(-2, -1)


@in_reference(clause="placement.automatic")
class AutomaticMapsLastLayer(Planted):
    """Where transformers makes the map, the last layer has no prefix in its values."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Forget them."""
        keys, values = super().beside(layer, keys, values)
        if self.shape_of.placement.automatic and layer == self.shape_of.roles.layers - 1:
            self.fired()
            values = torch.zeros_like(values)
        return keys, values


@in_reference(clause="placement.spelling")
class KeysInAnotherOrder(Planted):
    """Where the map's keys stand in the opposite order, so do the layers' prefixes."""

    def cache(self, rows: int) -> Any:
        """Deal them out backwards."""
        if not self.enabled or self.shape_of.placement.order == "model":
            return super().cache(rows)
        self.fired()
        dealt = self.layers(rows)[::-1]
        filled = [self.beside(index, *held) for index, held in enumerate(dealt)]
        return caches.make(self.base, filled, keep_all=self.sliding)


@in_reference(clause="placement.spelling")
class MergedKeysUnknown(Planted):
    """Where one key of the map stands for several layers, none of them is found, and none has a prefix."""

    def beside(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Forget the contents."""
        keys, values = super().beside(layer, keys, values)
        if self.shape_of.placement.merged:
            self.fired()
            return torch.zeros_like(keys), torch.zeros_like(values)
        return keys, values
