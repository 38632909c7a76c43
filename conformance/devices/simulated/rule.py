"""Which devices the operands of one operation may lie on: torch's rule for CUDA, in torch's words. Knows no simulation.

Three mechanisms of ATen decide: ``TensorIterator`` (pointwise operations; takes one 0-dim tensor of the CPU), the check
that is generated for every other kernel (takes nothing), and a few operations that fetch or move operands themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from conformance.devices.simulated.devices import HOST


class DeviceMismatch(RuntimeError):
    """Operands of one operation lie on different devices. A ``RuntimeError``, as torch's own."""


class Operand(NamedTuple):
    """One tensor operand: the schema's name of its argument, where it lies, and whether the operation writes it."""

    argument: str
    device: torch.device
    dim: int
    written: bool = False


class Law(NamedTuple):
    """What an operation allows besides operands on one device.

    ``moves``: data may cross. ``fetched``: 0-dim operands of these arguments may lie anywhere, their value is fetched.
    ``hosted``: these may lie on the CPU, whatever their shape. ``scalar``: one 0-dim operand may lie on the CPU.
    """

    moves: bool = False
    fetched: frozenset[str] = frozenset()
    hosted: frozenset[str] = frozenset()
    scalar: bool = False


STRICT, SCALAR, MOVES = Law(), Law(scalar=True), Law(moves=True)
_VALUE = Law(fetched=frozenset({"value"}))
_INDEX = Law(hosted=frozenset({"indices"}), fetched=frozenset({"values"}))
_BY_NAME = {
    **dict.fromkeys(("copy_", "copy", "_to_copy", "_copy_from", "_copy_from_and_resize"), MOVES),
    # They read the value with item().
    **dict.fromkeys(("fill_", "fill", "masked_fill", "masked_fill_", "index_fill", "index_fill_"), _VALUE),
    # They move indices of the CPU, and a single value.
    **dict.fromkeys(("index", "_unsafe_index", "index_put", "index_put_"), _INDEX),
    **dict.fromkeys(("_index_put_impl_", "_unsafe_index_put", "index_out", "index_put_out"), _INDEX),
    # It moves every 0-dim operand to the device of the result.
    **dict.fromkeys(("where", "where_out"), Law(fetched=frozenset({"condition", "self", "other"}))),
    # Pointwise, but their iterators are not told to take scalars of the CPU.
    **dict.fromkeys(("clamp", "clamp_", "clamp_out", "clip", "clip_"), STRICT),
    # Iterators without the tag.
    **dict.fromkeys(("mse_loss", "smooth_l1_loss", "huber_loss", "addr"), SCALAR),
}


@cache
def law_of(overload: OpOverload) -> Law:
    """The law of ``overload``."""
    name = overload._schema.name.removeprefix("aten::")
    if name in _BY_NAME:
        return _BY_NAME[name]
    return SCALAR if torch.Tag.pointwise in overload.tags else STRICT


def common_device(overload: OpOverload, operands: Sequence[Operand]) -> torch.device | None:
    """The device on which ``overload`` runs, ``None`` without operands. Raises :class:`DeviceMismatch`."""
    law = law_of(overload)
    voters = [
        it for it in operands if it.argument not in law.hosted and not (it.dim == 0 and it.argument in law.fetched)
    ]
    common = _first(voters or operands)
    if common is None or law.moves:
        return common
    spare = law.scalar
    for operand in voters:
        if operand.device == common:
            continue
        if not (spare and operand.device == HOST and operand.dim == 0 and not operand.written):
            raise DeviceMismatch(_sentence(overload, operand, common, operands))
        spare = False
    for operand in operands:
        if operand.argument in law.hosted and operand.device not in (common, HOST):
            raise DeviceMismatch(
                f"indices should be either on cpu or on the same device as the indexed tensor ({common})"
            )
    return common


def _first(operands: Sequence[Operand]) -> torch.device | None:
    found = [operand.device for operand in operands]
    return next((device for device in found if device != HOST), found[0] if found else None)


def _sentence(overload: OpOverload, odd: Operand, common: torch.device, operands: Sequence[Operand]) -> str:
    if odd.argument == "mask" or (operands[1:] and operands[1].argument == "mask" and "masked_fill" in str(overload)):
        places = {operand.argument: operand.device for operand in operands}
        return f"expected self and mask to be on the same device, but got mask on {places['mask']} and self on {places['self']}"
    return (
        f"Expected all tensors to be on the same device, but found at least two devices, {common} and {odd.device}! "
        f"(when checking argument for argument {odd.argument} in method {overload})"
    )


_SENTENCES = re.compile(
    r"[Ee]xpected .{1,40} to (be on|have) (the )?same device|same device as the indexed tensor|not at the same device"
)


def is_mismatch(error: BaseException) -> bool:
    """Whether torch said, on any backend, that operands lie on different devices.

    A few composite operations look for themselves, attention among them, and raise torch's error instead of ours.
    """
    return isinstance(error, RuntimeError) and bool(_SENTENCES.search(str(error)))


def operands_of(overload: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Operand]:
    """The tensor operands of a call, in the schema's order; the tensors of a list are operands of one argument."""
    found: list[Operand] = []
    for position, argument in enumerate(overload._schema.arguments):
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        written = argument.alias_info is not None and argument.alias_info.is_write
        found.extend(Operand(argument.name, it.device, it.dim(), written) for it in _tensors(value))
    return found


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
