"""Faults in the virtual tokens themselves, as patches of PEFT and transformers."""

from __future__ import annotations

from typing import Any

import torch

from conformance.core.case import PAD, START
from conformance.faults.common import third_row_halved, turned
from conformance.faults.patching import CAUSAL, MODEL, after, arguments, encoded, filled_caches, prompt, returning
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, injection
from conformance.runs.patching import Patched, around


@in_peft(clause="injection.present")
def peft_cache_empty_in_generate(fired: Fired) -> Patched:
    """Only a missing cache is filled, and generate brings an empty one: PEFT issue 2134 again."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        given, cache = original(self, *args, **kwargs), kwargs.get("past_key_values")
        if fired(cache is not None and not cache.get_seq_length()):
            given["past_key_values"] = cache
        return given

    return around(CAUSAL, "prepare_inputs_for_generation", wrapper)


@in_peft(clause="injection.faithful")
def peft_keys_and_values_swapped(fired: Fired) -> Patched:
    """The last layer has its keys as values and its values as keys."""

    def change(self: Any, cache: Any) -> None:
        fired()
        layer = cache.layers[-1]
        layer.keys, layer.values = layer.values, layer.keys

    return prompt(change)


@in_peft(clause="injection.faithful")
def peft_layers_exchanged(fired: Fired) -> Patched:
    """The second and the third layer have each other's prefix."""

    def change(self: Any, cache: Any) -> None:
        if fired(len(cache.layers) >= 3):
            cache.layers[1], cache.layers[2] = cache.layers[2], cache.layers[1]

    return prompt(change)


@in_peft(clause="injection.faithful")
def peft_one_key_value_head(fired: Fired) -> Patched:
    """With fewer key/value heads than query heads, the last of them has no values."""

    def change(self: Any, cache: Any) -> None:
        if fired(self.base_model.config.num_key_value_heads < self.base_model.config.num_attention_heads):
            for layer in cache.layers:
                layer.values = torch.cat([layer.values[:, :-1], 0 * layer.values[:, -1:]], 1)

    return prompt(change)


@in_peft(clause="injection.once", weaker=injection.first_call_grows)
def peft_cache_reused(fired: Fired) -> Patched:
    """A second generate call on as many rows is given the first one's cache object."""
    remembered: dict[Any, Any] = {}

    def change(self: Any, cache: Any) -> Any:
        if torch.is_grad_enabled():
            return cache
        key = id(self), len(cache.layers[0].keys)
        fired(key in remembered)
        return remembered.setdefault(key, (self, cache))[1]

    return returning(MODEL, "get_prompt", change)


@in_peft(clause="injection.every_parameter_matters")
def peft_layers_tied(fired: Fired) -> Patched:
    """The second layer takes the keys of the first."""

    def change(self: Any, cache: Any) -> None:
        if fired(len(cache.layers) > 1):
            cache.layers[1].keys = cache.layers[0].keys

    return prompt(change)


@in_peft(clause="injection.every_parameter_matters")
def peft_gradient_cut(fired: Fired) -> Patched:
    """The keys of the last layer are right but get no gradient."""

    def change(self: Any, cache: Any) -> None:
        fired()
        cache.layers[-1].keys = cache.layers[-1].keys.detach()

    return prompt(change)


@in_peft(clause="injection.order_free")
def peft_keys_turned_by_place(fired: Fired) -> Patched:
    """The key of each virtual token is turned by its place in the prefix, once too often."""

    def change(self: Any, cache: Any) -> None:
        fired()
        for layer in cache.layers:
            layer.keys = turned(layer.keys)

    return prompt(change)


@in_peft(clause="injection.order_free", weaker=answers.step_logits)
def transformers_turns_what_it_is_given(fired: Fired) -> Patched:
    """LlamaModel turns the keys of a cache that was filled before it ran by their place in it."""

    def change(cache: Any) -> None:
        fired()
        for layer in cache.layers:
            layer.keys = turned(layer.keys)

    return filled_caches(change)


@in_peft(clause="injection.parameters_untouched", weaker=answers.twice)
def peft_base_left_patched(fired: Fired) -> Patched:
    """After generate the base model keeps PEFT's prepare_inputs_for_generation."""

    def change(self: Any, out: Any) -> None:
        if fired(not self._adapters_disabled):
            self.base_model.prepare_inputs_for_generation = self.prepare_inputs_for_generation

    return after(CAUSAL, "generate", change)


@in_peft(clause="injection.parameters_untouched")
def peft_one_bit_touched(fired: Fired) -> Patched:
    """Each generate call changes the last bit of one parameter."""

    def change(self: Any, out: Any) -> None:
        fired()
        with torch.no_grad():
            row = self.prompt_encoder[self.active_adapter].embedding.weight[0]
            row[0] = torch.nextafter(row[0], row[0] + 1)

    return after(CAUSAL, "generate", change)


@in_peft(clause="injection.parameters_untouched", weaker=injection.parameters_close)
def peft_users_pads_touched(fired: Fired) -> Patched:
    """The pads in the user's input_ids are replaced by start tokens, in place, which changes no answer."""

    def change(self: Any, given: dict[str, Any]) -> None:
        ids = given.get("input_ids")
        if ids is not None and fired((ids == PAD).any()):
            ids.masked_fill_(ids == PAD, START)

    return arguments("generate", change)


@in_peft(clause="injection.current")
def peft_stale_prompt(fired: Fired) -> Patched:
    """Generate remembers the prompt of its first call."""
    remembered: dict[Any, Any] = {}

    def change(encoder: Any, rows: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            return rows
        fired()
        # Remembered with its owner: another's id could be the same once this one is gone.
        return remembered.setdefault((id(encoder), rows.shape), (encoder, rows.clone()))[1]

    return encoded(change)


@in_peft(clause="injection.same_for_all_rows")
def peft_only_the_third_row(fired: Fired) -> Patched:
    """The third row of a batch has half the values."""

    def change(self: Any, cache: Any) -> None:
        for layer in cache.layers if len(cache.layers[0].values) > 2 else ():
            fired()
            layer.values = third_row_halved(layer.values)

    return prompt(change)


@in_peft(clause="injection.ignored_never", family="qwen2")
def peft_contents_ignored(fired: Fired) -> Patched:
    """The prompt encoder gives zeros, whatever was learnt."""

    def change(encoder: Any, rows: torch.Tensor) -> torch.Tensor:
        fired()
        return 0 * rows

    return encoded(change)
