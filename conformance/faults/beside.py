"""Faults in what stands beside the cache: masks, positions and labels, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import PAD
from conformance.faults import weaker
from conformance.faults.registry import Planted, in_reference
from conformance.runs.training_batch import IGNORED


@in_reference(clause="masks.rows_alone", weaker=weaker.alone)
class MaskOneShortOnTheWrongSide(Planted):
    """The mask of the virtual tokens is one short on the left and one long on the right, which only pads show."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Move one column from the front to the end."""
        mask = super().mask(given, rows, width)
        if not self.length or mask.all():
            return mask
        self.fired()
        return mask.roll(-1, dims=1)


@in_reference(clause="masks.rows_alone", weaker=weaker.alone)
class PadsVisible(Planted):
    """Every column is visible, pads too."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Ones."""
        mask = super().mask(given, rows, width)
        if not mask.all():
            self.fired()
        return torch.ones_like(mask)


@in_reference(clause="masks.omitted_mask", weaker=weaker.omitted_is_ones)
class BoolMaskInverted(Planted):
    """In a bool mask True is taken for a pad."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Invert it."""
        if given is not None and given.dtype is torch.bool:
            self.fired()
            given = ~given
        return super().mask(given, rows, width)


@in_reference(clause="masks.omitted_mask")
class OmittedMaskHidesPrefix(Planted):
    """Where no mask is given, the first virtual token is hidden."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Hide it."""
        mask = super().mask(given, rows, width)
        if given is None and self.length:
            self.fired()
            mask[:, 0] = 0
        return mask


@in_reference(clause="masks.attention_implementations", weaker=weaker.default_attention)
class EagerBlind(Planted):
    """The eager implementation of attention does not see the first virtual token."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Hide it."""
        mask = super().mask(given, rows, width)
        if self.shape_of.attention == "eager" and self.length:
            self.fired()
            mask[:, 0] = 0
        return mask


@in_reference(clause="injection.every_parameter_matters")
class LastVirtualTokenMasked(Planted):
    """The last of several virtual tokens is masked out: it is trained for nothing."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Hide it."""
        mask = super().mask(given, rows, width)
        if self.length > 1:
            self.fired()
            mask[:, self.length - 1] = 0
        return mask


@in_reference(clause="equivalence.step_logits", family="gemma3")
class WindowsExchanged(Planted):
    """Full layers get the mask of the sliding ones, and the reverse."""

    def attention(self, mask: Tensor, width: int) -> Any:
        """Exchange the two masks."""
        masks = super().attention(mask, width)
        if not isinstance(masks, dict):
            return masks
        self.fired()
        return {"full_attention": masks["sliding_attention"], "sliding_attention": masks["full_attention"]}


@in_reference(clause="equivalence.step_logits", family="mistral")
class PrefixOutlivesTheWindow(Planted):
    """The virtual tokens stay visible after the sliding window has passed them."""

    def attention(self, mask: Tensor, width: int) -> Any:
        """Open their columns."""
        masks = super().attention(mask, width)
        if masks.dim() == 4 and self.length:
            self.fired()
            masks[..., : self.length] = 0
        return masks


@in_reference(clause="positions.start_after_prefix")
class PositionsStartAtZero(Planted):
    """The text's positions start at 0, as if there were no prefix."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Take n off again."""
        self.fired()
        return super().positions(given, mask, width) - self.length


@in_reference(clause="positions.start_after_prefix", family="gpt_neox", weaker=weaker.shapes)
class PositionsOffByOne(Planted):
    """The text's positions start at n + 1, in a family that rotates a part of each head only."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Add one."""
        self.fired()
        return super().positions(given, mask, width) + (1 if self.length else 0)


@in_reference(clause="positions.start_after_prefix", weaker=weaker.greedy_tokens)
class PositionSticks(Planted):
    """The fourth and later tokens have the position of the token before."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Take one off late."""
        if step is not None and step >= 3 and self.enabled:
            self.fired()
            given = {**given, "position_ids": given["position_ids"] - 1}
        return super().run(cache, given, step)


@in_reference(clause="positions.skip_padding", weaker=weaker.alone)
class PadsCounted(Planted):
    """Pads between prefix and text are counted as positions."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Count columns."""
        if given is None and self.enabled and not mask.all():
            self.fired()
            return torch.arange(mask.shape[1])[-width:].expand(mask.shape[0], -1)
        return super().positions(given, mask, width)


@in_reference(clause="masks.row_order", weaker=weaker.equal_lengths)
class PositionsOfTheFirstRow(Planted):
    """Every row is given the positions of the first."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Copy them."""
        positions = super().positions(given, mask, width)
        if not torch.equal(positions, positions[:1].expand_as(positions)):
            self.fired()
        return positions[:1].expand_as(positions)


@in_reference(clause="masks.given_positions", weaker=weaker.step_logits)
class GivenPositionsNotOffset(Planted):
    """Explicit position_ids are used as they are, without n."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Forget n."""
        if given is None:
            return super().positions(given, mask, width)
        self.fired()
        return given


@in_reference(clause="positions.fit_the_table", family="gpt2", weaker=weaker.full_table)
class ClampedToTheTable(Planted):
    """Positions beyond the learned table are clamped to its last row, so that there is an answer."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Clamp."""
        last = self.shape_of.roles.positions - 1
        if "position_ids" in given and int(given["position_ids"].max()) > last:
            self.fired()
            given = {**given, "position_ids": given["position_ids"].clamp(max=last)}
        return super().run(cache, given, step)


@in_reference(clause="masks.training_rows_alone", weaker=weaker.forward_logits_alone)
class LossCountsPads(Planted):
    """Ignored labels count towards the loss, as if the pad were to be predicted there."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Fill them."""
        if step is None and "labels" in given and self.enabled:
            self.fired()
            given = {**given, "labels": given["labels"].masked_fill(given["labels"] == IGNORED, PAD)}
        return super().run(cache, given, step)
