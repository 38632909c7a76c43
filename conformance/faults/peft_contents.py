"""Faults as patches of PEFT: what the prompt encoder gives and what the cache holds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from conformance.faults import weaker
from conformance.faults.patching import CAUSAL, ENCODER, around, prompt
from conformance.faults.registry import Fired, in_peft

Patched = AbstractContextManager[Any]


@in_peft(clause="injection.present")
def peft_cache_empty_in_generate(fired: Fired) -> Patched:
    """Only a missing cache is filled, and generate brings an empty one: PEFT issue 2134 again."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        given = original(self, *args, **kwargs)
        brought = kwargs.get("past_key_values")
        if brought is not None and not brought.get_seq_length():
            fired()
            given["past_key_values"] = brought
        return given

    return around(CAUSAL, "prepare_inputs_for_generation", wrapper)


@in_peft(clause="injection.ignored_never", family="qwen2")
def peft_contents_ignored(fired: Fired) -> Patched:
    """The prompt encoder gives zeros, whatever was learnt."""

    def wrapper(original: Any, self: Any, prefix: Any) -> Any:
        fired()
        return 0 * original(self, prefix)

    return around(ENCODER, "forward", wrapper)


@in_peft(clause="injection.faithful")
def peft_keys_and_values_swapped(fired: Fired) -> Patched:
    """The last layer has its keys as values and its values as keys."""

    def change(self: Any, cache: Any) -> Any:
        fired()
        layer = cache.layers[-1]
        layer.keys, layer.values = layer.values, layer.keys
        return cache

    return prompt(change)


@in_peft(clause="injection.faithful")
def peft_layers_exchanged(fired: Fired) -> Patched:
    """The second and the third layer have each other's prefix."""

    def change(self: Any, cache: Any) -> Any:
        if len(cache.layers) >= 3:
            fired()
            cache.layers[1], cache.layers[2] = cache.layers[2], cache.layers[1]
        return cache

    return prompt(change)


@in_peft(clause="injection.faithful")
def peft_one_key_value_head(fired: Fired) -> Patched:
    """With fewer key/value heads than query heads, the last of them has no values."""

    def change(self: Any, cache: Any) -> Any:
        if self.base_model.config.num_key_value_heads < self.base_model.config.num_attention_heads:
            fired()
            for layer in cache.layers:
                layer.values = torch.cat([layer.values[:, :-1], 0 * layer.values[:, -1:]], 1)
        return cache

    return prompt(change)


@in_peft(clause="injection.same_for_all_rows")
def peft_only_the_third_row(fired: Fired) -> Patched:
    """The third row of a batch has half the values."""

    def change(self: Any, cache: Any) -> Any:
        for layer in cache.layers:
            if len(layer.values) > 2:
                fired()
                layer.values = torch.cat([layer.values[:2], 0.5 * layer.values[2:3], layer.values[3:]])
        return cache

    return prompt(change)


@in_peft(clause="injection.order_free")
def peft_keys_turned_by_place(fired: Fired) -> Patched:
    """The key of each virtual token is turned by its place in the prefix, once too often."""

    def change(self: Any, cache: Any) -> Any:
        fired()
        for layer in cache.layers:
            layer.keys = torch.stack([key.roll(place, -1) for place, key in enumerate(layer.keys.unbind(-2))], -2)
        return cache

    return prompt(change)


@in_peft(clause="injection.every_parameter_matters")
def peft_layers_tied(fired: Fired) -> Patched:
    """The second layer takes the keys of the first."""

    def change(self: Any, cache: Any) -> Any:
        if len(cache.layers) > 1:
            fired()
            cache.layers[1].keys = cache.layers[0].keys
        return cache

    return prompt(change)


@in_peft(clause="injection.every_parameter_matters")
def peft_gradient_cut(fired: Fired) -> Patched:
    """The keys of the last layer are right but get no gradient."""

    def change(self: Any, cache: Any) -> Any:
        fired()
        cache.layers[-1].keys = cache.layers[-1].keys.detach()
        return cache

    return prompt(change)


@in_peft(clause="equivalence.step_logits")
def peft_only_with_projection(fired: Fired) -> Patched:
    """The projection forgets the bias of its last layer."""

    def wrapper(original: Any, self: Any, prefix: Any) -> Any:
        rows = original(self, prefix)
        if not self.prefix_projection:
            return rows
        fired()
        return rows - self.transform[-1].bias

    return around(ENCODER, "forward", wrapper)


@in_peft(clause="equivalence.real_tokens_prefix", weaker=weaker.step_logits)
def peft_rounded_without_projection(fired: Fired) -> Patched:
    """A prefix without projection is held in bfloat16, in which the drawn values are exact and real ones are not."""

    def wrapper(original: Any, self: Any, prefix: Any) -> Any:
        rows = original(self, prefix)
        if self.prefix_projection:
            return rows
        fired()
        return rows.bfloat16().to(rows.dtype)

    return around(ENCODER, "forward", wrapper)


@in_peft(clause="injection.current")
def peft_stale_prompt(fired: Fired) -> Patched:
    """Generate remembers the prompt of its first call."""
    remembered: dict[Any, Any] = {}

    def wrapper(original: Any, self: Any, prefix: Any) -> Any:
        if torch.is_grad_enabled():
            return original(self, prefix)
        # Held with its owner: another's id could be the same once this one is gone.
        kept = remembered.setdefault((id(self), prefix.shape), (self, original(self, prefix).clone()))[1]
        fired()
        return kept

    return around(ENCODER, "forward", wrapper)


@in_peft(clause="injection.once", weaker=weaker.first_call_grows)
def peft_cache_reused(fired: Fired) -> Patched:
    """A second generate call on as many rows is given the first one's cache object."""
    remembered: dict[Any, Any] = {}

    def change(self: Any, cache: Any) -> Any:
        if torch.is_grad_enabled():
            return cache
        key = id(self), len(cache.layers[0].keys)
        if key in remembered:
            fired()
        return remembered.setdefault(key, (self, cache))[1]

    return prompt(change)
