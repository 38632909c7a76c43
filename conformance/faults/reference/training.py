"""Faults in training mode, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conformance.compat.checkpointing import forgetful
from conformance.core.case import PAD
from conformance.families.inputs.text import TYPES
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, injection, training
from conformance.methods.reference.cache import Read


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


@in_reference(clause="training.gradient_agrees", weaker=injection.any_gradient)
class GradientOfKeysHalved(Planted):
    """Keys are right but get half of their gradient."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Let half of it through."""
        self.fired()
        return [((keys + keys.detach()) / 2, values) for keys, values in super().layers(rows)]


@in_reference(clause="training.gradient_agrees", weaker=injection.any_gradient)
class GradientOfTheNeighbour(Planted):
    """The virtual tokens are right but get each other's gradient."""

    def flat(self) -> Tensor:
        """Pass it on to the next one."""
        rows = super().flat()
        if not self.fired(len(rows) > 1):
            return rows
        passed = rows.roll(1, 0)
        return rows.detach() + passed - passed.detach()


@in_reference(clause="training.gradient_agrees", weaker=training.trained_forward)
class GradientOfTheLastRowOnly(Planted):
    """Every row is answered rightly, and only the last one's gradient is kept."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Cut the others off."""
        return [self._cut(keys, values) for keys, values in super().layers(rows)]

    def _cut(self, *held: Tensor) -> tuple[Tensor, Tensor]:
        self.fired(len(held[0]) > 1)
        keys, values = (torch.cat([part[:-1].detach(), part[-1:]]) for part in held)
        return keys, values


class ChangesLabels(Planted):
    """Gives the base model other labels."""

    def read(self, request: Mapping[str, Any]) -> Read:
        """Change them."""
        first = super().read(request)
        return first if first.labels is None else first._replace(labels=self.labels(first.labels))

    def labels(self, given: Tensor) -> Tensor:
        """The labels in place of those that were ``given``, ``(rows, width)``."""
        return given


@in_reference(clause="training.loss_agrees", weaker=training.every_label)
class IgnoredLabelsCount(ChangesLabels):
    """A label of -100 is one for the pad, as if -100 had never been heard of."""

    def labels(self, given: Tensor) -> Tensor:
        """Make pads of them."""
        return given.clamp(min=PAD) if self.fired((given[:, 1:] < PAD).any()) else given


@in_reference(clause="training.loss_agrees", weaker=answers.forward_logits_alone)
class LabelsShiftedTwice(ChangesLabels):
    """Labels are shifted before the base model shifts them: each token learns the one after the next."""

    def labels(self, given: Tensor) -> Tensor:
        """Shift them."""
        self.fired()
        return given.roll(-1, 1)


@in_reference(clause="training.loss_agrees", weaker=training.loss_of_rows_alone)
class LossDoubled(Planted):
    """Every loss is twice as large as it is."""

    def forward(self, **request: Any) -> Any:
        """Double it."""
        out = super().forward(**request)
        if self.fired(out.loss is not None):
            out.loss = 2 * out.loss
        return out


@in_reference(clause="training.as_a_trainer_calls", weaker=training.trained_forward)
class TupleWithoutThePrefix(Planted):
    """Whoever asks for a tuple is answered by the base model."""

    def forward(self, *, return_dict: bool = True, **request: Any) -> Any:
        """Switch the prefix off."""
        with self.disable_adapter() if self.fired(not return_dict) else nullcontext():
            return super().forward(return_dict=return_dict, **request)


@in_reference(clause="training.as_a_trainer_calls", weaker=training.for_a_tuple)
class ItemsAreNotCounted(Planted):
    """The loss is a mean over the batch, whatever the number of items before a step."""

    def forward(self, **request: Any) -> Any:
        """Forget it."""
        self.fired(request.pop("num_items_in_batch", None))
        return super().forward(**request)


@in_reference(clause="training.trainer_agrees", weaker=training.trained_once)
class ResumesFromTheBeginning(Planted):
    """What a checkpoint holds is not read: training goes on from the parameters that the model has."""

    def go_on_from(self, file: Path) -> None:
        """Do not read it."""
        self.fired()


@in_reference(clause="training.trainer_agrees", weaker=training.trained_forward)
class GradientDoubledInTrainingMode(Planted):
    """After train() the loss is right, and its gradient is twice as large as it is."""

    def forward(self, **request: Any) -> Any:
        """Double it."""
        out = super().forward(**request)
        if self.fired(self.training):
            out.loss = 2 * out.loss - out.loss.detach()
        return out


@in_reference(clause="training.types_count", family="gpt2")
class TypesAreDropped(Planted):
    """The types of tokens go nowhere."""

    def forward(self, **request: Any) -> Any:
        """Drop them."""
        self.fired(request.pop(TYPES, None) is not None)
        return super().forward(**request)


@in_reference(clause="training.types_count", family="gpt2", weaker=training.types_change_something)
class TypesOfTheTokenBefore(Planted):
    """Each token has the type of the one before it, the first that of the last."""

    def typed(self, request: Mapping[str, Any]) -> dict[str, Tensor]:
        """Move them."""
        types = super().typed(request)
        self.fired(types)
        return {name: value.roll(1, -1) for name, value in types.items()}


@in_reference(clause="training.smoothing_agrees", weaker=training.trained_once)
class SmoothedWithoutAShift(Planted):
    """With label smoothing each position is trained to say the token that it reads, not the one that follows."""

    def smoothed_loss(self, batch: dict[str, Tensor], smoothing: float) -> Tensor:
        """Shift the labels the other way, before they are shifted."""
        self.fired()
        return super().smoothed_loss({**batch, "labels": batch["labels"].roll(1, -1)}, smoothing)


@in_reference(clause="training.smoothing_agrees", weaker=training.trained_once)
class SmoothedTwice(Planted):
    """Twice as much of each label is spread over the vocabulary as is told."""

    def smoothed_loss(self, batch: dict[str, Tensor], smoothing: float) -> Tensor:
        """Double it."""
        self.fired()
        return super().smoothed_loss(batch, 2 * smoothing)


@in_reference(clause="training.smoothing_agrees", weaker=training.trained_once)
class PadsHaveSmoothLabels(Planted):
    """With label smoothing what has no label has one: that of a pad."""

    def smoothed_loss(self, batch: dict[str, Tensor], smoothing: float) -> Tensor:
        """Put it there."""
        self.fired()
        return super().smoothed_loss({**batch, "labels": batch["labels"].clamp(min=PAD)}, smoothing)


@in_reference(clause="training.only_the_prefix_learns", weaker=injection.any_gradient)
class HeadLeftUnfrozen(Planted):
    """Everything of the base model is frozen but the parameter that it has last."""

    def freeze(self) -> None:
        """Leave it out."""
        super().freeze()
        self.fired()
        *_, last = self.base.parameters()
        last.requires_grad = True


@in_reference(clause="training.only_the_prefix_learns", weaker=training.frozen_after_wrapping)
class ThawsInTrainingMode(Planted):
    """train() makes the base model learn, too."""

    def train(self, mode: bool = True) -> Any:
        """Thaw it."""
        if self.fired(mode):
            self.base.requires_grad_(True)
        return super().train(mode)


@in_reference(clause="training.only_the_prefix_learns", weaker=training.frozen_after_wrapping)
class MovesTheModelInTrainingMode(Planted):
    """No parameter of the base model requires a gradient, but each training forward moves one a little."""

    def forward(self, **request: Any) -> Any:
        """Move it."""
        if self.fired(self.training):
            with torch.no_grad():
                next(self.base.parameters()).mul_(1.001)
        return super().forward(**request)


@in_reference(clause="training.checkpointing", weaker=training.trained_forward)
class CheckpointedWithoutThePrefix(Planted):
    """A checkpointed layer is given the cache with the virtual tokens, and drops it."""

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Let it."""
        self.fired(forgetful(self.base))
        yield


@in_reference(clause="training.checkpointing", weaker=training.checkpointed_forward)
class GradientCutByCheckpointing(Planted):
    """With gradient checkpointing the values of the last layer are right but get no gradient."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Detach them."""
        *others, (keys, values) = super().layers(rows)
        return [*others, (keys, values.detach() if self.fired(forgetful(self.base)) else values)]
