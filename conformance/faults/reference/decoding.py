"""Faults in what one call leaves behind for the next, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import PAD
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers
from conformance.faults.wrappers import HidesVirtualToken


@in_reference(clause="decoding.repeatable", weaker=answers.twice)
class LargestBatchRemembered(HidesVirtualToken):
    """After a larger batch, a smaller one no longer sees the last virtual token."""

    largest = 0

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The last, once a larger batch was seen."""
        self.largest = max(rows, self.largest)
        return self.length - 1 if rows < self.largest else None


@in_reference(clause="decoding.lengths_count_text_only", weaker=answers.step_logits)
class VirtualTokensCountInMaxLength(Planted):
    """max_length counts the virtual tokens as well as the text, so that the answer is shorter."""

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Count them."""
        found = super().in_new_tokens(request)
        if self.fired("max_length" in request):
            found["max_new_tokens"] = max(1, found["max_new_tokens"] - self.length)
        return found


@in_reference(clause="decoding.lengths_count_text_only", weaker=answers.told_by_length)
class VirtualTokensCountInMinLength(Planted):
    """min_length and min_new_tokens count the virtual tokens, so that an answer may end before its time."""

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Count them."""
        found = super().in_new_tokens(request)
        if self.fired("min_new_tokens" in found):
            found["min_new_tokens"] -= self.length
        return found


@in_reference(clause="decoding.lengths_count_text_only", weaker=answers.told_by_length)
class VirtualTokensStreamed(Planted):
    """A streamer is told of a pad for each virtual token before it is told of the text."""

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Tell it."""
        if self.fired("streamer" in request):
            request["streamer"].put(torch.full((len(request["input_ids"]), self.length), PAD))
        return super().in_new_tokens(request)
