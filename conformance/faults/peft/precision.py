"""Faults in other precisions than float32, as patches of PEFT."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from conformance.faults.common import gradient_lost, half, rounded
from conformance.faults.patching import CAUSAL, MODEL, after, both, encoded
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, precision
from conformance.runs.patching import Patched, around


def dtype_of_base(told: Callable[[Any], torch.dtype | None]) -> Patched:
    """Within the block PEFT takes ``told(peft_model)`` for the base model's dtype."""
    return mock.patch.object(resolve_name(MODEL), "base_model_torch_dtype", property(told))


@in_peft(clause="precision.half", weaker=answers.step_logits)
def peft_prefix_kept_in_float32(fired: Fired) -> Patched:
    """The prefix is not cast to the base model's dtype."""
    return dtype_of_base(lambda model: None if fired(half(model.base_model.dtype)) else model.base_model.dtype)


@in_peft(clause="precision.half", weaker=precision.answers_in_half)
def peft_dtype_of_wrapping(fired: Fired) -> Patched:
    """The prefix has the dtype that the base model had when it was wrapped, as in pull request 688."""

    def note(model: Any, result: None) -> None:
        model.dtype_before = model.base_model.dtype

    def told(model: Any) -> torch.dtype:
        before: torch.dtype = model.dtype_before
        fired(before is not model.base_model.dtype)
        return before

    return both(after(MODEL, "_setup_prompt_encoder", note), dtype_of_base(told))


@in_peft(clause="precision.half", weaker=answers.step_logits)
def peft_large_numbers_clipped(fired: Fired) -> Patched:
    """Numbers above 448 are clipped, as if they were put into a float8."""

    def change(encoder: Any, rows: Tensor) -> Tensor:
        return rows.clamp(-448, 448) if fired(rows.abs().max() > 448) else rows

    return encoded(change)


@in_peft(clause="precision.autocast", weaker=answers.step_logits)
def peft_bare_under_autocast(fired: Fired) -> Patched:
    """Under autocast generate answers as the base model does."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(torch.is_autocast_enabled("cpu")):
            return self.base_model.generate(*args, **kwargs)
        return original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="precision.autocast", weaker=precision.answers_under_autocast)
def peft_gradient_lost_to_rounding(fired: Fired) -> Patched:
    """Under autocast the gradient of the prefix is too small for the precision that it is kept in."""
    return encoded(lambda encoder, rows: gradient_lost(rows) if fired(torch.is_autocast_enabled("cpu")) else rows)


@in_peft(clause="precision.autocast", weaker=precision.answers_under_autocast)
def peft_no_loss_under_autocast(fired: Fired) -> Patched:
    """Under autocast forward gives no loss."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(torch.is_autocast_enabled("cpu") and kwargs.get("labels") is not None):
            kwargs["labels"] = None
        return original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)


@in_peft(clause="precision.loaded", weaker=precision.double_as_float32)
def peft_loaded_by_way_of_bfloat16(fired: Fired) -> Patched:
    """What is loaded onto a base model in float64 comes by way of bfloat16."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if fired(self.base_model.dtype is torch.float64):
            with torch.no_grad():
                for parameter in self.prompt_encoder.parameters():
                    parameter.copy_(rounded(parameter))
        return result

    return around(MODEL, "load_adapter", wrapper)


@in_peft(clause="precision.double", weaker=precision.double_as_float32)
def peft_through_float32(fired: Fired) -> Patched:
    """A prefix in float64 goes through float32."""

    def change(encoder: Any, rows: Tensor) -> Tensor:
        return rounded(rows, torch.float32) if fired(rows.dtype is torch.float64) else rows

    return encoded(change)
