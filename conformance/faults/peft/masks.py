"""Faults in masks, and in what pads and other rows change, as patches of PEFT."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch

from conformance.core.case import IGNORED, PAD
from conformance.faults.patching import SEQ2SEQ, arguments, hide, inputs, mask_of
from conformance.faults.registry import Fired, in_peft
from conformance.runs.patching import Patched, around


@in_peft(clause="masks.rows_alone")
def peft_mask_one_short_on_the_wrong_side(fired: Fired) -> Patched:
    """The mask of the virtual tokens is one short on the left and one long on the right, which only pads show."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if fired(not mask_of(given).all()):
            given["attention_mask"] = given["attention_mask"].roll(-1, dims=1)

    return inputs(change)


@in_peft(clause="masks.training_rows_alone")
def peft_loss_counts_pads(fired: Fired) -> Patched:
    """Ignored labels count towards the loss, as if the pad were to be predicted there."""

    def change(self: Any, given: dict[str, Any]) -> None:
        labels = given.get("labels")
        if labels is not None and fired():
            given["labels"] = labels.masked_fill(labels == IGNORED, PAD)

    return arguments("forward", change)


@in_peft(clause="masks.row_order")
def peft_positions_of_the_first_row(fired: Fired) -> Patched:
    """Every row is given the positions of the first."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if fired(not mask_of(given).all()):
            given["position_ids"] = given["position_ids"][:1].expand_as(given["position_ids"])

    return inputs(change)


@in_peft(clause="masks.omitted_mask")
def peft_bool_mask_inverted(fired: Fired) -> Patched:
    """In a bool mask True is taken for a pad."""

    def change(self: Any, given: dict[str, Any]) -> None:
        mask = given.get("attention_mask")
        if mask is not None and fired(mask.dtype is torch.bool):
            given["attention_mask"] = ~mask

    return arguments("generate", change)


@in_peft(clause="masks.attention_implementations")
def peft_eager_blind(fired: Fired) -> Patched:
    """The eager implementation of attention does not see the first virtual token."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if fired(self.base_model.config._attn_implementation == "eager"):
            hide(given)

    return inputs(change)


@in_peft(clause="masks.given_positions")
def peft_given_positions_not_offset(fired: Fired) -> Patched:
    """The training forward uses explicit position_ids as they are, without n."""

    def change(self: Any, given: dict[str, Any]) -> None:
        if fired(given.get("position_ids") is not None):
            given["position_ids"] = given["position_ids"] - self.active_peft_config.num_virtual_tokens

    return arguments("forward", change)


@in_peft(clause="masks.decoder_mask", family="t5")
def peft_decoder_mask_on_the_wrong_side(fired: Fired) -> Patched:
    """In training the columns of the virtual tokens stand at the end of a decoder's mask, which only pads show."""

    def wrapper(original: Any, self: Any, **kwargs: Any) -> Any:
        inner, n = self.base_model.forward, self.active_peft_config.num_virtual_tokens

        def moved(**given: Any) -> Any:
            mask = given.get("decoder_attention_mask")
            if mask is not None and fired(not mask.all()):
                given["decoder_attention_mask"] = mask.roll(-n, dims=1)
            return inner(**given)

        with mock.patch.object(self.base_model, "forward", moved):
            return original(self, **kwargs)

    return around(SEQ2SEQ, "forward", wrapper)
