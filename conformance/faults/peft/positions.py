"""Faults in the positions of real tokens, as patches of PEFT."""

from __future__ import annotations

from typing import Any

import torch

from conformance.faults.patching import inputs, mask_of
from conformance.faults.registry import Fired, in_peft
from conformance.runs.patching import Patched


@in_peft(clause="positions.start_after_prefix")
def peft_position_sticks(fired: Fired) -> Patched:
    """The fourth and later tokens have the position of the token before."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if fired(step >= 3):
            given["position_ids"] = given["position_ids"] - 1

    return inputs(change)


@in_peft(clause="positions.start_after_prefix")
def peft_positions_start_at_zero(fired: Fired) -> Patched:
    """The text's positions start at 0 in generate, as if there were no prefix."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        fired()
        given["position_ids"] = given["position_ids"] - self.active_peft_config.num_virtual_tokens

    return inputs(change)


@in_peft(clause="positions.skip_padding")
def peft_pads_counted(fired: Fired) -> Patched:
    """Pads between prefix and text are counted as positions in generate."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        mask = mask_of(given)
        if fired(not mask.all()):
            width = given["position_ids"].shape[1]
            given["position_ids"] = torch.arange(mask.shape[1])[-width:].expand(len(mask), -1)

    return inputs(change)


@in_peft(clause="positions.fit_the_table", family="gpt2")
def peft_clamped_to_the_table(fired: Fired) -> Patched:
    """Positions beyond the learned table are clamped to its last row, so that there is an answer."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        last = self.base_model.config.n_positions - 1
        if fired(int(given["position_ids"].max()) > last):
            given["position_ids"] = given["position_ids"].clamp(max=last)

    return inputs(change)
