"""Faults in training mode, as patches of PEFT."""

from __future__ import annotations

from typing import Any

import torch

from conformance.faults.patching import CAUSAL, encoded, prompt
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, training
from conformance.runs.patching import Patched, around


@in_peft(clause="training.mode_free", weaker=answers.step_logits)
def peft_prefix_zero_in_training_mode(fired: Fired) -> Patched:
    """After train() the prompt encoder gives zeros."""

    def change(encoder: Any, rows: torch.Tensor) -> torch.Tensor:
        return 0 * rows if fired(encoder.training) else rows

    return encoded(change)


@in_peft(clause="training.mode_free", weaker=training.trained_forward)
def peft_gradient_cut_in_training_mode(fired: Fired) -> Patched:
    """After train() the values of the last layer are right but get no gradient."""

    def change(self: Any, cache: Any) -> None:
        if fired(self.training):
            cache.layers[-1].values = cache.layers[-1].values.detach()

    return prompt(change)


@in_peft(clause="training.mode_free", weaker=training.trained_forward)
def peft_generates_bare_in_training_mode(fired: Fired) -> Patched:
    """After train() generate answers as the base model does; the training forward is right."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(self.training):
            return self.base_model.generate(*args, **kwargs)
        return original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)
