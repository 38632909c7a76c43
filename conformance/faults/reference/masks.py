"""Faults in masks, and in what pads and other rows change, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import IGNORED, PAD
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers
from conformance.faults.wrappers import HidesVirtualToken


@in_reference(clause="masks.rows_alone", weaker=answers.alone)
class MaskOneShortOnTheWrongSide(Planted):
    """The mask of the virtual tokens is one short on the left and one long on the right, which only pads show."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Move one column from the front to the end."""
        mask = super().mask(given, rows, width)
        if not self.length or mask.all():
            return mask
        self.fired()
        return mask.roll(-1, dims=1)


@in_reference(clause="masks.rows_alone", weaker=answers.alone)
class PadsVisible(Planted):
    """Every column is visible, pads too."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Ones."""
        mask = super().mask(given, rows, width)
        self.fired(not mask.all())
        return torch.ones_like(mask)


@in_reference(clause="masks.training_rows_alone", weaker=answers.forward_logits_alone)
class LossCountsPads(Planted):
    """Ignored labels count towards the loss, as if the pad were to be predicted there."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Fill them."""
        if self.fired(step is None and "labels" in given and self.enabled):
            given = {**given, "labels": given["labels"].masked_fill(given["labels"] == IGNORED, PAD)}
        return super().run(cache, given, step)


@in_reference(clause="masks.row_order", weaker=answers.equal_lengths)
class PositionsOfTheFirstRow(Planted):
    """Every row is given the positions of the first."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Copy them."""
        positions = super().positions(given, mask, width)
        self.fired(not torch.equal(positions, positions[:1].expand_as(positions)))
        return positions[:1].expand_as(positions)


@in_reference(clause="masks.omitted_mask", weaker=answers.omitted_is_ones)
class BoolMaskInverted(Planted):
    """In a bool mask True is taken for a pad."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Invert it."""
        if given is not None and self.fired(given.dtype is torch.bool):
            given = ~given
        return super().mask(given, rows, width)


@in_reference(clause="masks.omitted_mask")
class OmittedMaskHidesPrefix(HidesVirtualToken):
    """Where no mask is given, the first virtual token is hidden."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The first, without a mask."""
        return 0 if given is None else None


@in_reference(clause="masks.attention_implementations", weaker=answers.default_attention)
class EagerBlind(HidesVirtualToken):
    """The eager implementation of attention does not see the first virtual token."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The first, with that implementation."""
        return 0 if self.shape_of.attention == "eager" else None


@in_reference(clause="masks.given_positions", weaker=answers.step_logits)
class GivenPositionsNotOffset(Planted):
    """Explicit position_ids are used as they are, without n."""

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Forget n."""
        if given is not None and self.fired():
            return given
        return super().positions(given, mask, width)


@in_reference(clause="masks.decoder_mask", family="t5")
class DecoderMaskWithoutPrefix(Planted):
    """A decoder's mask has no columns for the virtual tokens."""

    def decoder_mask(self, given: Tensor | None) -> Tensor | None:
        """Leave it as it is."""
        self.fired(given is not None and self.length)
        return given


@in_reference(clause="masks.decoder_mask", family="t5", weaker=answers.decoder_mask_of_ones)
class DecoderMaskOnTheWrongSide(Planted):
    """In a decoder's mask the columns of the virtual tokens stand at the end, which only pads show."""

    def decoder_mask(self, given: Tensor | None) -> Tensor | None:
        """Move them there."""
        mask = super().decoder_mask(given)
        if mask is None or not self.fired(not mask.all()):
            return mask
        return mask.roll(-self.length, dims=1)
