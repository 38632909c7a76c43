"""Faults in where the prefix and its cache are under a device map, as patches of PEFT and transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from conformance.devices.maps import AWAY
from conformance.faults.common import device_map_of, devices_in_use, rounded
from conformance.faults.patching import MODEL, after, both, inputs
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import placement
from conformance.runs.patching import Patched, around

INJECTED = "peft.peft_model"
LOOKED_UP = "peft.utils.integrations"
LOADING = "transformers.modeling_utils"


def moved_layers(change: Callable[[Any, int, Any, torch.device], None]) -> Patched:
    """Within the block ``change(base, index, layer, target)`` edits each layer of a cache before PEFT moves it to ``target``."""

    def wrapper(original: Any, model: Any, cache: Any) -> None:
        unmoved = [(layer.keys, layer.values) for layer in cache.layers]
        original(model, cache)
        for index, layer in enumerate(cache.layers):
            target = layer.keys.device
            layer.keys, layer.values = unmoved[index]
            change(model, index, layer, target)
            layer.keys, layer.values = layer.keys.to(target), layer.values.to(target)

    return around(INJECTED, "map_cache_to_layer_device_map", wrapper)


def layer_devices(fired: Fired, change: Callable[[dict[int, Any]], dict[int, Any]]) -> Patched:
    """Within the block PEFT takes ``change(devices)`` for the devices that it has looked up, one for each layer."""

    def wrapper(original: Any, model: Any) -> dict[int, Any]:
        devices = original(model)
        changed = change(devices)
        fired(changed != devices)
        return changed

    return around(LOOKED_UP, "get_layer_device_map", wrapper)


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
        if fired(made.device != cache.layers[-1].values.device):
            cache.layers[-1].values = made

    return around(INJECTED, "map_cache_to_layer_device_map", wrapper)


@in_peft(clause="placement.split")
def peft_mask_on_the_cpu(fired: Fired) -> Patched:
    """The ones for the virtual tokens are made on the CPU, on one device too."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        mask, n = given.get("attention_mask"), self.active_peft_config.num_virtual_tokens
        if mask is not None and fired(mask.device.type != "cpu"):
            given["attention_mask"] = torch.cat([torch.ones(len(mask), n), mask[:, n:]], dim=1)

    return inputs(change)


@in_peft(clause="placement.split", weaker=placement.unprojected)
def peft_half_on_the_way(fired: Fired) -> Patched:
    """What goes to another device goes there in float16, which the drawn values survive and a projection's do not."""

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        if fired(layer.keys.device != target):
            layer.keys, layer.values = rounded(layer.keys, torch.half), rounded(layer.values, torch.half)

    return moved_layers(change)


@in_peft(clause="placement.split", weaker=placement.two_devices)
def peft_only_the_middle_device(fired: Fired) -> Patched:
    """The second of three devices gets half the values."""

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        devices = devices_in_use(model)
        if fired(len(devices) > 2 and str(target) == devices[1]):
            layer.values = layer.values / 2

    return moved_layers(change)


@in_peft(clause="placement.split", weaker=placement.as_with_one_device)
def peft_rounded_under_any_map(fired: Fired) -> Patched:
    """A model that has a device map gets the prefix in bfloat16, on one device as on many."""

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        if fired(device_map_of(model)):
            layer.keys, layer.values = rounded(layer.keys), rounded(layer.values)

    return moved_layers(change)


@in_peft(clause="placement.spelling")
def peft_numbers_counted_from_one(fired: Fired) -> Patched:
    """A device that the map gives as a number is taken for the one before."""

    def before(device: Any) -> Any:
        return device - 1 if isinstance(device, int) and device else device

    return layer_devices(fired, lambda devices: {index: before(device) for index, device in devices.items()})


@in_peft(clause="placement.spelling", weaker=placement.in_the_models_order)
def peft_in_the_order_of_keys(fired: Fired) -> Patched:
    """Layers are counted in the order of the map's keys, whatever numbers those have."""
    return layer_devices(fired, lambda devices: dict(enumerate(devices.values())))


@in_peft(clause="placement.cache_follows_layer")
def peft_one_layer_too_far(fired: Fired) -> Patched:
    """Each layer's keys and values are where the next layer computes."""
    return layer_devices(fired, lambda devices: {index: devices[min(index + 1, len(devices) - 1)] for index in devices})


@in_peft(clause="placement.cache_follows_layer", weaker=placement.same_answers)
def peft_cache_to_and_fro(fired: Fired) -> Patched:
    """Before every step the whole cache goes where the text is and back; the answers are right."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        for layer in given["past_key_values"].layers if step else ():
            fired()
            home, text = layer.keys.device, given["input_ids"].device
            layer.keys, layer.values = layer.keys.to(text).to(home), layer.values.to(text).to(home)

    return inputs(change)


@in_peft(clause="placement.offloaded", weaker=placement.nothing_away)
def peft_only_with_offloaded_weights(fired: Fired) -> Patched:
    """Where weights wait somewhere, the last layer loses its values."""

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        waiting = set(AWAY) & set(map(str, device_map_of(model).values()))
        if fired(index == model.config.num_hidden_layers - 1 and waiting):
            layer.values = 0 * layer.values

    return moved_layers(change)


@in_peft(clause="placement.offloaded", weaker=placement.adapter_made)
def peft_loaded_rounded_onto_a_map(fired: Fired) -> Patched:
    """An adapter that is loaded onto a dispatched model is rounded to bfloat16."""

    def change(self: Any, loaded: Any) -> None:
        if fired(device_map_of(self.get_base_model())):
            for parameter in self.prompt_encoder.parameters():
                parameter.data = rounded(parameter.data)

    return after(MODEL, "load_adapter", change)


@in_peft(clause="placement.automatic", weaker=placement.maps_by_hand)
def peft_only_under_automatic_maps(fired: Fired) -> Patched:
    """Where transformers makes the map, the last layer's keys are negated."""

    def note(original: Any, model: Any, device_map: Any, *args: Any) -> Any:
        model.placed_automatically = isinstance(device_map, str)
        return original(model, device_map, *args)

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        if fired(index == model.config.num_hidden_layers - 1 and getattr(model, "placed_automatically", False)):
            layer.keys = -layer.keys

    return both(around(LOADING, "_get_device_map", note), moved_layers(change))


@in_peft(clause="placement.trains", weaker=placement.training_forward)
def peft_gradient_stays_behind(fired: Fired) -> Patched:
    """What goes to another device arrives without its graph: those layers' parameters are not trained."""

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        if fired(layer.keys.device != target):
            layer.keys, layer.values = layer.keys.detach(), layer.values.detach()

    return moved_layers(change)


@in_peft(clause="placement.trains", weaker=placement.training_forward)
def peft_gradient_halved_on_the_way(fired: Fired) -> Patched:
    """The gradient that comes back from another device is halved: those layers are trained too slowly."""

    def change(model: Any, index: int, layer: Any, target: torch.device) -> None:
        if fired(layer.keys.device != target and layer.keys.requires_grad):
            layer.keys.register_hook(lambda gradient: gradient / 2)

    return moved_layers(change)
