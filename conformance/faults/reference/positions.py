"""Faults in the positions of real tokens, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, injection


@in_reference(clause="positions.start_after_prefix")
class PositionsStartAtZero(Planted):
    """The text's positions start at 0, as if there were no prefix."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Take n off again."""
        self.fired()
        return super().positions(given, mask, width) - self.length


@in_reference(clause="positions.start_after_prefix", family="gpt_neox", weaker=injection.shapes)
class PositionsOffByOne(Planted):
    """The text's positions start at n + 1, in a family that rotates a part of each head only."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Add one."""
        self.fired()
        return super().positions(given, mask, width) + (1 if self.length else 0)


@in_reference(clause="positions.start_after_prefix", weaker=answers.greedy_tokens)
class PositionSticks(Planted):
    """The fourth and later tokens have the position of the token before."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Take one off late."""
        if self.fired(step is not None and step >= 3 and self.enabled):
            given = {**given, "position_ids": given["position_ids"] - 1}
        return super().run(cache, given, step)


@in_reference(clause="positions.skip_padding", weaker=answers.alone)
class PadsCounted(Planted):
    """Pads between prefix and text are counted as positions."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Count columns."""
        if self.fired(given is None and self.enabled and not mask.all()):
            return torch.arange(mask.shape[1])[-width:].expand(mask.shape[0], -1)
        return super().positions(given, mask, width)


@in_reference(clause="positions.fit_the_table", family="gpt2", weaker=answers.full_table)
class ClampedToTheTable(Planted):
    """Positions beyond the learned table are clamped to its last row, so that there is an answer."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Clamp."""
        last = self.shape_of.roles.positions - 1
        if self.fired("position_ids" in given and int(given["position_ids"].max()) > last):
            given = {**given, "position_ids": given["position_ids"].clamp(max=last)}
        return super().run(cache, given, step)
