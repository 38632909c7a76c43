"""A base model -> the same model where its Case says: through accelerate's and transformers' own functions."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from conformance.compat.loading import from_pretrained_arguments
from conformance.core.case import Case, base_of
from conformance.devices.current import current
from conformance.devices.maps import AWAY, device_map, main_device
from conformance.families import Family
from conformance.families.build import build, plain_generation


def place_model(model: nn.Module, case: Case, family: Family) -> nn.Module:
    """``model``, or another one with its weights, placed as ``case`` says; itself where nobody places it."""
    if not case.placed:
        return model
    if case.placement.way == "dispatched":
        return _dispatched(model, case, family)
    return _pretrained(model, case, family)


def _dispatched(model: Any, case: Case, family: Family) -> nn.Module:
    from accelerate import dispatch_model

    found = device_map(model, family.anatomy.layers, case.placement, current().names)
    folder = temporary_folder()
    before = [parameter.detach() for parameter in model.parameters()]
    placed: nn.Module = dispatch_model(
        model,
        found,
        main_device=main_device(found),
        offload_dir=folder.name,
        skip_keys=getattr(model, "_skip_keys_device_placement", None),
    )
    # accelerate tells tied weights by the address that they had on the CPU: given back, a weight read from disk may get it.
    placed._before = before  # type: ignore[assignment]
    return keeping(folder, placed)


def _pretrained(model: Any, case: Case, family: Family) -> nn.Module:
    asked: dict[str, Any]
    if case.placement.automatic:
        asked = {"device_map": case.placement.way, "max_memory": memory(model, case.placement.memory, current().names)}
    else:
        asked = {"device_map": device_map(model, family.anatomy.layers, case.placement, current().names)}
    saved, folder = _saved(base_of(case)), temporary_folder()
    loaded = type(model).from_pretrained(
        saved.name, offload_folder=folder.name, **from_pretrained_arguments(case.dtype, case.attention), **asked
    )
    loaded.eval().requires_grad_(False)
    plain_generation(loaded, family)
    loaded._saved = saved  # weights that wait on disk are read from there
    return keeping(folder, loaded)


@lru_cache(maxsize=128)
def _saved(case: Case) -> tempfile.TemporaryDirectory[str]:
    """A folder that holds the base model of ``case``, for as long as somebody holds the folder."""
    folder = temporary_folder()
    model: Any = build(case)
    model.save_pretrained(folder.name)
    return folder


def memory(model: nn.Module, shares: tuple[int, ...], names: Sequence[str]) -> dict[int | str, int]:
    """How much each of the devices ``names`` holds, in bytes, for ``shares`` in percent of the model, one a device.

    What is left waits on the CPU; where that is the device itself, on disk.
    """
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    held: dict[int | str, int] = {
        name if name in AWAY else torch.device(name).index: size * share // 100
        for name, share in zip(names, shares, strict=False)
    }
    return {"cpu": 4 * size} | held


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of this project's, removed when it is closed or forgotten."""
    return tempfile.TemporaryDirectory(prefix="conformance-")


def keeping(folder: tempfile.TemporaryDirectory[str], model: nn.Module) -> nn.Module:
    """Weights on disk are read from the folder as long as the model lives."""
    weakref.finalize(model, folder.cleanup)
    return model


def execution_device(module: nn.Module) -> torch.device:
    """Where ``module`` computes: what accelerate's hooks say, or where its weights are."""
    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        # Of several hooks, as on a part that was dispatched twice, the last one moves what comes in.
        for inner in (*reversed(getattr(hook, "hooks", ())), hook):
            device = getattr(inner, "execution_device", None)
            if device is not None:
                return torch.device(device)
    held = (tensor.device for tensor in (*module.parameters(), *module.buffers()) if tensor.device.type != "meta")
    return next(held, torch.device("cpu"))


def input_device(model: Any) -> torch.device:
    """Where the user puts the inputs: where the word embedding computes."""
    return execution_device(model.get_input_embeddings())
