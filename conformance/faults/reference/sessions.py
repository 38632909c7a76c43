"""Faults that take several steps of a session to show, on the reference wrapper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conformance.clauses import lifecycle
from conformance.core.case import Case
from conformance.faults.registry import Planted, in_reference
from conformance.methods.method import DEFAULT_ADAPTER


@in_reference(clause="sessions.story", weaker=lifecycle.disabled)
class NotSwitchedWhileOff(Planted):
    """A switch to another adapter inside disable_adapter() has no effect."""

    def switch(self, name: str) -> None:
        """Leave it where it is."""
        before = self.active
        super().switch(name)
        if self.fired(not self.enabled):
            self.active = before


@in_reference(clause="sessions.story", family="gpt2", weaker=lifecycle.restored)
class SwitchedOnByAnError(Planted):
    """A generate that raises an error while the adapter is switched off switches it on."""

    @torch.no_grad()
    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it on, and raise."""
        try:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        except RuntimeError:
            self.enabled = self.fired(not self.enabled) or self.enabled
            raise


@in_reference(clause="sessions.story", weaker=lifecycle.switched)
class SwitchedOnByAnother(Planted):
    """An adapter that is added, or loaded under a new name, while all are switched off switches them on."""

    def add(self, name: str, case: Case) -> None:
        """Switch them on."""
        super().add(name, case)
        self.enabled = self.fired(not self.enabled) or self.enabled


@in_reference(clause="sessions.story", family="mistral", weaker=lifecycle.loaded_into_live)
class TrainsACopy(Planted):
    """Training after loading over an adapter moves a copy of what was loaded, which never answers."""

    def train_on(self, name: str) -> None:
        """Copy it."""
        super().train_on(name)
        self.fired(name in self.loaded)
        self.loaded[name] = self.loaded[name].detach().clone()


@in_reference(clause="sessions.story", family="mistral", weaker=lifecycle.loaded_into_live)
class TrainedIsNotReplaced(Planted):
    """Loading over an adapter that has been trained changes nothing."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Forget what was read."""
        held = self.learnt(name) if name in self.cases else dict[str, nn.Parameter]()
        moved, before = any(one.grad is not None for one in held.values()), self.loaded.get(name)
        super().load(folder, name)
        if self.fired(moved):
            self.loaded.pop(name)
            self.loaded |= {} if before is None else {name: before}


@in_reference(clause="sessions.story", family="mistral", weaker=lifecycle.saved_and_loaded)
class SavedWhileOff(Planted):
    """What is saved inside disable_adapter() are zeros."""

    saving = False

    def rows_of(self, adapter: str) -> Tensor:
        """Nothing is in force."""
        rows = super().rows_of(adapter)
        return 0 * rows if self.saving and self.fired(not self.enabled) else rows

    def save_pretrained(self, folder: str | Path) -> None:
        """Save what is in force."""
        self.saving = True
        super().save_pretrained(folder)
        self.saving = False
