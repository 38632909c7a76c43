"""accelerate, transformers and PEFT, unmodified, on several devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft.peft_model
import pytest
import torch
from accelerate import dispatch_model
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.devices.simulated.rule import DeviceMismatch
from conformance.devices.simulated.transfers import transfers
from conformance.families import family_named, flagships
from conformance.families.build import build
from conformance.families.inputs import request
from conformance.methods.prefix_tuning import PREFIX_TUNING
from conformance.runs.makers import PeftSubject

Names = tuple[str, ...]
ROLES = Roles(layers=3, heads=2, kv_heads=2, head_dim=8, width=16, ffn=16)
CASE = Case(
    family="llama", roles=ROLES, prefix=Prefix(length=3), rows=(Row(length=4), Row(length=2, seed=1)), new_tokens=4
)
LAYERS = ("model.layers.0", "model.layers.1", "model.layers.2")
OTHERS = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head")


def placed(devices: Names) -> dict[str, str]:
    """Everything on the first device but one layer on each."""
    return {**dict.fromkeys(OTHERS, devices[0]), **dict(zip(LAYERS, devices, strict=True))}


def dispatched(where: dict[str, Any]) -> Any:
    base: Any = build(CASE)
    return dispatch_model(base, where, main_device=where[OTHERS[0]], skip_keys=base._skip_keys_device_placement)


def prefixed(base: Any) -> Any:
    model = get_peft_model(base, PREFIX_TUNING.peft_config(CASE, family_named(CASE.family))).eval()
    with torch.no_grad():
        for name, parameter in model.prompt_encoder[model.active_adapter].named_parameters():
            parameter.copy_(PREFIX_TUNING.draw(CASE, name, tuple(parameter.shape)))
    return model


@torch.no_grad()
def answer(model: Any, **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
    given = request(CASE, family_named(CASE.family))
    found = model.generate(**given, max_new_tokens=4, return_dict_in_generate=True, output_logits=True, **more)
    return found.sequences.cpu(), torch.stack([step.cpu() for step in found.logits])


def assert_right(model: Any, **more: Any) -> None:
    tokens, logits = answer(model, **more)
    expected_tokens, expected_logits = answer(prefixed(build(CASE)), **more)
    assert torch.equal(tokens, expected_tokens)
    # Not bit by bit: the CPU's kernels see slices that the devices' kernels see packed.
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(flagships()))
def test_on_one_device_every_family_answers_as_on_the_cpu(devices: Names, name: str) -> None:
    kind = family_named(name)
    space = kind.draw
    roles = Roles(
        layers=2,
        encoder_layers=2 if kind.encoder_decoder else 0,
        heads=2,
        kv_heads=2,
        width=2 * space.head_dim[0],
        head_dim=space.head_dim[0],
        ffn=16,
        activation=space.activation[0] if space.activation else "",
        rope=space.rope[0] if space.rope else "",
        rotary=space.rotary[0] if space.rotary else 0,
        window=space.windows[0] if space.windows and any(space.sliding[0]) else 0,
        sliding=space.sliding[0],
    )
    case = Case(family=name, roles=roles, prefix=Prefix(length=2), rows=(Row(length=3), Row(length=2)), new_tokens=4)
    logits = []
    for device in ("cpu", devices[1]):
        subject = PeftSubject(case)
        subject.fill(lambda name, shape: PREFIX_TUNING.draw(case, name, shape))
        subject.model.to(device)
        given = {name: value.to(device) for name, value in request(case, kind).items()}
        with torch.no_grad():
            logits.append(torch.stack([it.cpu() for it in subject.generate(**given, max_new_tokens=4).logits]))
    # Not bit by bit: the CPU's kernels see slices that the devices' kernels see packed.
    torch.testing.assert_close(*logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("others", range(3))
def test_a_model_over_three_devices_has_the_bits_of_one(backend: Names, others: int) -> None:
    apart = {**placed(backend), **dict.fromkeys(OTHERS, backend[others]), "lm_head": backend[others - 1]}
    tokens, logits = answer(prefixed(dispatched(apart)))
    expected_tokens, expected = answer(prefixed(dispatched(placed((backend[0],) * 3))))
    assert torch.equal(tokens, expected_tokens)
    assert torch.equal(logits, expected)


def test_a_model_over_three_devices_answers_as_on_the_cpu(devices: Names) -> None:
    model = prefixed(dispatched(placed(devices)))
    with transfers() as seen:
        assert_right(model)
    assert all(seen.crossed[a, b].tensors for a, b in itertools.pairwise(devices))


@pytest.mark.parametrize("more", [{"num_beams": 3}, {"use_cache": True, "num_return_sequences": 2, "num_beams": 2}])
def test_beams_answer_as_on_the_cpu(devices: Names, more: dict[str, Any]) -> None:
    model = prefixed(dispatched(placed(devices)))
    assert torch.equal(answer(model, **more)[0], answer(prefixed(build(CASE)), **more)[0])


def test_inference_mode_answers_as_on_the_cpu(devices: Names) -> None:
    model = prefixed(dispatched(placed(devices)))
    with torch.inference_mode():
        assert_right(model)


def test_training_over_three_devices_has_the_gradient_of_the_cpu(devices: Names) -> None:
    def gradient(model: Any) -> torch.Tensor:
        given = request(CASE, family_named(CASE.family))
        model.train()(**given, labels=given["input_ids"]).loss.backward()
        found: torch.Tensor = model.prompt_encoder.default.embedding.weight.grad
        return found.cpu()

    torch.testing.assert_close(gradient(prefixed(dispatched(placed(devices)))), gradient(prefixed(build(CASE))))


def test_a_cache_that_stays_on_one_device_is_a_mismatch(devices: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    model = prefixed(dispatched(placed(devices)))
    monkeypatch.setattr(peft.peft_model, "map_cache_to_layer_device_map", lambda *arguments: None)
    with pytest.raises(DeviceMismatch, match="Expected all tensors to be on the same device"):
        answer(model)
    monkeypatch.undo()
    assert_right(model)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(CASE).save_pretrained(tmp_path / "base")  # type: ignore[operator]
    return tmp_path / "base"


Loader = Callable[..., Any]


@pytest.fixture
def load(folder: Path) -> Loader:
    def loaded(where: Any, **more: Any) -> Any:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, device_map=where, **more)
        model.generation_config = build(CASE).generation_config
        return model

    return loaded


def test_from_pretrained_follows_a_map(devices: Names, load: Loader) -> None:
    model = load(placed(devices))
    found = [str(layer.self_attn.q_proj.weight.device) for layer in model.model.layers]
    assert found == list(devices)
    assert_right(prefixed(model))


@pytest.mark.parametrize("elsewhere", ["cpu", "disk"])
def test_layers_may_stay_on_the_cpu_or_on_disk(devices: Names, load: Loader, tmp_path: Path, elsewhere: str) -> None:
    # Two devices in all: for more, accelerate draws the main device from a set, and PEFT takes the map's first.
    where = {**dict.fromkeys((*OTHERS, *LAYERS), devices[1]), LAYERS[1]: elsewhere}
    assert_right(prefixed(load(where, offload_folder=tmp_path / "offloaded")))


@pytest.mark.parametrize("policy", ["auto", "balanced", "sequential"])
def test_a_policy_spreads_over_devices_whose_memory_is_given(backend: Names, load: Loader, policy: str) -> None:
    model = load(policy, max_memory=dict.fromkeys(range(len(backend)), 15000))
    assert len(set(model.hf_device_map.values())) > 1
    assert_right(prefixed(model))


def test_an_adapter_is_saved_from_and_loaded_onto_a_split_model(devices: Names, tmp_path: Path) -> None:
    prefixed(dispatched(placed(devices))).save_pretrained(tmp_path)
    for base in (build(CASE), dispatched(placed(devices))):
        assert_right(PeftModel.from_pretrained(base, str(tmp_path)).eval())
