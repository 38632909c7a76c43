"""Faulty reference wrappers that several faults have as their base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from conformance.devices.place_model import execution_device
from conformance.families.build import decoder_layers
from conformance.faults.common import device_map_of
from conformance.faults.registry import Fires, Planted
from conformance.methods.reference.adapters import FILE, Adapters


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


class Saves(Fires, Adapters):
    """Saves something else than the right rows."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """What is written in place of the flat ``rows``, one a virtual token."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> None:
        """Write it."""
        super().save_pretrained(folder)
        rows = load_file(Path(folder) / FILE)["rows"]
        save_file({"rows": self.rewritten(rows).contiguous()}, Path(folder) / FILE)


class SwitchesOn(Planted):
    """Uses the prefix though it is disabled."""

    @contextmanager
    def switched_on(self) -> Iterator[None]:
        """Inside, the prefix is enabled."""
        self.fired(not self.enabled)
        before, self.enabled = self.enabled, True
        try:
            yield
        finally:
            self.enabled = before


class WhenStopped(Planted):
    """Leaves something behind where generate is stopped in the middle."""

    by: ClassVar[type[BaseException]] = Exception

    def leave(self) -> None:
        """What it does then."""
        raise NotImplementedError

    @torch.no_grad()
    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Leave it, and raise."""
        try:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        except self.by:
            self.fired()
            self.leave()
            raise


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
