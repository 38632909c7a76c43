"""Faults in what a call leaves behind that cannot work, as patches of PEFT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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


@in_peft(clause="refusals.in_words", method="PROMPT_TUNING", weaker=refusals.a_length_is_asked_for)
def peft_text_needs_no_tokenizer(fired: Fired) -> Patched:
    """A prompt that is to begin as a text, whose tokenizer nobody names, begins at random."""

    def wrapper(original: Any, self: Any) -> None:
        if fired(self.prompt_tuning_init == "TEXT" and not self.tokenizer_name_or_path):
            self.prompt_tuning_init = "RANDOM"
        original(self)

    return around("peft:PromptTuningConfig", "__post_init__", wrapper)


@in_peft(clause="refusals.in_words", method="MULTITASK_PROMPT_TUNING", weaker=refusals.a_length_is_asked_for)
def peft_rows_without_a_task_are_of_the_first(fired: Fired) -> Patched:
    """Rows whose tasks nobody names get the prompt of the first task."""

    def wrapper(original: Any, self: Any, indices: Tensor, task_ids: Any) -> Any:
        unsaid = fired(task_ids is None)
        return original(self, indices, torch.zeros(len(indices), dtype=torch.long) if unsaid else task_ids)

    return around("peft.tuners:MultitaskPromptEmbedding", "forward", wrapper)


@in_peft(clause="refusals.in_words", method="CARTRIDGE", weaker=refusals.a_length_is_asked_for)
def peft_all_are_frozen_where_more_should_be(fired: Fired) -> Patched:
    """Where more virtual tokens are to be frozen than there are, all are."""

    def wrapper(original: Any, self: Any) -> None:
        length = self.num_virtual_tokens
        if fired(length is not None and self.num_frozen_tokens > length):
            self.num_frozen_tokens = length
        original(self)

    return around("peft:CartridgeConfig", "__post_init__", wrapper)
