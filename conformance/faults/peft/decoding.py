"""Faults in how an answer is decoded, and in what one call leaves behind for the next, as patches of PEFT."""

from __future__ import annotations

from typing import Any

import torch

from conformance.faults.patching import hide, inputs, prompt
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers
from conformance.runs.patching import Patched


@in_peft(clause="decoding.repeatable")
def peft_largest_batch_remembered(fired: Fired) -> Patched:
    """After a larger batch, a smaller one no longer sees the last virtual token."""
    largest: dict[int, tuple[Any, int]] = {}

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        rows = len(given["input_ids"])
        before = largest.get(id(self), (self, 0))[1]
        largest[id(self)] = self, max(rows, before)
        if fired(rows < before):
            hide(given, self.active_peft_config.num_virtual_tokens - 1)

    return inputs(change)


@in_peft(clause="decoding.sampling", weaker=answers.step_logits)
def peft_draws_before(fired: Fired) -> Patched:
    """A random number is drawn whenever the virtual tokens are made, as by a dropout that drops nothing."""

    def change(self: Any, cache: Any) -> None:
        fired()
        torch.rand(1)

    return prompt(change)
