"""Faults in training mode, on the reference wrapper."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, training


@in_reference(clause="training.mode_free", weaker=answers.step_logits)
class PrefixZeroInTrainingMode(Planted):
    """After train() the prefix is zero."""

    def flat(self) -> Tensor:
        """Clear it."""
        return 0 * super().flat() if self.fired(self.training) else super().flat()


@in_reference(clause="training.mode_free", weaker=training.trained_forward)
class GradientCutInTrainingMode(Planted):
    """After train() the values of the last layer are right but get no gradient."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Detach them."""
        *others, (keys, values) = super().layers(rows)
        return [*others, (keys, values.detach() if self.fired(self.training) else values)]


@in_reference(clause="training.mode_free", weaker=training.trained_forward)
class GeneratesBareInTrainingMode(Planted):
    """After train() generate answers as the base model does; the training forward is right."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Leave the prefix out."""
        if not self.fired(self.training):
            return super().generate(max_new_tokens=max_new_tokens, **request)
        with self.disable_adapter():
            return super().generate(max_new_tokens=max_new_tokens, **request)
