"""Each shipped known failure of a placed model still fails, and a patch of the function it names turns it green."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from conformance.clauses import clauses
from conformance.compat.versions import versions
from conformance.core.outcome import Outcome
from conformance.devices.maps import AWAY
from conformance.devices.place_model import execution_device
from conformance.engine import known
from conformance.engine.controls import confirm, run_with_control
from conformance.engine.known import KnownFailure
from conformance.families import families
from conformance.runs.lab import Lab

ALL = known.load(known.shipped())
ENTRIES = {entry.id: entry for entry in ALL if entry.applies(versions()) and entry.case.placed}

Ask = Callable[[Any], dict[int, Any]]
Mend = Callable[[Any, Ask], dict[int, Any]]


@contextmanager
def _asked(mended: Mend) -> Iterator[None]:
    """``get_layer_device_map``, which ``mended`` may ask."""
    from peft.utils import integrations

    original: Any = vars(integrations)["get_layer_device_map"]
    with mock.patch.object(integrations, "get_layer_device_map", lambda model: mended(model, original)):
        yield


def _with(model: Any, hf_map: dict[str, Any], layers: int | None = None) -> Any:
    """``model`` as far as ``get_layer_device_map`` looks at it, with another map, or another number of layers."""
    config = model.config if layers is None else SimpleNamespace(num_hidden_layers=layers)
    whole = getattr(model, "whole", model)
    return SimpleNamespace(hf_device_map=hf_map, config=config, whole=whole)


def _named_layers(model: Any) -> list[str]:
    """The full names of the decoder's layers."""
    whole = getattr(model, "whole", model)
    layers = next(family.anatomy.layers for family in families().values() if family.model == type(whole).__name__)
    return [f"{layers}.{name}" for name, _ in whole.get_submodule(layers).named_children()]


def _of_its_own(hf_map: dict[str, Any], layer: str) -> Any:
    """The device of ``layer``: that of the longest key that it is under."""
    return hf_map[max((key for key in hf_map if not key or f"{layer}.".startswith(f"{key}.")), key=len)]


@contextmanager
def keys_above() -> Iterator[None]:
    """A layer that no key names has the device of the key above it."""

    def mended(model: Any, ask: Ask) -> dict[int, Any]:
        hf_map = model.hf_device_map
        return ask(_with(model, hf_map | {layer: _of_its_own(hf_map, layer) for layer in _named_layers(model)}))

    with _asked(mended):
        yield


@contextmanager
def keys_of_other_layers() -> Iterator[None]:
    """Of the keys with a number, those of the decoder's layers decide: they come last."""

    def mended(model: Any, ask: Ask) -> dict[int, Any]:
        hf_map, own = model.hf_device_map, set(_named_layers(model))
        return ask(_with(model, dict(sorted(hf_map.items(), key=lambda item: item[0] in own))))

    with _asked(mended):
        yield


@contextmanager
def own_layers_counted() -> Iterator[None]:
    """As many layers have a device as the decoder has; the surplus, which nobody computes, may be anywhere."""

    def mended(model: Any, ask: Ask) -> dict[int, Any]:
        mapped = ask(_with(model, model.hf_device_map, layers=len(_named_layers(model))))
        return dict.fromkeys(range(model.config.num_hidden_layers), mapped[0]) | mapped

    with _asked(mended):
        yield


@contextmanager
def nowhere_but_the_cpu() -> Iterator[None]:
    """Where the map has no device, the CPU computes."""

    def mended(model: Any, ask: Ask) -> dict[int, Any]:
        hf_map = model.hf_device_map
        return ask(_with(model, {"": "cpu:0"} if set(hf_map.values()) <= set(AWAY) else hf_map))

    with _asked(mended):
        yield


@contextmanager
def told_by_the_hook() -> Iterator[None]:
    """The main device is the one that accelerate gave to the whole model's hook."""

    def mended(model: Any, ask: Ask) -> dict[int, Any]:
        hook = getattr(getattr(model, "whole", model), "_hf_hook", None)
        main = getattr(hook, "execution_device", None)
        return ask(_with(model, ({} if main is None else {"main": main}) | model.hf_device_map))

    with _asked(mended):
        yield


@contextmanager
def where_the_embedding_computes() -> Iterator[None]:
    """The prompt encoder goes to where the word embedding computes, not to where it waits."""
    from peft import PeftModel

    original: Any = PeftModel._setup_prompt_encoder

    def mended(self: Any, adapter_name: str) -> None:
        device = execution_device(self.base_model.get_input_embeddings())
        with mock.patch.object(PeftModel, "device", device, create=True):
            original(self, adapter_name)

    with mock.patch.object(PeftModel, "_setup_prompt_encoder", mended):
        yield


@contextmanager
def base_told_of_the_new_map() -> Iterator[None]:
    """What load_adapter has dispatched anew, it notes in the base model too."""
    from peft import PeftModel

    original: Any = PeftModel.load_adapter

    def mended(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if "hf_device_map" in vars(self):
            new = {key.removeprefix("base_model."): device for key, device in self.hf_device_map.items()}
            self.base_model.hf_device_map = new
        return result

    with mock.patch.object(PeftModel, "load_adapter", mended):
        yield


@contextmanager
def weights_found_on_disk() -> Iterator[None]:
    """The weights on disk are those of base_model, under the names that the file has, and stay there."""
    from peft import PeftModel, peft_model

    infer: Any = vars(peft_model)["infer_auto_device_map"]

    def updated(self: Any, offload_index: Any, adapters_weights: Any) -> None:
        for key in list(offload_index or ()):
            offload_index[f"base_model.{key}"] = offload_index.pop(key)

    def inferred(model: Any, **arguments: Any) -> Any:
        if not any(parameter.is_meta for parameter in model.parameters()):
            return infer(model, **arguments)
        again = {f"base_model.{key}": device for key, device in model.base_model.hf_device_map.items()}
        first = next(iter(again.values()))
        return {"prompt_encoder": first, **again, "word_embeddings": first}

    with (
        mock.patch.object(PeftModel, "_update_offload", updated),
        mock.patch.object(peft_model, "infer_auto_device_map", inferred),
    ):
        yield


MENDED: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "map-keys-above-the-layers": keys_above,
    "map-keys-of-other-layers": keys_of_other_layers,
    "map-counts-the-encoders-layers": own_layers_counted,
    "map-without-a-device": nowhere_but_the_cpu,
    "map-whose-first-device-is-not-the-main-one": told_by_the_hook,
    "prompt-encoder-without-data": where_the_embedding_computes,
    "old-map-after-loading": base_told_of_the_new_map,
    "disk-index-of-another-wrapper": weights_found_on_disk,
}


def test_every_entry_has_its_proof_whatever_is_installed() -> None:
    assert {entry.id for entry in ALL if entry.case.placed} == set(MENDED)
    assert ENTRIES


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_it_still_fails_and_is_matched_by_its_entry_and_by_no_other(entry: KnownFailure) -> None:
    lab, clause = Lab(), clauses()[entry.clause]
    example = confirm(clause, lab, run_with_control(clause, lab, entry.case))
    assert example.outcome is Outcome.VIOLATES
    assert example.finding is not None
    assert [other.id for other in ALL if other.matches(example.finding)] == [entry.id]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_mending_the_named_function_turns_its_case_green(
    entry: KnownFailure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with MENDED[entry.id]():
        example = run_with_control(clauses()[entry.clause], Lab(), entry.case)
    assert example.outcome is Outcome.CONFORMS, example.reason or example.finding


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_mending_everything_else_does_not(entry: KnownFailure) -> None:
    with ExitStack() as stack:
        for other, mend in MENDED.items():
            if other != entry.id:
                stack.enter_context(mend())
        example = run_with_control(clauses()[entry.clause], Lab(), entry.case)
    assert example.outcome is Outcome.VIOLATES
