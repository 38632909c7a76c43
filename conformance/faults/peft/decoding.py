"""Faults in what one call leaves behind for the next, as patches of PEFT."""

from __future__ import annotations

from typing import Any

from conformance.faults.patching import arguments, hide, inputs
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


@in_peft(clause="decoding.lengths_count_text_only", weaker=answers.step_logits)
def peft_virtual_tokens_count_in_max_length(fired: Fired) -> Patched:
    """max_length counts the virtual tokens as well as the text, so that the answer is shorter."""

    def change(self: Any, given: dict[str, Any]) -> None:
        if fired("max_length" in given):
            least = given["input_ids"].shape[1] + 1
            given["max_length"] = max(least, given["max_length"] - self.active_peft_config.num_virtual_tokens)

    return arguments("generate", change)


@in_peft(clause="decoding.lengths_count_text_only", weaker=answers.told_by_length)
def peft_virtual_tokens_count_in_min_length(fired: Fired) -> Patched:
    """min_length counts the virtual tokens, so that an answer may end before its time."""

    def change(self: Any, given: dict[str, Any]) -> None:
        if fired("min_length" in given):
            given["min_length"] = max(0, given["min_length"] - self.active_peft_config.num_virtual_tokens)

    return arguments("generate", change)
