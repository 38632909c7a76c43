"""Faults in saving, loading and switching off, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from conformance.faults import weaker
from conformance.faults.registry import Planted, in_reference
from conformance.methods.prefix_tuning import EMBEDDING, IN_BIAS, IN_WEIGHT, OUT_BIAS, OUT_WEIGHT
from conformance.methods.reference.cache import FILE


class Saves(Planted):
    """Writes something else than the right rows."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """What is written in place of ``rows`` ``(n, 2 * L * kv_heads * head_dim)``."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> None:
        """Write it."""
        super().save_pretrained(folder)
        rows = load_file(Path(folder) / FILE)["rows"]
        save_file({"rows": self.rewritten(rows).contiguous()}, Path(folder) / FILE)


@in_reference(clause="lifecycle.saved_and_loaded")
class SavesHalf(Saves):
    """The second half of the virtual tokens is saved as zeros."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Clear them."""
        kept = (len(rows) + 1) // 2
        if kept < len(rows):
            self.fired()
        return torch.cat([rows[:kept], 0 * rows[kept:]])


@in_reference(clause="lifecycle.saved_and_loaded", weaker=weaker.loaded_here_unprojected)
class SavesRounded(Saves):
    """The adapter is saved in bfloat16, which shows where the values are not exact in it."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Round."""
        self.fired()
        return rows.bfloat16().to(rows.dtype)


@in_reference(clause="lifecycle.saved_and_loaded", weaker=weaker.loaded_here)
class LoadsFromMemory(Saves):
    """What is loaded in the same process comes from its memory; the file holds zeros, as a fresh process finds out."""

    remembered: ClassVar[dict[str, Tensor]] = {}

    def rewritten(self, rows: Tensor) -> Tensor:
        """Write zeros."""
        return 0 * rows

    def save_pretrained(self, folder: str | Path) -> None:
        """Remember what belongs into the file."""
        super().save_pretrained(folder)
        self.fired()
        self.remembered[str(folder)] = self.method.rows(self.named_raw()).detach()

    def load(self, folder: str | Path) -> None:
        """Remember rather than read."""
        super().load(folder)
        self.collapsed = self.remembered.get(str(folder), self.collapsed)


@in_reference(clause="lifecycle.inference_mode")
class CollapsedWithoutTanh(Saves):
    """The projection is collapsed without its activation."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Two linear layers in a row."""
        raw = self.named_raw()
        if OUT_WEIGHT not in raw:
            return rows
        self.fired()
        hidden = raw[EMBEDDING] @ raw[IN_WEIGHT].T + raw[IN_BIAS]
        return (hidden @ raw[OUT_WEIGHT].T + raw[OUT_BIAS]).detach()


@in_reference(clause="lifecycle.learned_mapping_survives", weaker=weaker.loaded_here)
class SavesWhatItFirstRan(Saves):
    """The values of the first forward are saved, not those of the last optimiser step."""

    first: Tensor | None = None

    def flat(self) -> Tensor:
        """Remember the first."""
        rows = super().flat()
        if self.first is None:
            self.first = rows.detach().clone()
        return rows

    def rewritten(self, rows: Tensor) -> Tensor:
        """Write the first."""
        if self.first is None or torch.equal(self.first, rows):
            return rows
        self.fired()
        return self.first


@in_reference(clause="lifecycle.disabled", weaker=weaker.disabled_in_forward)
class NotDisabledInGenerate(Planted):
    """Inside disable_adapter() generate goes on with the prefix."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it on."""
        if self.enabled:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        self.fired()
        self.enabled = True
        try:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        finally:
            self.enabled = False


@in_reference(clause="lifecycle.disabled", weaker=weaker.disabled_in_generate)
class NotDisabledInForward(Planted):
    """Inside disable_adapter() the forward goes on with the prefix."""

    def forward(self, **request: Any) -> Any:
        """Switch it on."""
        if self.enabled:
            return super().forward(**request)
        self.fired()
        self.enabled = True
        try:
            return super().forward(**request)
        finally:
            self.enabled = False


@in_reference(clause="lifecycle.disabled")
class StaysDisabled(Planted):
    """After disable_adapter() the adapter stays off."""

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Leave it off."""
        with super().disable_adapter():
            yield
        self.fired()
        self.enabled = False
