"""LoRA by hand: low-rank changes of every linear layer of a decoder, and the base model with them merged into its weights.

Source: Hu et al. 2021 (arXiv:2106.09685). With ``alpha`` as large as the rank the change is B A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from conformance.families.weights import near, normal_numbers

if TYPE_CHECKING:
    from conformance.families import Family

RANK = 1


def adapted(model: nn.Module, family: Family) -> dict[str, Any]:
    """The linear layers of the decoder's layers, by their names in ``model``."""
    found = model.get_submodule(family.anatomy.layers).named_modules(prefix=family.anatomy.layers)
    return {name: module for name, module in found if isinstance(module, nn.Linear) or _turned(module)}


def _turned(module: nn.Module) -> bool:
    """Whether it is the linear layer of GPT-2, whose weights are ``(in, out)``."""
    return type(module).__name__ == "Conv1D"


def parts(name: str, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """A ``(rank, in)`` and B ``(out, rank)`` for the layer called ``name``, of ``size`` (out, in)."""
    out, read = size
    down = normal_numbers(seed, f"lora/{name}/A", (RANK, read)) * near(read**-0.5)
    return down, normal_numbers(seed, f"lora/{name}/B", (out, RANK)) / 2


@torch.no_grad()
def merge(model: nn.Module, family: Family, seed: int) -> None:
    """Add to each weight what LoRA would add to what it computes."""
    for name, module in adapted(model, family).items():
        turned = _turned(module)
        weight = module.weight.T if turned else module.weight
        down, up = parts(name, tuple(weight.shape), seed)
        weight.add_(up @ down)
