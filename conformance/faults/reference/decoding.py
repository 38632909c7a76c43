"""Faults in what one call leaves behind for the next, on the reference wrapper."""

from __future__ import annotations

from torch import Tensor

from conformance.faults.registry import in_reference
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
