"""Faults of cartridges, whose first virtual tokens may be frozen, on the reference wrapper."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conformance.faults.common import rounded
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, injection, lifecycle
from conformance.faults.wrappers import HidesVirtualToken, Saves
from conformance.methods.cartridge import FROZEN
from conformance.methods.method import DEFAULT_ADAPTER

planted = partial(in_reference, method="CARTRIDGE")


@planted(clause="training.gradient_agrees", weaker=answers.step_logits)
class FrozenTokenTrained(Planted):
    """The frozen virtual tokens are trained like the others."""

    def parameter(self, name: str, shape: tuple[int, ...]) -> nn.Parameter:
        """All have a gradient."""
        found = super().parameter(name, shape)
        if self.fired(name == FROZEN):
            found.requires_grad_(True)
        return found


@planted(clause="training.gradient_agrees", weaker=injection.any_gradient)
class LastTrainedTokenLearnsHalf(Planted):
    """The last of several virtual tokens that are trained gets half of its gradient."""

    def flat(self) -> Tensor:
        """The same values, half of the gradient."""
        rows, prefix = super().flat(), self.shape_of.prefix
        if not self.fired(prefix.length - prefix.frozen > 1):
            return rows
        return torch.cat([rows[:-1], (rows[-1:] + rows[-1:].detach()) / 2])


@planted(clause="injection.every_parameter_matters", weaker=injection.any_gradient)
class FirstTrainedTokenDetached(Planted):
    """The first of several virtual tokens that are trained gets no gradient: one too many is frozen."""

    def flat(self) -> Tensor:
        """The same values, without a gradient for one."""
        rows, frozen = super().flat(), self.shape_of.prefix.frozen
        if not self.fired(len(rows) - frozen > 1):
            return rows
        return torch.cat([rows[: frozen + 1].detach(), rows[frozen + 1 :]])


@planted(clause="injection.faithful", weaker=answers.step_logits)
class FrozenTokensComeLast(Planted):
    """The frozen virtual tokens stand behind the others, which does not matter to full attention."""

    def flat(self) -> Tensor:
        """Exchange the two parts."""
        rows, frozen = super().flat(), self.shape_of.prefix.frozen
        return rows.roll(-frozen, 0) if self.fired(0 < frozen < len(rows)) else rows


@planted(clause="equivalence.real_tokens_prefix", weaker=answers.step_logits)
class FrozenTokensRounded(Planted):
    """The frozen virtual tokens are held in bfloat16, in which drawn values are exact, and those of a real text are not."""

    def flat(self) -> Tensor:
        """Round their part."""
        rows, frozen = super().flat(), self.shape_of.prefix.frozen
        self.fired(frozen)
        return torch.cat([rounded(rows[:frozen]), rows[frozen:]])


@planted(clause="training.mode_free", weaker=answers.step_logits)
class FrozenTokenHiddenInTrainingMode(HidesVirtualToken):
    """After train() the first virtual token is masked out, if it is frozen."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The first."""
        return 0 if self.training and self.shape_of.prefix.frozen else None


@planted(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here_unfrozen)
class FrozenTokensNotSaved(Saves, Planted):
    """The frozen virtual tokens are saved as zeros: only what is trained is kept."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Clear their part."""
        frozen = self.shape_of.prefix.frozen
        self.fired(frozen)
        rows[:frozen] = 0
        return rows


@planted(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_here)
class FrozenTokensOfTheLiveAdapter(Planted):
    """Loaded over a live adapter, the frozen virtual tokens stay those of before: they are frozen, after all."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Keep what is not as fresh as a new wrapper's, which is zero."""
        super().load(folder, name)
        held: Any = self.named_raw().get(FROZEN)
        if self.fired(name == DEFAULT_ADAPTER and held is not None and bool(held.any())):
            self.loaded[name][: len(held)] = held.detach()
