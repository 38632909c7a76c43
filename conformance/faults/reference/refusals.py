"""Faults in what a call leaves behind that cannot work, on the reference wrapper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import refusals
from conformance.methods.method import DEFAULT_ADAPTER


@in_reference(clause="refusals.never_partial")
class OffAfterARefusal(Planted):
    """Where generate refuses a request the adapter stays off."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it off."""
        try:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        except ValueError:
            self.fired()
            self.enabled = False
            raise


@in_reference(clause="refusals.never_partial", weaker=refusals.as_before_a_refused_request)
class HalfLoadedStays(Planted):
    """An adapter is added before its file is read, and stays where that fails."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Add it first."""
        if self.fired(name not in self.cases):
            self.add(name, self.shape_of)
        super().load(folder, name)


@in_reference(clause="refusals.never_partial", weaker=refusals.as_before_a_refused_request)
class SwitchesToNobody(Planted):
    """A switch to an adapter that is not there is refused, and the first one is no longer active."""

    def switch(self, name: str) -> None:
        """Forget it."""
        if self.fired(name not in self.cases):
            self.active = name
        super().switch(name)
