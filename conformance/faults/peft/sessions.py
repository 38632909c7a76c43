"""Faults that take several steps of a session to show, as patches of PEFT."""

from __future__ import annotations

from typing import Any

from conformance.clauses import lifecycle
from conformance.faults.patching import MODEL
from conformance.faults.registry import Fired, in_peft
from conformance.runs.patching import Patched, around


@in_peft(clause="sessions.story", weaker=lifecycle.disabled)
def peft_not_switched_while_off(fired: Fired) -> Patched:
    """set_adapter inside disable_adapter() has no effect."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        before = self.active_adapter
        original(self, *args, **kwargs)
        if fired(self._adapters_disabled):
            self.active_adapter = before

    return around(MODEL, "set_adapter", wrapper)


@in_peft(clause="sessions.story", weaker=lifecycle.switched)
def peft_adding_ends_disabling(fired: Fired) -> Patched:
    """add_adapter inside disable_adapter() puts PEFT's own forward and prepare_inputs_for_generation back: all is on again."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        # The first adapter is added before anything can be switched off.
        if fired(getattr(self, "_adapters_disabled", False)):
            for name in ("forward", "prepare_inputs_for_generation"):
                self.__dict__.pop(name, None)
            self._adapters_disabled = False

    return around(MODEL, "add_adapter", wrapper)
