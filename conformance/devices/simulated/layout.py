"""How operands lie in memory. It decides the last bits of a result, and a copy to another device changes it.

The CPU's kernels add in an order that depends on their operands' strides and, in MKL, on the address modulo a cache line: a
slice that is moved is packed, begins at a fresh address, and the product with it ends otherwise than the slice's own. Such a
difference would be the simulation's, not the model's. So every kernel gets its operands as a copy would lay them out,
whether they were copied or not. Then its result depends on the operands' values and on nothing else, and an answer has the same
bits under every device map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

LINE = 64
"""Bytes; torch's own allocator begins every tensor of the CPU at a multiple of it."""

_dense = torch.ops.aten.is_non_overlapping_and_dense.default


def reads_only(func: OpOverload) -> bool:
    """Whether ``func`` makes something new of its operands' values: it writes none of them, and gives no view of one."""
    results = func._schema.returns
    return not func._schema.is_mutable and all(result.alias_info is None for result in results)


def as_copied(value: Any) -> Any:
    """``value``, or a copy of it if a copy would lie otherwise. Copies of a dense tensor keep its strides."""
    if isinstance(value, Tensor):
        if value.data_ptr() % LINE == 0 and (value.is_contiguous() or _dense(value)):
            return value
        return value.clone()
    return [as_copied(item) for item in value] if type(value) is list else value
