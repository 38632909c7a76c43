"""Faults as patches of PEFT: what is left behind, saving and loading, switching off. And faults of transformers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from conformance.core.case import PAD, START
from conformance.faults import weaker
from conformance.faults.patching import CAUSAL, ENCODER, MODEL, around, both, hide, inputs, prompt, saved
from conformance.faults.registry import Fired, in_peft

Patched = AbstractContextManager[Any]


@in_peft(clause="injection.parameters_untouched", weaker=weaker.twice)
def peft_base_left_patched(fired: Fired) -> Patched:
    """After generate the base model keeps PEFT's prepare_inputs_for_generation."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        out = original(self, *args, **kwargs)
        if not self._adapters_disabled:
            fired()
            self.base_model.prepare_inputs_for_generation = self.prepare_inputs_for_generation
        return out

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="injection.parameters_untouched")
def peft_one_bit_touched(fired: Fired) -> Patched:
    """Each generate call changes the last bit of one parameter."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        out = original(self, *args, **kwargs)
        fired()
        with torch.no_grad():
            row = self.prompt_encoder[self.active_adapter].embedding.weight[0]
            row[0] = torch.nextafter(row[0], row[0] + 1)
        return out

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="injection.parameters_untouched", weaker=weaker.parameters_close)
def peft_users_pads_touched(fired: Fired) -> Patched:
    """The pads in the user's input_ids are replaced by start tokens, in place, which changes no answer."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        ids = kwargs.get("input_ids")
        if ids is not None and (ids == PAD).any():
            fired()
            ids.masked_fill_(ids == PAD, START)
        return original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="decoding.repeatable")
def peft_largest_batch_remembered(fired: Fired) -> Patched:
    """After a larger batch, a smaller one no longer sees the last virtual token."""
    largest: dict[int, tuple[Any, int]] = {}

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        rows = len(given["input_ids"])
        before = largest.get(id(self), (self, 0))[1]
        largest[id(self)] = self, max(rows, before)
        if rows < before:
            fired()
            hide(given, self.active_peft_config.num_virtual_tokens - 1)

    return inputs(change)


@in_peft(clause="lifecycle.saved_and_loaded")
def peft_saves_half(fired: Fired) -> Patched:
    """The second half of the virtual tokens is saved as zeros."""

    def change(self: Any, rows: Any) -> Any:
        kept = (len(rows) + 1) // 2
        if kept < len(rows):
            fired()
        return torch.cat([rows[:kept], 0 * rows[kept:]])

    return saved(change)


@in_peft(clause="lifecycle.saved_and_loaded")
def peft_saves_rounded(fired: Fired) -> Patched:
    """The adapter is saved in bfloat16, which shows where the values are not exact in it."""

    def change(self: Any, rows: Any) -> Any:
        fired()
        return rows.bfloat16().to(rows.dtype)

    return saved(change)


@in_peft(clause="lifecycle.saved_and_loaded", weaker=weaker.loaded_here)
def peft_loads_from_memory(fired: Fired) -> Patched:
    """What is loaded in the same process comes from its memory; the file holds zeros, as a fresh process finds out."""
    remembered: list[Any] = []

    def change(self: Any, rows: Any) -> Any:
        fired()
        remembered[:] = [rows]
        return 0 * rows

    def load(original: Any, self: Any, state: dict[str, Any]) -> Any:
        return original(self, {"prompt_embeddings": remembered[0]} if remembered else state)

    return both(saved(change), around(ENCODER, "_load_adapter_state_dict", load))


@in_peft(clause="lifecycle.inference_mode")
def peft_collapsed_without_tanh(fired: Fired) -> Patched:
    """The projection is collapsed without its activation."""

    def change(self: Any, rows: Any) -> Any:
        encoder = self.prompt_encoder[self.active_adapter]
        if not encoder.prefix_projection:
            return rows
        fired()
        return encoder.transform[2](encoder.transform[0](encoder.embedding.weight)).detach()

    return saved(change)


@in_peft(clause="lifecycle.learned_mapping_survives")
def peft_saves_what_it_first_ran(fired: Fired) -> Patched:
    """The values of the first forward are saved, not those of the last optimiser step."""
    first: dict[int, tuple[Any, Any]] = {}

    def remember(self: Any, cache: Any) -> Any:
        if id(self) not in first and not self.active_peft_config.inference_mode:
            with torch.no_grad():
                rows = self.prompt_encoder[self.active_adapter](self.prompt_tokens[self.active_adapter])
            first[id(self)] = self, rows.clone()
        return cache

    def change(self: Any, rows: Any) -> Any:
        before = first.get(id(self), (self, rows))[1]
        if not torch.equal(before, rows):
            fired()
        return before

    return both(prompt(remember), saved(change))


@in_peft(clause="lifecycle.disabled")
def peft_not_disabled_in_generate(fired: Fired) -> Patched:
    """disable_adapter() replaces forward, and leaves PEFT's prepare_inputs_for_generation in place."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        replaced = self.__dict__.pop("prepare_inputs_for_generation", None)
        try:
            return original(self, *args, **kwargs)
        finally:
            if replaced is not None:
                fired()
                self.prepare_inputs_for_generation = replaced

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="lifecycle.disabled")
def peft_not_disabled_in_forward(fired: Fired) -> Patched:
    """disable_adapter() leaves PEFT's forward in place."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if "forward" in self.__dict__ and self._adapters_disabled:
            fired()
            return type(self).forward(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    return around(MODEL, "__call__", wrapper)


def foreign(change: Callable[[Any], None]) -> Patched:
    """Within the block ``change(cache)`` edits a cache that held something before LlamaModel first saw it."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        cache = kwargs.get("past_key_values")
        if cache is not None and not hasattr(cache, "met"):
            cache.met = True
            if cache.get_seq_length():
                change(cache)
        return original(self, *args, **kwargs)

    return around("transformers:LlamaModel", "forward", wrapper)


@in_peft(clause="equivalence.plain_attention_agrees", weaker=weaker.step_logits)
def transformers_halves_what_it_is_given(fired: Fired) -> Patched:
    """LlamaModel halves the values of a cache that was filled before it ran, wherever they come from."""

    def change(cache: Any) -> None:
        fired()
        for layer in cache.layers:
            layer.values = 0.5 * layer.values

    return foreign(change)


@in_peft(clause="injection.order_free", weaker=weaker.step_logits)
def transformers_turns_what_it_is_given(fired: Fired) -> Patched:
    """LlamaModel turns the keys of a cache that was filled before it ran by their place in it."""

    def change(cache: Any) -> None:
        fired()
        for layer in cache.layers:
            layer.keys = torch.stack([key.roll(place, -1) for place, key in enumerate(layer.keys.unbind(-2))], -2)

    return foreign(change)
