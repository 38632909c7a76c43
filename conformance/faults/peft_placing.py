"""Faults as patches of PEFT: where it puts the cache when the model is spread over devices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from conformance.faults.patching import around, inputs
from conformance.faults.registry import Fired, in_peft

Patched = AbstractContextManager[Any]
AWAY = {"cpu", "disk"}


def _mapped(change: Callable[[Any, list[Any]], None]) -> Patched:
    """Within the block ``change(base, layers of the cache)`` is done after PEFT has put the cache where the layers are."""

    def wrapper(original: Any, model: Any, cache: Any) -> None:
        original(model, cache)
        if getattr(model, "hf_device_map", None):
            change(model, getattr(cache, "self_attention_cache", cache).layers)

    return around("peft.peft_model", "map_cache_to_layer_device_map", wrapper)


def _devices(change: Callable[[Any, dict[int, Any]], dict[int, Any]]) -> Patched:
    """Within the block ``change(base, devices)`` is where PEFT believes the layers to be."""

    def wrapper(original: Any, model: Any) -> dict[int, Any]:
        return change(model, original(model))

    return around("peft.utils.integrations", "get_layer_device_map", wrapper)


@in_peft(clause="placement.split")
def peft_prefix_stays(fired: Fired) -> Patched:
    """The prefix stays on the first device: PEFT before pull request 2189."""

    def wrapper(original: Any, model: Any, cache: Any) -> None:
        fired()

    return around("peft.peft_model", "map_cache_to_layer_device_map", wrapper)


@in_peft(clause="placement.split")
def peft_last_values_stay(fired: Fired) -> Patched:
    """The last layer's values are on the first layer's device."""

    def change(model: Any, layers: list[Any]) -> None:
        if layers[-1].values.device != layers[0].keys.device:
            fired()
            layers[-1].values = layers[-1].values.to(layers[0].keys.device)

    return _mapped(change)


@in_peft(clause="placement.split", family="qwen2")
def peft_next_layers_device(fired: Fired) -> Patched:
    """Each layer's prefix is on the next layer's device."""

    def change(model: Any, devices: dict[int, Any]) -> dict[int, Any]:
        fired()
        return {layer: devices[(layer + 1) % len(devices)] for layer in devices}

    return _devices(change)


@in_peft(clause="placement.trains")
def peft_gradient_stays(fired: Fired) -> Patched:
    """The prefix of layers on other devices is cut from the graph when it is moved."""

    def change(model: Any, layers: list[Any]) -> None:
        for held in layers[1:]:
            if held.keys.device != layers[0].keys.device and held.keys.requires_grad:
                fired()
                held.keys, held.values = held.keys.detach(), held.values.detach()

    return _mapped(change)


@in_peft(clause="placement.cache_follows_layer")
def peft_cache_to_the_cpu_and_back(fired: Fired) -> Patched:
    """At every step of generate the cache goes to the CPU and back."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        for held in given["past_key_values"].layers:
            if step:
                fired()
                held.keys = held.keys.cpu().to(held.keys.device)
                held.values = held.values.cpu().to(held.values.device)

    return inputs(change)


@in_peft(clause="placement.spelling")
def peft_numbers_misread(fired: Fired) -> Patched:
    """A device that is called by its number is taken for the first one."""

    def change(model: Any, devices: dict[int, Any]) -> dict[int, Any]:
        if any(isinstance(device, int) and device for device in devices.values()):
            fired()
        return {layer: 0 if isinstance(device, int) else device for layer, device in devices.items()}

    return _devices(change)


@in_peft(clause="placement.offloaded")
def peft_nothing_beside_waiting_weights(fired: Fired) -> Patched:
    """Where some weights wait on the CPU or on disk, the first layer's prefix is zeros."""

    def change(model: Any, layers: list[Any]) -> None:
        if AWAY & set(map(str, model.hf_device_map.values())):
            fired()
            layers[0].keys, layers[0].values = layers[0].keys * 0, layers[0].values * 0

    return _mapped(change)
