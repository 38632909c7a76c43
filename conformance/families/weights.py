"""Weights that show errors: re-drawn, exact in every dtype, the same on every platform and in every release.

Each number is a function of (seed, neutral parameter name, index) and a dyadic rational of few bits. torch's own random
streams would depend on the size of the tensor; and the usual initial scale of 0.02 makes logits so flat that errors hide.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from zlib import crc32

import torch
from torch import Tensor, nn

WRAPPERS = re.compile(r"^(model|transformer|gpt_neox|language_model)\.")
"""Containers that were put around or taken off the same parameters by releases of transformers."""

_MULTIPLIERS = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35)
_MASK = 0xFFFFFFFF


def neutral(name: str) -> str:
    """A parameter's name without the containers around it."""
    while WRAPPERS.match(name):
        name = WRAPPERS.sub("", name)
    return name


def counters(seed: int, name: str, size: int) -> Tensor:
    """``size`` 32-bit hashes of (seed, name, index), as int64. Murmur's finaliser."""
    x = torch.arange(size, dtype=torch.int64) * _MULTIPLIERS[0] + crc32(f"{seed}/{name}".encode())
    x = x & _MASK
    for shift, factor in ((16, _MULTIPLIERS[1]), (13, _MULTIPLIERS[2])):
        x = x ^ (x >> shift)
        # The product of two 32-bit numbers overflows int64; in 16-bit halves it does not.
        x = ((x & 0xFFFF) * factor + (((x >> 16) * factor & 0xFFFF) << 16)) & _MASK
    return x ^ (x >> 16)


@lru_cache(maxsize=4096)
def normal_numbers(seed: int, name: str, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """About N(0, 1) in float32: the sum of four 3-bit uniforms, in quarters, from -3.5 to 3.5; 5 significant bits.

    Remembered, since the same weights are built for several subjects of one Case: copy it, never change it.
    """
    bits = counters(seed, name, math.prod(shape))
    total = torch.stack([(bits >> shift) & 7 for shift in (3, 9, 15, 21)]).sum(0)
    return ((total - 14).to(torch.float32) / 4).reshape(shape)


def near(scale: float) -> float:
    """The power of two nearest to ``scale``: scaling by it loses no bit."""
    return 2.0 ** round(math.log2(scale))


@torch.no_grad()
def redraw(model: nn.Module, seed: int) -> None:
    """Give every parameter of ``model`` its drawn value, in place.

    Embeddings have standard deviation 1, matrices about 1 / sqrt(fan in), vectors are their constant initial value (1 for a
    norm's weight, 0 for a bias) plus 1/8 of a normal; gates initialised with zero are therefore open.
    """
    seen: set[int] = set()
    for path, module in model.named_modules():
        for short, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:  # tied: the first name counts, the embedding's
                continue
            seen.add(id(parameter))
            name = neutral(f"{path}.{short}" if path else short)
            parameter.copy_(_value(module, parameter, normal_numbers(seed, name, parameter.shape)))


def _value(module: nn.Module, parameter: Tensor, drawn: Tensor) -> Tensor:
    if isinstance(module, nn.Embedding):
        return drawn
    if parameter.numel() == max(parameter.shape, default=1):
        constant = bool((parameter == parameter.flatten()[0]).all())
        return (parameter if constant else torch.zeros_like(parameter)) + drawn.to(parameter.dtype) / 8
    transposed = type(module).__name__ == "Conv1D"
    fan_in = parameter.shape[0] if transposed else math.prod(parameter.shape[1:])
    return drawn * near(fan_in**-0.5)
