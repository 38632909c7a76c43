"""Faults of cartridges, whose first virtual tokens may be frozen, as patches of PEFT."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from conformance.faults.patching import after, returning, saved
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, injection, lifecycle, refusals
from conformance.runs.patching import Patched, around

planted = partial(in_peft, method="CARTRIDGE")
ENCODER = "peft:CartridgeEncoder"


@planted(clause="training.gradient_agrees", weaker=answers.step_logits)
def peft_frozen_token_trained(fired: Fired) -> Patched:
    """The frozen virtual tokens are trained like the others."""

    def change(encoder: Any, made: None) -> None:
        if fired(encoder.frozen_embedding is not None):
            encoder.frozen_embedding.requires_grad_(True)

    return after(ENCODER, "__init__", change)


@planted(clause="injection.every_parameter_matters", weaker=injection.any_gradient)
def peft_first_trained_token_detached(fired: Fired) -> Patched:
    """The first of several virtual tokens that are trained gets no gradient: one too many is frozen."""

    def change(encoder: Any, rows: Tensor) -> Tensor:
        if not fired(encoder.num_trainable_tokens > 1):
            return rows
        frozen = encoder.num_frozen_tokens + 1
        return torch.cat([rows[:, :frozen].detach(), rows[:, frozen:]], dim=1)

    return returning(ENCODER, "forward", change)


@planted(clause="injection.faithful", weaker=answers.step_logits)
def peft_frozen_tokens_come_last(fired: Fired) -> Patched:
    """The frozen virtual tokens stand behind the others, which does not matter to full attention."""

    def change(encoder: Any, rows: Tensor) -> Tensor:
        fired(encoder.num_frozen_tokens and encoder.num_trainable_tokens)
        return rows.roll(-encoder.num_frozen_tokens, 1)

    return returning(ENCODER, "forward", change)


@planted(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here_unfrozen)
def peft_frozen_tokens_not_saved(fired: Fired) -> Patched:
    """The frozen virtual tokens are saved as zeros: only what is trained is kept."""

    def change(model: Any, rows: Tensor) -> Tensor:
        frozen = model.active_peft_config.num_frozen_tokens
        fired(frozen)
        return torch.cat([0 * rows[:frozen], rows[frozen:]])

    return saved(change)


@planted(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here_unfrozen)
def peft_frozen_tokens_not_loaded(fired: Fired) -> Patched:
    """The frozen virtual tokens of a loaded adapter are zeros."""

    def change(encoder: Any, loaded: None) -> None:
        if fired(encoder.frozen_embedding is not None):
            encoder.frozen_embedding.detach().zero_()

    return after(ENCODER, "load_prompt_embeddings", change)


@planted(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_here)
def peft_frozen_tokens_of_the_live_adapter(fired: Fired) -> Patched:
    """Loaded over a live adapter, the frozen virtual tokens stay those of before: they are frozen, after all."""

    def wrapper(original: Any, self: Any, rows: Tensor) -> None:
        live = self.frozen_embedding is not None and self.trainable_embedding.requires_grad
        before = self.frozen_embedding.detach().clone() if live else None
        original(self, rows)
        if before is not None and fired():
            self.frozen_embedding.detach().copy_(before)

    return around(ENCODER, "load_prompt_embeddings", wrapper)


@planted(clause="refusals.in_words", weaker=refusals.a_length_is_asked_for)
def peft_all_are_frozen_where_more_should_be(fired: Fired) -> Patched:
    """Where more virtual tokens are to be frozen than there are, all are."""

    def wrapper(original: Any, self: Any) -> None:
        length = self.num_virtual_tokens
        if fired(length is not None and self.num_frozen_tokens > length):
            self.num_frozen_tokens = length
        original(self)

    return around("peft:CartridgeConfig", "__post_init__", wrapper)


@planted(clause="lifecycle.trained_if_told", weaker=lifecycle.frozen_after_loading)
def peft_loading_trains_the_new_one(fired: Fired) -> Patched:
    """load_adapter has an adapter trained that is new beside another one."""

    def wrapper(original: Any, self: Any, folder: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        result = original(self, folder, name, *args, **kwargs)
        if fired(name != self.active_adapter):
            self.prompt_encoder[name].requires_grad_(True)
        return result

    return around("peft:PeftModel", "load_adapter", wrapper)
