"""Faults in what a call leaves behind that cannot work, as patches of PEFT."""

from __future__ import annotations

from typing import Any

import torch

from conformance.faults.patching import MODEL
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import refusals
from conformance.runs.patching import Patched, around


@in_peft(clause="refusals.never_partial", weaker=refusals.as_before_a_refused_request)
def peft_failed_loading_clears_the_live_adapter(fired: Fired) -> Patched:
    """Where loading over a live adapter fails, its values are gone."""

    def wrapper(original: Any, self: Any, folder: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        live = name in self.peft_config
        try:
            return original(self, folder, name, *args, **kwargs)
        except Exception:
            if fired(live):
                with torch.no_grad():
                    self.prompt_encoder[name].embedding.weight.zero_()
            raise

    return around(MODEL, "load_adapter", wrapper)


@in_peft(clause="refusals.never_partial", weaker=refusals.as_before_a_refused_request)
def peft_switches_to_nobody(fired: Fired) -> Patched:
    """set_adapter refuses a name that is not there, and the first adapter is no longer active."""

    def wrapper(original: Any, self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if fired(name not in self.peft_config):
            self.active_adapter = name
        return original(self, name, *args, **kwargs)

    return around(MODEL, "set_adapter", wrapper)
