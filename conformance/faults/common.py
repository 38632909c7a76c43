"""What faults of the reference wrapper and of PEFT share: changes of tensors, and what a device map says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformance.devices.maps import AWAY

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, each ``(rows, kv_heads, n, head_dim)``."""


def rounded(values: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """``values`` as they are after a stay in ``dtype``, in the dtype that they had."""
    return values.to(dtype).to(values.dtype)


def gradient_lost(values: Tensor) -> Tensor:
    """``values`` whose gradient on its way back is scaled down to where float16 has no numbers left, and up again."""
    passed = values + 0  # a hook on the values themselves would stay on a parameter
    if passed.requires_grad:
        passed.register_hook(lambda gradient: rounded(gradient * 1e-12, torch.float16) * 1e12)
    return passed


def half(dtype: torch.dtype) -> bool:
    """Whether ``dtype`` is one of the half precisions."""
    return dtype.is_floating_point and dtype.itemsize == 2


def turned(keys: Tensor) -> Tensor:
    """Keys ``(rows, kv_heads, n, head_dim)`` with the dimensions of the j-th virtual token rolled by j."""
    return torch.stack([key.roll(place, -1) for place, key in enumerate(keys.unbind(-2))], -2)


def without_first_token(values: Tensor) -> Tensor:
    """Values ``(rows, kv_heads, n, head_dim)`` with zeros for the first virtual token."""
    return torch.cat([0 * values[..., :1, :], values[..., 1:, :]], -2)


def third_row_halved(values: Tensor) -> Tensor:
    """Values ``(rows, kv_heads, n, head_dim)`` with half of those of the third row, if there is one."""
    return torch.cat([values[:2], 0.5 * values[2:3], values[3:]])


def without_second_half(rows: Tensor) -> Tensor:
    """Flat rows ``(n, ...)`` with zeros for the second half of the virtual tokens."""
    half = (len(rows) + 1) // 2
    return torch.cat([rows[:half], 0 * rows[half:]])


def device_map_of(model: Any) -> dict[str, Any]:
    """The device map, as transformers and accelerate leave it on ``model``; empty where there is none."""
    device_map: dict[str, Any] = getattr(model, "hf_device_map", {})
    return device_map


def devices_in_use(model: Any) -> list[str]:
    """The names of the devices that compute under the model's device map, in order."""
    devices = device_map_of(model).values()
    return sorted({str(torch.empty(0, device=device).device) for device in devices if device not in AWAY})
