"""Faults in saving, loading and switching off, as patches of PEFT."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any
from unittest import mock

import torch

from conformance.faults.common import rounded, without_second_half
from conformance.faults.patching import CAUSAL, ENCODER, MODEL, after, arguments, both, prompt, saved
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import lifecycle
from conformance.runs.patching import Patched, around


@in_peft(clause="lifecycle.saved_and_loaded")
def peft_saves_half(fired: Fired) -> Patched:
    """The second half of the virtual tokens is saved as zeros."""

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        fired(len(rows) > 1)
        return without_second_half(rows)

    return saved(change)


@in_peft(clause="lifecycle.saved_and_loaded")
def peft_saves_rounded(fired: Fired) -> Patched:
    """The adapter is saved in bfloat16, which shows where the values are not exact in it."""

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        fired()
        return rounded(rows)

    return saved(change)


@in_peft(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here)
def peft_loads_from_memory(fired: Fired) -> Patched:
    """What is loaded in the same process comes from its memory; the file holds zeros, as a fresh process finds out."""
    remembered: list[torch.Tensor] = []

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        fired()
        remembered[:] = [rows]
        return 0 * rows

    def load(original: Any, self: Any, state: dict[str, Any]) -> Any:
        return original(self, {"prompt_embeddings": remembered[0]} if remembered else state)

    return both(saved(change), around(ENCODER, "_load_adapter_state_dict", load))


@in_peft(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here)
def peft_spares_the_last_token(fired: Fired) -> Patched:
    """With low_cpu_mem_usage=True the last virtual token is left empty."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if fired(kwargs.get("low_cpu_mem_usage")):
            with torch.no_grad():
                self.prompt_encoder[self.active_adapter].embedding.weight[-1] = 0
        return result

    return around(MODEL, "load_adapter", wrapper)


@in_peft(clause="lifecycle.inference_mode")
def peft_collapsed_without_tanh(fired: Fired) -> Patched:
    """The projection is collapsed without its activation."""

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        encoder = self.prompt_encoder[self.active_adapter]
        if fired(encoder.prefix_projection):
            rows = encoder.transform[2](encoder.transform[0](encoder.embedding.weight)).detach()
        return rows

    return saved(change)


@in_peft(clause="lifecycle.disabled")
def peft_not_disabled_in_generate(fired: Fired) -> Patched:
    """disable_adapter() replaces forward, and leaves PEFT's prepare_inputs_for_generation in place."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        replaced = self.__dict__.pop("prepare_inputs_for_generation", None)
        try:
            return original(self, *args, **kwargs)
        finally:
            if fired(replaced is not None):
                self.prepare_inputs_for_generation = replaced

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="lifecycle.disabled")
def peft_not_disabled_in_forward(fired: Fired) -> Patched:
    """disable_adapter() leaves PEFT's forward in place."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired("forward" in self.__dict__ and self._adapters_disabled):
            return type(self).forward(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    return around(MODEL, "__call__", wrapper)


@in_peft(clause="lifecycle.learned_mapping_survives")
def peft_saves_what_it_first_ran(fired: Fired) -> Patched:
    """The values of the first forward are saved, not those of the last optimiser step."""
    first: dict[int, tuple[Any, torch.Tensor]] = {}

    def remember(self: Any, cache: Any) -> None:
        if id(self) not in first and not self.active_peft_config.inference_mode:
            with torch.no_grad():
                rows = self.prompt_encoder[self.active_adapter](self.prompt_tokens[self.active_adapter])
            first[id(self)] = self, rows.clone()

    def change(self: Any, rows: torch.Tensor) -> torch.Tensor:
        first_rows = first.get(id(self), (self, rows))[1]
        fired(not torch.equal(first_rows, rows))
        return first_rows

    return both(prompt(remember), saved(change))


@in_peft(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_beside)
def peft_live_adapter_stays(fired: Fired) -> Patched:
    """Loading over an adapter that is being trained changes nothing."""

    def wrapper(original: Any, self: Any, folder: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        live = self.peft_config.get(name)
        if fired(live is not None and not live.inference_mode):
            return None
        return original(self, folder, name, *args, **kwargs)

    return around(MODEL, "load_adapter", wrapper)


@in_peft(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_here)
def peft_other_names_never_answer(fired: Fired) -> Patched:
    """set_adapter leaves the first adapter active."""

    def wrapper(original: Any, self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        first = next(iter(self.peft_config))
        fired(name != first)
        return original(self, first, *args, **kwargs)

    return around(MODEL, "set_adapter", wrapper)


@in_peft(clause="lifecycle.switched", weaker=lifecycle.switched_once)
def peft_adding_overwrites(fired: Fired) -> Patched:
    """An adapter that is added beside others takes the values of the first one away."""

    def change(self: Any, result: Any) -> None:
        first = next(iter(self.prompt_encoder.values()))
        if fired(len(self.prompt_encoder) > 1):
            with torch.no_grad():
                first.embedding.weight.zero_()

    return after(MODEL, "add_adapter", change)


@in_peft(clause="lifecycle.switched", weaker=lifecycle.switched_once)
def peft_never_switches_back(fired: Fired) -> Patched:
    """set_adapter leaves the second adapter active where the first is asked for."""

    def wrapper(original: Any, self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        back = fired(name == next(iter(self.peft_config)))
        return original(self, self.active_adapter if back else name, *args, **kwargs)

    return around(MODEL, "set_adapter", wrapper)


def _when_stopped(by: type[BaseException], leave: Callable[[Any], None]) -> Patched:
    """Within the block ``leave(peft_model)`` is called where ``by`` ends generate."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except by:
            leave(self)
            raise

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="lifecycle.restored", weaker=lifecycle.base_after_generate)
def peft_base_left_patched_after_an_error(fired: Fired) -> Patched:
    """Where generate raises an error the base model keeps PEFT's prepare_inputs_for_generation."""

    def leave(self: Any) -> None:
        fired()
        self.base_model.prepare_inputs_for_generation = self.prepare_inputs_for_generation

    return _when_stopped(Exception, leave)


@in_peft(clause="lifecycle.interrupted", weaker=lifecycle.answers_after_an_error)
def peft_settings_left_after_an_interrupt(fired: Fired) -> Patched:
    """Where generate is interrupted the base model's generation config keeps what was set for the call."""

    def leave(self: Any) -> None:
        fired()
        self.base_model.generation_config.output_scores = True

    return _when_stopped(KeyboardInterrupt, leave)


@in_peft(clause="lifecycle.removed", weaker=lifecycle.other_answers_after_removal)
def peft_removed_is_still_saved(fired: Fired) -> Patched:
    """delete_adapter leaves all of the adapter in the model, and only makes another one active."""

    def wrapper(original: Any, self: Any, name: str) -> Any:
        held = [(kept, kept[name]) for kept in (self.peft_config, self.prompt_encoder, self.prompt_tokens)]
        original(self, name)
        for kept, value in held:
            kept[name] = value
        fired()

    return around(MODEL, "delete_adapter", wrapper)


@in_peft(clause="lifecycle.removed")
def peft_removing_clears_the_other(fired: Fired) -> Patched:
    """delete_adapter takes the values of the adapter that is left away."""

    def change(self: Any, result: Any) -> None:
        fired()
        with torch.no_grad():
            for parameter in self.prompt_encoder.parameters():
                parameter.zero_()

    return after(MODEL, "delete_adapter", change)


@in_peft(clause="lifecycle.configured")
def peft_passed_config_is_ignored(fired: Fired) -> Patched:
    """A generation config that is passed to generate counts for everything but the length of the answer."""

    def change(self: Any, given: dict[str, Any]) -> None:
        if fired("generation_config" in given):
            given["generation_config"].max_new_tokens = None

    return arguments("generate", change)


@in_peft(clause="lifecycle.configured", weaker=lifecycle.passed_config)
def peft_base_config_is_ignored(fired: Fired) -> Patched:
    """Generate forgets how long an answer the base model's generation config says."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        config = self.base_model.generation_config
        if not fired(config.max_new_tokens):
            return original(self, *args, **kwargs)
        with mock.patch.object(config, "max_new_tokens", None):
            return original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="lifecycle.initialised_as_told")
def peft_zero_is_nearly_zero(fired: Fired) -> Patched:
    """A prefix that is to begin as zero begins as small numbers."""

    def change(self: Any, config: Any) -> None:
        if fired(config.init_weights == "zero"):
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.add_(0.01)

    def wrapper(original: Any, self: Any, config: Any) -> None:
        original(self, config)
        change(self, config)

    return around(ENCODER, "__init__", wrapper)


@in_peft(clause="lifecycle.unloaded", weaker=lifecycle.something_is_given_back)
def peft_unload_gives_the_wrapper(fired: Fired) -> Patched:
    """What unload gives back is the wrapped model, in which the adapter still is."""

    def unload(self: Any) -> Any:
        fired()
        return self

    return mock.patch.object(resolve_name(MODEL), "unload", unload, create=True)


@in_peft(clause="lifecycle.stacked", weaker=lifecycle.over_a_merged_lora)
def peft_switches_the_lora_off(fired: Fired) -> Patched:
    """Where virtual tokens are wrapped around a model that has a LoRA in its layers, this is off."""

    def wrapper(original: Any, self: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        original(self, model, *args, **kwargs)
        for layer in model.modules():
            if fired(self._is_prompt_learning and hasattr(layer, "lora_A")):
                layer.enable_adapters(False)

    return around(MODEL, "__init__", wrapper)
