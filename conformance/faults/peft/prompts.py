"""Faults of embeddings in front of the text, as patches of PEFT."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from conformance.compat.checkpointing import forgetful
from conformance.core.case import PAD
from conformance.faults.common import rounded
from conformance.faults.patching import CAUSAL, MODEL, both, returning, running
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, lifecycle, refusals, training
from conformance.runs.patching import Patched, around, given_to

planted = partial(in_peft, method="PROMPT_TUNING")


def embeddings(change: Any) -> Patched:
    """Within the block ``change(peft_model, prompt)`` is what ``get_prompt`` gives, ``(rows, n, hidden)``."""
    return returning(MODEL, "get_prompt", change)


@planted(clause="injection.ignored_never")
def peft_prompt_in_training_only(fired: Fired) -> Patched:
    """In generate the virtual tokens are zeros."""
    inside: list[str] = []
    return both(running("generate", inside), embeddings(lambda model, held: 0 * held if fired(inside) else held))


@planted(clause="equivalence.step_logits")
def peft_prompt_reversed(fired: Fired) -> Patched:
    """The virtual tokens are read from the last to the first."""
    return embeddings(lambda model, held: held.flip(1) if fired(held.shape[1] > 1) else held)


@planted(clause="equivalence.step_logits", family="t5")
def peft_prompt_of_the_decoder(fired: Fired) -> Patched:
    """The encoder is given the embeddings that are kept for the decoder."""

    def change(model: Any, held: Tensor) -> Tensor:
        fired()
        return held.roll(model.active_peft_config.num_virtual_tokens, 1)

    return embeddings(change)


@planted(clause="equivalence.real_tokens_prefix", family="gemma3")
def peft_prompt_rounded(fired: Fired) -> Patched:
    """The embeddings are held in bfloat16, in which drawn values are exact, and scaled ones of a real text are not."""
    return embeddings(lambda model, held: rounded(held) if fired() else held)


@planted(clause="injection.same_for_all_rows")
def peft_prompt_of_the_first_rows(fired: Fired) -> Patched:
    """The rows below the second read zeros in place of the virtual tokens."""
    return embeddings(lambda model, held: torch.cat([held[:2], 0 * held[2:]]) if fired(len(held) > 2) else held)


@planted(clause="injection.every_parameter_matters")
def peft_prompt_partly_detached(fired: Fired) -> Patched:
    """The last virtual token is read without a gradient."""
    return embeddings(lambda model, held: torch.cat([held[:, :-1], held[:, -1:].detach()], dim=1) if fired() else held)


@planted(clause="training.gradient_agrees")
def peft_prompt_learns_half(fired: Fired) -> Patched:
    """Half of the gradient reaches the embeddings."""
    return embeddings(lambda model, held: 0.5 * held + 0.5 * held.detach() if fired() else held)


@planted(clause="training.loss_agrees", weaker=answers.forward_logits_alone)
def peft_virtual_tokens_have_labels(fired: Fired) -> Patched:
    """The columns that are put in front of the labels say that a pad follows, not that nothing is learnt there."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        n = self.active_peft_config.num_virtual_tokens

        def labelled(given: dict[str, Any]) -> dict[str, Any]:
            fired()
            return {
                **given,
                "labels": torch.cat([given["labels"][:, :n].clamp(min=PAD), given["labels"][:, n:]], dim=1),
            }

        with given_to(self.base_model, "forward", labelled):
            return original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)


@planted(clause="training.checkpointing", weaker=training.checkpointed_forward)
def peft_prompt_learns_half_when_checkpointed(fired: Fired) -> Patched:
    """With gradient checkpointing half of the gradient reaches the embeddings."""
    return embeddings(
        lambda model, held: 0.5 * held + 0.5 * held.detach() if fired(forgetful(model.base_model)) else held
    )


@planted(clause="placement.split")
def peft_prompt_on_its_own_device(fired: Fired) -> Patched:
    """The embeddings of the virtual tokens stay on the CPU, wherever the text is."""
    return embeddings(lambda model, held: held.cpu() if fired(held.device.type != "cpu") else held)


@planted(clause="lifecycle.initialised_as_told", weaker=lifecycle.values_of_a_text)
def peft_text_is_frozen(fired: Fired) -> Patched:
    """A prompt that begins as a text is not trained."""

    def wrapper(original: Any, self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        original(self, config, *args, **kwargs)
        if fired(config.prompt_tuning_init == "TEXT"):
            self.embedding.weight.requires_grad_(False)

    return around("peft:PromptEmbedding", "__init__", wrapper)


@planted(clause="refusals.in_words", weaker=refusals.a_length_is_asked_for)
def peft_text_needs_no_tokenizer(fired: Fired) -> Patched:
    """A prompt that is to begin as a text, whose tokenizer nobody names, begins at random."""

    def wrapper(original: Any, self: Any) -> None:
        if fired(self.prompt_tuning_init == "TEXT" and not self.tokenizer_name_or_path):
            self.prompt_tuning_init = "RANDOM"
        original(self)

    return around("peft:PromptTuningConfig", "__post_init__", wrapper)
