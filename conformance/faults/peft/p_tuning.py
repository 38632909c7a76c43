"""Faults of the network that computes embeddings in front of the text, as patches of PEFT."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from conformance.faults.patching import MODEL, both, returning, running, saved
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers
from conformance.runs.patching import Patched, around

NETWORK = "peft:PromptEncoder"
planted = partial(in_peft, method="P_TUNING")


@planted(clause="equivalence.step_logits")
def peft_lstm_read_in_one_direction(fired: Fired) -> Patched:
    """What the LSTM reads from the last virtual token to the first is dropped."""

    def first_half(module: Any, given: Any, result: Any) -> Any:
        first, second = result[0].chunk(2, dim=-1)
        return torch.cat([first, 0 * second], dim=-1), result[1]

    def wrapper(original: Any, self: Any, *args: Any) -> Any:
        if not fired(hasattr(self, "lstm_head")):
            return original(self, *args)
        hook = self.lstm_head.register_forward_hook(first_half)
        try:
            return original(self, *args)
        finally:
            hook.remove()

    return around(NETWORK, "forward", wrapper)


@planted(clause="training.gradient_agrees")
def peft_network_learns_nothing(fired: Fired) -> Patched:
    """Only the embeddings in front of the network are trained."""
    stopped: dict[int, Any] = {}

    def wrapper(original: Any, self: Any, *args: Any) -> Any:
        for parameter in self.mlp_head.parameters():
            if fired(id(parameter) not in stopped):
                stopped[id(parameter)] = parameter
                parameter.register_hook(lambda gradient: 0 * gradient)
        return original(self, *args)

    return around(NETWORK, "forward", wrapper)


@planted(clause="equivalence.forward_agrees_with_generate")
def peft_network_without_last_bias_in_generate(fired: Fired) -> Patched:
    """In generate the last layer of the network adds no bias."""
    inside: list[str] = []

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        return rows - self.mlp_head[-1].bias if fired(inside) else rows

    return both(running("generate", inside), returning(NETWORK, "forward", change))


@planted(clause="lifecycle.saved_and_loaded")
def peft_saves_what_the_network_reads(fired: Fired) -> Patched:
    """What is saved are the embeddings in front of the network."""

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        fired()
        held: torch.Tensor = self.prompt_encoder[self.active_adapter].embedding.weight
        return held.detach().clone()

    return saved(change)


@planted(clause="injection.same_for_all_rows", weaker=answers.alone)
def peft_virtual_tokens_of_the_row_before(fired: Fired) -> Patched:
    """Each row but the first reads its virtual tokens in the order of the row before, moved by one."""

    def change(self: Any, held: torch.Tensor) -> torch.Tensor:
        if not fired(held.shape[0] > 1 and held.shape[1] > 1):
            return held
        return torch.stack([row.roll(index, 0) for index, row in enumerate(held)])

    return returning(MODEL, "get_prompt", change)
