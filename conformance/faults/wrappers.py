"""Faulty reference wrappers that several faults have as their base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.devices.place_model import execution_device
from conformance.families.build import decoder_layers
from conformance.faults.common import device_map_of
from conformance.faults.registry import Planted


class HidesVirtualToken(Planted):
    """Masks one virtual token out of some requests."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The virtual token that is masked out of this request, if any; arguments as in :meth:`mask`."""
        raise NotImplementedError

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Mask it out."""
        mask, token = super().mask(given, rows, width), self.hidden(given, rows, width)
        if self.length and token is not None:
            self.fired()
            mask[:, token] = 0
        return mask


class ChangesAfterGenerate(Planted):
    """Answers rightly, and then changes what is not its own to change."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Change it; ``out`` is the answer, ``request`` what the user passed."""
        raise NotImplementedError

    @torch.no_grad()
    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Answer, then change."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        self.change(out, request)
        return out


class Placed(Planted):
    """What a fault may ask about where the model is."""

    @property
    def device_map(self) -> dict[str, Any]:
        """The base model's device map."""
        return device_map_of(self.base)

    def mapped_device(self, layer: int) -> Any:
        """The device that the map gives a layer, under its own key or a parent's, as it is spelled there."""
        keys = [key for key in self.device_map if not key or f"{self.name_of(layer)}.".startswith(f"{key}.")]
        return self.device_map[max(keys, key=len)] if keys else None

    def name_of(self, layer: int) -> str:
        """The name of a decoder layer's module."""
        return f"{self.family.anatomy.layers}.{layer}"

    def layer_devices(self) -> list[torch.device]:
        """Where each decoder layer computes."""
        return [execution_device(layer) for layer in decoder_layers(self.base, self.family)]
