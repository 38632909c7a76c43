"""Mends of where the prefix is put when a device map places the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from conformance.devices.maps import AWAY
from conformance.devices.place_model import execution_device
from conformance.families import families
from conformance.runs.patching import around

MODEL = "peft:PeftModel"
STAND_IN = "cpu:0"
Ask = Callable[[Any], dict[int, Any]]
Mend = Callable[[Ask, Any], dict[int, Any]]


def _map_of_layers(mended: Mend) -> AbstractContextManager[Any]:
    """Within the block PEFT is told ``mended(ask, model)`` of where the layers are; ``ask`` is its own function."""
    return around("peft.utils.integrations", "get_layer_device_map", mended)


@contextmanager
def keys_above() -> Iterator[None]:
    """A layer that no key names has the device of the key above it."""

    def mended(ask: Ask, model: Any) -> dict[int, Any]:
        hf_map = model.hf_device_map
        above = {name: hf_map[key] for name in _named_layers(model) if (key := _longest_key(hf_map, name)) is not None}
        return ask(_with(model, hf_map | above))

    with _map_of_layers(mended):
        yield


@contextmanager
def keys_of_other_layers() -> Iterator[None]:
    """Of the keys with a number, those of the decoder's layers decide: they come last. Which device comes first stays."""

    def mended(ask: Ask, model: Any) -> dict[int, Any]:
        own, hf_map = set(_named_layers(model)), model.hf_device_map
        others = {name: device for name, device in hf_map.items() if name not in own}
        if len(others) in (0, len(hf_map)):
            return ask(model)
        main = next((device for device in hf_map.values() if device not in AWAY), None)
        return ask(_with(model, ({} if main is None else {"main": main}) | others | hf_map))

    with _map_of_layers(mended):
        yield


@contextmanager
def own_layers_counted() -> Iterator[None]:
    """As many layers have a device as the decoder has; the surplus, which nobody computes, may be anywhere."""

    def mended(ask: Ask, model: Any) -> dict[int, Any]:
        own, counted = len(_named_layers(model)), model.config.num_hidden_layers
        if not 0 < own < counted:
            return ask(model)
        mapped = ask(_with(model, model.hf_device_map, layers=own))
        return dict.fromkeys(range(counted), mapped[0]) | mapped

    with _map_of_layers(mended):
        yield


@contextmanager
def nowhere_but_the_cpu() -> Iterator[None]:
    """Where the map has no device, the CPU computes."""

    def mended(ask: Ask, model: Any) -> dict[int, Any]:
        if not set(model.hf_device_map.values()) <= set(AWAY):
            return ask(model)
        # By another name, since "cpu" is where weights wait.
        mapped = ask(_with(model, {"": STAND_IN}))
        return {layer: "cpu" if device == STAND_IN else device for layer, device in mapped.items()}

    with _map_of_layers(mended):
        yield


@contextmanager
def main_device_comes_first() -> Iterator[None]:
    """The main device is the first of the map that is neither the CPU nor the disk, as accelerate documents it."""

    def mended(dispatch: Any, model: Any, device_map: Any, main_device: Any = None, *args: Any, **kwargs: Any) -> Any:
        if main_device is None:
            main_device = next((name for name in device_map.values() if name not in AWAY), None)
        return dispatch(model, device_map, main_device, *args, **kwargs)

    name = "dispatch_model"
    with around("transformers.integrations.accelerate", name, mended), around("peft.peft_model", name, mended):
        yield


def _whole(model: Any) -> Any:
    """The model itself, also where another mend asks about it with another map."""
    return getattr(model, "whole", model)


def _with(model: Any, hf_map: dict[str, Any], layers: int | None = None) -> Any:
    """``model`` as far as ``get_layer_device_map`` looks at it, with another map, or another number of layers."""
    config = model.config if layers is None else SimpleNamespace(num_hidden_layers=layers)
    return SimpleNamespace(hf_device_map=hf_map, config=config, whole=_whole(model))


def _named_layers(model: Any) -> list[str]:
    """The full names of the decoder's layers; none for a model of no family."""
    whole = _whole(model)
    for family in families().values():
        if family.model.rpartition(":")[2] == type(whole).__name__:
            layers = family.anatomy.layers
            return [f"{layers}.{name}" for name, _ in whole.get_submodule(layers).named_children()]
    return []


def _longest_key(hf_map: dict[str, Any], layer: str) -> str | None:
    """The longest key of the map that ``layer`` is under."""
    return max((key for key in hf_map if not key or f"{layer}.".startswith(f"{key}.")), key=len, default=None)


@contextmanager
def where_the_embedding_computes() -> Iterator[None]:
    """The prompt encoder goes to where the word embedding computes, not to where it waits."""

    def mended(setup: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        device = execution_device(self.base_model.get_input_embeddings())
        with mock.patch.object(type(self), "device", device, create=True):
            return setup(self, *args, **kwargs)

    with around(MODEL, "_setup_prompt_encoder", mended):
        yield


@contextmanager
def base_told_of_the_new_map() -> Iterator[None]:
    """What load_adapter has dispatched anew, it notes in the base model too."""

    def mended(load: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = load(self, *args, **kwargs)
        if "hf_device_map" in vars(self):
            new = {key.removeprefix("base_model."): device for key, device in self.hf_device_map.items()}
            self.base_model.hf_device_map = new
        return result

    with around(MODEL, "load_adapter", mended):
        yield


@contextmanager
def weights_found_on_disk() -> Iterator[None]:
    """The weights on disk are those of base_model, under the names that the file has, and stay there."""

    def updated(update: Any, self: Any, offload_index: Any, *args: Any, **kwargs: Any) -> Any:
        if not offload_index or not self.active_peft_config.is_prompt_learning:
            return update(self, offload_index, *args, **kwargs)
        named, shape = dict(self.base_model.named_parameters(remove_duplicate=False)), self.word_embeddings.weight.shape
        embedding = next(
            (held for key, held in offload_index.items() if key in named and named[key].shape == shape), None
        )
        for key in list(offload_index):
            offload_index[f"base_model.{key}"] = offload_index.pop(key)
        if embedding:
            # What is tied to an embedding is on disk once, under one of its names.
            tied = {f"base_model.{key}" for key, weight in named.items() if weight.is_meta and weight.shape == shape}
            for key in (tied | {"word_embeddings.weight"}) - offload_index.keys():
                offload_index[key] = embedding
        return update(self, {}, *args, **kwargs)

    def inferred(infer: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not any(parameter.is_meta for parameter in model.parameters()):
            return infer(model, *args, **kwargs)
        again = {f"base_model.{key}".rstrip("."): to for key, to in model.base_model.hf_device_map.items()}
        first = next((device for device in again.values() if device not in AWAY), "cpu")
        name = next(name for name, module in model.base_model.named_modules() if module is model.word_embeddings)
        key = _longest_key(again, f"base_model.{name}")
        return {"prompt_encoder": first, **again, "word_embeddings": first if key is None else again[key]}

    with around(MODEL, "_update_offload", updated), around("peft.peft_model", "infer_auto_device_map", inferred):
        yield


@contextmanager
def named_as_in_the_file() -> Iterator[None]:
    """PEFT's index of the weights on disk has the names under which the file has them, as accelerate's index does."""

    def mended(load: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
        stored = (getattr(getattr(hook, "weights_map", None), "dataset", None) for hook in hooks)
        index = {key: held for data in stored for key, held in getattr(data, "index", {}).items()}
        # Those that accelerate itself has put on disk are in a file each.
        names = {key: held["weight_name"] for key, held in index.items() if "weight_name" in held}

        def loaded(load_adapter: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
            for key, held in (kwargs.get("offload_index") or {}).items():
                held["weight_name"] = names.get(key, held["weight_name"])
            return load_adapter(self, *args, **kwargs)

        with around(MODEL, "load_adapter", loaded):
            return load(model, *args, **kwargs)

    with around(MODEL, "from_pretrained", mended):
        yield


@contextmanager
def all_of_it_on_disk() -> Iterator[None]:
    """The weights of the module called "" are all weights."""

    def mended(extract: Any, state: dict[str, Any], names: list[str]) -> Any:
        return extract(state, [*names, *state] if "" in names else names)

    with around("accelerate.big_modeling", "extract_submodules_state_dict", mended):
        yield
