"""Faults in other precisions than float32, on the reference wrapper."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conformance.faults.common import gradient_lost, half, rounded
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, precision
from conformance.faults.wrappers import HidesVirtualToken
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.methods.prefix_tuning import OUT_BIAS


class AsksForTheDtype(Planted):
    """What a fault may ask about the base model's dtype."""

    @property
    def dtype(self) -> torch.dtype:
        """The base model's."""
        found: torch.dtype = getattr(torch, self.shape_of.dtype)
        return found


@in_reference(clause="precision.half", weaker=answers.step_logits)
class PrefixKeptInFloat32(AsksForTheDtype):
    """Whatever the base model's dtype is, keys and values are put into the cache in float32."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Widen them."""
        self.fired(half(self.dtype))
        return [(keys.float(), values.float()) for keys, values in super().layers(rows)]


@in_reference(clause="precision.half", weaker=precision.answers_in_half)
class ProjectionInHalf(AsksForTheDtype):
    """The projection is cast to the base model's dtype before it computes the prefix, and not the prefix after."""

    def flat(self) -> Tensor:
        """Compute it so."""
        raw = self.named_raw()
        if not self.fired(half(self.dtype) and OUT_BIAS in raw and self.collapsed is None):
            return super().flat()
        return self.method.rows({name: value.to(self.dtype) for name, value in raw.items()})


@in_reference(clause="precision.half", weaker=precision.usual_numbers)
class LargeNumbersClipped(AsksForTheDtype):
    """In half precision numbers above 448 are clipped, as if it were a float8."""

    def flat(self) -> Tensor:
        """Clip them."""
        rows = super().flat()
        return rows.clamp(-448, 448) if self.fired(half(self.dtype) and rows.abs().max() > 448) else rows


@in_reference(clause="precision.half", weaker=answers.step_logits)
class RoundedTwice(AsksForTheDtype):
    """For a base model in float16 the prefix comes by way of bfloat16."""

    def flat(self) -> Tensor:
        """Round once more."""
        rows = super().flat()
        return rounded(rows) if self.fired(self.dtype is torch.float16) else rows


@in_reference(clause="precision.autocast", weaker=answers.step_logits)
class BareUnderAutocast(Planted):
    """Under autocast generate answers as the base model does."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Leave the prefix out."""
        with self.disable_adapter() if self.fired(torch.is_autocast_enabled("cpu")) else nullcontext():
            return super().generate(max_new_tokens=max_new_tokens, **request)


@in_reference(clause="precision.autocast", weaker=precision.answers_under_autocast)
class GradientLostToRounding(Planted):
    """Under autocast the gradient of the prefix is too small for the precision that it is kept in."""

    def flat(self) -> Tensor:
        """Lose it."""
        rows = super().flat()
        return gradient_lost(rows) if self.fired(torch.is_autocast_enabled("cpu")) else rows


@in_reference(clause="precision.double", weaker=precision.double_as_float32)
class ThroughFloat32(Planted):
    """A prefix in float64 goes through float32."""

    def flat(self) -> Tensor:
        """Round it."""
        rows = super().flat()
        return rounded(rows, torch.float32) if self.fired(rows.dtype is torch.float64) else rows


@in_reference(clause="precision.double", weaker=precision.double_as_float32)
class LogitsThroughFloat32(AsksForTheDtype):
    """What forward answers in float64 has been through float32."""

    def forward(self, **request: Any) -> Any:
        """Round it."""
        out = super().forward(**request)
        if self.fired(self.dtype is torch.float64):
            out.logits = rounded(out.logits, torch.float32)
        return out


@in_reference(clause="precision.loaded", weaker=precision.answers_after_loading)
class LoadedAsFloat32(Planted):
    """What is in the file is read in float32."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Round it."""
        super().load(folder, name)
        self.fired(self.loaded[name].dtype is torch.float64)
        self.loaded[name] = self.loaded[name].float()


@in_reference(clause="precision.loaded", weaker=precision.double_as_float32)
class LoadedByWayOfBfloat16(AsksForTheDtype):
    """What is loaded onto a base model in another dtype than the file's comes by way of bfloat16."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Round it."""
        super().load(folder, name)
        if self.fired(self.loaded[name].dtype is not self.dtype):
            self.loaded[name] = rounded(self.loaded[name])


@in_reference(clause="precision.half", weaker=answers.step_logits)
class HiddenInHalf(HidesVirtualToken):
    """In half precision the first virtual token is masked out; the cache holds it."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The first."""
        return 0 if half(next(self.base.parameters()).dtype) else None
