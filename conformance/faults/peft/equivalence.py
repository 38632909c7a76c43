"""Faults in what generate and forward answer, as patches of PEFT and transformers."""

from __future__ import annotations

from typing import Any

import torch

from conformance.faults.common import rounded, without_first_token
from conformance.faults.patching import CAUSAL, both, encoded, filled_caches, hide, inputs, mask_of, prompt, running
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers
from conformance.runs.patching import Patched, around


@in_peft(clause="equivalence.greedy_tokens", weaker=answers.step_logits)
def peft_runner_up(fired: Fired) -> Patched:
    """A logits processor of the wrapper's own bans each best token from the fifth on; the raw logits are right."""

    def ban(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        if fired(len(steps) > 4):
            return scores.scatter(1, scores.argmax(-1, keepdim=True), -torch.inf)
        return scores

    steps: list[int] = []

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.clear()
        banned = {} if self._adapters_disabled else {"logits_processor": [ban]}
        return original(self, *args, **kwargs, **banned)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="equivalence.step_logits")
def peft_from_the_fifth_token(fired: Fired) -> Patched:
    """From the fifth token on, the first virtual token is no longer seen."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if fired(step >= 4):
            hide(given)

    return inputs(change)


@in_peft(clause="equivalence.step_logits")
def peft_as_long_as_the_prompt(fired: Fired) -> Patched:
    """Where the prefix is as long as the prompt, the first virtual token is hidden."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if fired(mask_of(given).shape[1] - step == 2 * self.active_peft_config.num_virtual_tokens):
            hide(given)

    return inputs(change)


@in_peft(clause="equivalence.step_logits")
def peft_only_with_projection(fired: Fired) -> Patched:
    """The projection forgets the bias of its last layer."""

    def change(encoder: Any, rows: torch.Tensor) -> torch.Tensor:
        return rows - encoder.transform[-1].bias if fired(encoder.prefix_projection) else rows

    return encoded(change)


@in_peft(clause="equivalence.real_tokens_prefix", weaker=answers.step_logits)
def peft_rounded_without_projection(fired: Fired) -> Patched:
    """A prefix without projection is held in bfloat16, in which the drawn values are exact and real ones are not."""

    def change(encoder: Any, rows: torch.Tensor) -> torch.Tensor:
        return rounded(rows) if fired(not encoder.prefix_projection) else rows

    return encoded(change)


@in_peft(clause="equivalence.forward_agrees_with_generate")
def peft_forward_hides_one(fired: Fired) -> Patched:
    """The training forward's cache has lost the first virtual token's values, generate's has not."""
    inside: list[str] = []

    def change(self: Any, cache: Any) -> None:
        for layer in cache.layers if inside else ():
            fired()
            layer.values = without_first_token(layer.values)

    return both(running("forward", inside), prompt(change))


@in_peft(clause="equivalence.position_agrees_with_name", weaker=answers.step_logits)
def peft_generates_bare_by_position(fired: Fired) -> Patched:
    """Generate answers as the base model does where the text is passed without a name."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.generate(*args, **kwargs) if fired(args) else original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="equivalence.plain_attention_agrees", weaker=answers.step_logits)
def transformers_halves_what_it_is_given(fired: Fired) -> Patched:
    """LlamaModel halves the values of a cache that was filled before it ran, wherever they come from."""

    def change(cache: Any) -> None:
        fired()
        for layer in cache.layers:
            layer.values = 0.5 * layer.values

    return filled_caches(change)
