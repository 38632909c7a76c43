"""Faults as patches of PEFT and transformers: where the prefix and its cache are under a device map."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from conformance.devices.maps import AWAY
from conformance.faults import weaker_placed as weaker
from conformance.faults.patching import MODEL, around, both, inputs
from conformance.faults.registry import Fired, in_peft

Patched = AbstractContextManager[Any]
INJECTED = "peft.peft_model"
LOOKED_UP = "peft.utils.integrations"
PLACED = "transformers.modeling_utils"


def following(change: Callable[[Any, int, Any, torch.device], None]) -> Patched:
    """Within the block ``change(base, index, layer, device)`` is told of each layer of the cache, before PEFT moves it.

    ``device`` is where PEFT will move the layer.
    """

    def wrapper(original: Any, model: Any, cache: Any) -> None:
        before = [(layer.keys, layer.values) for layer in cache.layers]
        original(model, cache)
        for index, (layer, given) in enumerate(zip(cache.layers, before, strict=True)):
            there = layer.keys.device
            layer.keys, layer.values = given
            change(model, index, layer, there)
            layer.keys, layer.values = layer.keys.to(there), layer.values.to(there)

    return around(INJECTED, "map_cache_to_layer_device_map", wrapper)


def mapped(model: Any) -> dict[str, Any]:
    """The device map of ``model``; empty where there is none."""
    found: dict[str, Any] = getattr(model, "hf_device_map", {})
    return found


@in_peft(clause="placement.split")
def peft_cache_not_moved(fired: Fired) -> Patched:
    """The cache is not moved to where the layers compute: PEFT before pull request 2189."""

    def wrapper(original: Any, model: Any, cache: Any) -> None:
        fired()

    return around(INJECTED, "map_cache_to_layer_device_map", wrapper)


@in_peft(clause="placement.split")
def peft_values_left_behind(fired: Fired) -> Patched:
    """The last layer's keys go where it computes, its values stay where they were made."""

    def wrapper(original: Any, model: Any, cache: Any) -> None:
        made = cache.layers[-1].values
        original(model, cache)
        if made.device != cache.layers[-1].values.device:
            fired()
            cache.layers[-1].values = made

    return around(INJECTED, "map_cache_to_layer_device_map", wrapper)


@in_peft(clause="placement.split")
def peft_mask_on_the_cpu(fired: Fired) -> Patched:
    """The ones for the virtual tokens are made on the CPU, on one device too."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        mask, n = given.get("attention_mask"), self.active_peft_config.num_virtual_tokens
        if mask is not None and mask.device.type != "cpu":
            fired()
            given["attention_mask"] = torch.cat([torch.ones(len(mask), n), mask[:, n:]], dim=1)

    return inputs(change)


@in_peft(clause="placement.split", weaker=weaker.unprojected)
def peft_half_on_the_way(fired: Fired) -> Patched:
    """What goes to another device goes there in float16, which the drawn values survive and a projection's do not."""

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        if layer.keys.device != there:
            fired()
            layer.keys, layer.values = (held.half().to(held.dtype) for held in (layer.keys, layer.values))

    return following(change)


@in_peft(clause="placement.split", weaker=weaker.two_devices)
def peft_only_the_middle_device(fired: Fired) -> Patched:
    """The second of three devices gets half the values."""

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        used = sorted({str(torch.empty(0, device=told).device) for told in mapped(model).values() if told not in AWAY})
        if len(used) > 2 and str(there) == used[1]:
            fired()
            layer.values = layer.values / 2

    return following(change)


@in_peft(clause="placement.split", weaker=weaker.as_with_one_device)
def peft_rounded_under_any_map(fired: Fired) -> Patched:
    """A model that has a device map gets the prefix in bfloat16, on one device as on many."""

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        if mapped(model):
            fired()
            layer.keys, layer.values = (held.bfloat16().to(held.dtype) for held in (layer.keys, layer.values))

    return following(change)


@in_peft(clause="placement.cache_follows_layer")
def peft_one_layer_too_far(fired: Fired) -> Patched:
    """Each layer's keys and values are where the next layer computes."""

    def wrapper(original: Any, model: Any) -> Any:
        found = original(model)
        shifted = {index: found[min(index + 1, len(found) - 1)] for index in found}
        if shifted != found:
            fired()
        return shifted

    return around(LOOKED_UP, "get_layer_device_map", wrapper)


@in_peft(clause="placement.cache_follows_layer", weaker=weaker.same_answers)
def peft_cache_to_and_fro(fired: Fired) -> Patched:
    """Before every step the whole cache goes where the text is and back; the answers are right."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        for layer in given["past_key_values"].layers if step else ():
            fired()
            there, here = layer.keys.device, given["input_ids"].device
            layer.keys, layer.values = layer.keys.to(here).to(there), layer.values.to(here).to(there)

    return inputs(change)


@in_peft(clause="placement.spelling")
def peft_numbers_counted_from_one(fired: Fired) -> Patched:
    """A device that the map gives as a number is taken for the one before."""

    def wrapper(original: Any, model: Any) -> Any:
        found = original(model)
        if any(isinstance(told, int) and told for told in found.values()):
            fired()
        return {index: told - 1 if isinstance(told, int) and told else told for index, told in found.items()}

    return around(LOOKED_UP, "get_layer_device_map", wrapper)


@in_peft(clause="placement.spelling", weaker=weaker.in_the_models_order)
def peft_in_the_order_of_keys(fired: Fired) -> Patched:
    """Layers are not told by the numbers in the map's keys but counted as their keys come."""

    def wrapper(original: Any, model: Any) -> Any:
        found = original(model)
        counted = dict(enumerate(found.values()))
        if counted != found:
            fired()
        return counted

    return around(LOOKED_UP, "get_layer_device_map", wrapper)


@in_peft(clause="placement.offloaded", weaker=weaker.nothing_away)
def peft_only_with_offloaded_weights(fired: Fired) -> Patched:
    """Where weights wait somewhere, the last layer loses its values."""

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        if index == model.config.num_hidden_layers - 1 and set(AWAY) & set(map(str, mapped(model).values())):
            fired()
            layer.values = 0 * layer.values

    return following(change)


@in_peft(clause="placement.offloaded", weaker=weaker.adapter_made)
def peft_loaded_rounded_onto_a_map(fired: Fired) -> Patched:
    """An adapter that is loaded onto a dispatched model is rounded to bfloat16."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if mapped(self.get_base_model()):
            fired()
            for held in self.prompt_encoder.parameters():
                held.data = held.data.bfloat16().to(held.dtype)
        return result

    return around(MODEL, "load_adapter", wrapper)


@in_peft(clause="placement.automatic", weaker=weaker.maps_by_hand)
def peft_only_under_automatic_maps(fired: Fired) -> Patched:
    """Where transformers makes the map, the last layer's keys are negated."""

    def note(original: Any, model: Any, device_map: Any, *args: Any) -> Any:
        model.made_by_itself = isinstance(device_map, str)
        return original(model, device_map, *args)

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        if index == model.config.num_hidden_layers - 1 and getattr(model, "made_by_itself", False):
            fired()
            layer.keys = -layer.keys

    return both(around(PLACED, "_get_device_map", note), following(change))


@in_peft(clause="placement.trains", weaker=weaker.training_forward)
def peft_gradient_stays_behind(fired: Fired) -> Patched:
    """What goes to another device arrives without its graph: those layers' parameters are not trained."""

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        if layer.keys.device != there:
            fired()
            layer.keys, layer.values = layer.keys.detach(), layer.values.detach()

    return following(change)


@in_peft(clause="placement.trains", weaker=weaker.training_forward)
def peft_gradient_halved_on_the_way(fired: Fired) -> Patched:
    """The gradient that comes back from another device is halved: those layers are trained too slowly."""

    def change(model: Any, index: int, layer: Any, there: torch.device) -> None:
        if layer.keys.device != there and layer.keys.requires_grad:
            fired()
            layer.keys.register_hook(lambda gradient: gradient / 2)

    return following(change)
