"""Files and simulated devices: there is no storage there, so what is read and written goes over the CPU.

torch would dereference the missing storage and crash; safetensors knows no such device, or reads at its address.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch
from safetensors import safe_open as _safe_open
from torch import Tensor

from conformance.devices.simulated.devices import GOAL, SIMULATED, simulated
from conformance.devices.simulated.tensor import SimulatedTensor, rebuilt


def install() -> None:
    """Replace readers and writers. Once a process."""
    import safetensors
    import safetensors.torch

    torch.serialization.add_safe_globals([rebuilt])
    torch.serialization.register_package(1, lambda storage: None, _refuse)
    torch.load = torch.serialization.load = _loader(torch.load)
    _replace(safetensors.torch.load_file, _file_loader(safetensors.torch.load_file))
    _replace(safetensors.safe_open, Opened)
    for save in (safetensors.torch.save_file, safetensors.torch.save):
        _replace(save, _saver(save))


def _replace(old: Any, new: Any) -> None:
    """In every module that has ``old`` under some name: they import it by name, before or after."""
    for owner, module in list(sys.modules.items()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is old and owner != __name__:
                setattr(module, name, new)


def _refuse(storage: Any, location: str) -> None:
    if location.partition(":")[0] == SIMULATED.kind and simulated(location):
        raise RuntimeError(f"a storage cannot lie on the simulated device {location}")


def _loader(real: Any) -> Any:
    @functools.wraps(real)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        token = GOAL.set(map_location)
        place = simulated(map_location) if isinstance(map_location, (str, torch.device)) else None
        try:
            found = real(f, "cpu" if place else map_location, *args, **kwargs)
        finally:
            GOAL.reset(token)
        return _moved(found, place) if place else found

    return load


def _moved(found: Any, place: torch.device) -> Any:
    from torch.utils._pytree import tree_map

    return tree_map(lambda value: value.to(place) if isinstance(value, Tensor) else value, found)


def _file_loader(real: Any) -> Any:
    @functools.wraps(real)
    def load_file(filename: Any, device: Any = "cpu", **kwargs: Any) -> dict[str, Tensor]:
        place = simulated(device)
        found: dict[str, Tensor] = real(filename, device="cpu" if place else device, **kwargs)
        return {name: value.to(place) for name, value in found.items()} if place else found

    return load_file


def _saver(real: Any) -> Any:
    @functools.wraps(real)
    def save(tensors: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        # The data itself and no copy: it must still show which tensors share memory.
        held = {name: it.payload if isinstance(it, SimulatedTensor) else it for name, it in tensors.items()}
        return real(held, *args, **kwargs)

    return save


class Opened:
    """``safetensors.safe_open`` whose tensors go to a simulated device."""

    def __init__(self, filename: Any, framework: str, device: Any = "cpu", **options: Any) -> None:
        self._place = simulated(device)
        self._file: Any = _safe_open(filename, framework, device="cpu" if self._place else device, **options)

    def __enter__(self) -> Opened:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def get_tensor(self, name: str) -> Any:
        """The tensor, on the device that was asked for."""
        found = self._file.get_tensor(name)
        return found.to(self._place) if self._place else found
