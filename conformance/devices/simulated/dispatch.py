"""One operation on simulated tensors: the device rule, the layout of its operands, the CPU's kernel, labels on the result.

Every operation of a model comes through here, a few thousand in one ``generate``: arguments are flattened by hand, what
depends on the operation only is found out once, and the rule is asked only where devices differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from conformance.devices.simulated import rule, transfers
from conformance.devices.simulated.devices import HOST, LABELS, simulated
from conformance.devices.simulated.layout import as_copied, reads_only
from conformance.devices.simulated.tensor import SimulatedTensor, wrap

WHOLE = ("linear", "matmul", "scaled_dot_product_attention", "layer_norm", "rms_norm", "einsum")
"""Composite operations that make new tensors from tensors on one device: where no gradient is needed, one call to the
CPU does what many parts would do, and with the kernels that it takes without simulation."""

PLAIN = frozenset({int, float, bool, type(None), str, torch.dtype, torch.Size, torch.layout, torch.memory_format})
"""Types of arguments that hold no tensor and no device."""


class Plan(NamedTuple):
    """What must be known about an operation; ``call`` is the operation on data."""

    call: Callable[..., Any]
    composite: bool
    writes: bool
    reads: bool
    moves: bool
    listed: bool


_PLANS: dict[OpOverload, Plan] = {}


def _plan(func: OpOverload) -> Plan:
    short = func._schema.name.removeprefix("aten::")
    key = "CompositeImplicitAutograd"
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key) and short not in WHOLE
    _PLANS[func] = Plan(
        # Straight to C++: what OpOverload adds is a third of the time of a small operation.
        call=func._op,
        composite=composite,
        writes=func._schema.is_mutable,
        reads=reads_only(func),
        moves=rule.law_of(func).moves,
        listed=short.startswith("_foreach"),
    )
    return _PLANS[func]


around_parts: Callable[[], Any] = nullcontext
"""What the parts of a composite operation need around them: the labelled lane's mode."""


def dispatch(func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run ``func``. Raises :class:`~conformance.devices.simulated.rule.DeviceMismatch`."""
    plan = _PLANS.get(func) or _plan(func)
    # The engine has one queue for all simulated devices and fails on the second one, unless backward stays in its thread.
    if torch._C._is_multithreading_enabled():
        torch._C._set_multithreading_enabled(False)
    if plan.composite:  # under inference_mode nothing has taken it apart yet
        with around_parts():
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
    places: list[torch.device] = []
    inner = [value if type(value) in PLAIN else _open(value, places) for value in args]
    named = {name: value if type(value) in PLAIN else _open(value, places) for name, value in kwargs.items()}
    home = places[0] if places else None
    if any(place is not home for place in places):
        if plan.listed and (steps := _steps(args)) > 1:
            return _one_by_one(func, steps, args, kwargs)
        home = _common(func, args, kwargs, home)
    if kwargs:
        home = _chosen(kwargs, named, home)
    if plan.moves:
        return _move(func, args, inner, named, home)
    result = _computed(plan, inner, named)
    return _closed_written(result, home, (*args, *kwargs.values())) if plan.writes else _closed(result, home)


def _computed(plan: Plan, inner: list[Any], named: dict[str, Any]) -> Any:
    if not plan.reads:
        return plan.call(*inner, **named)
    return plan.call(*map(as_copied, inner), **{name: as_copied(value) for name, value in named.items()})


def _common(
    func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any], first: torch.device | None
) -> torch.device | None:
    try:
        return rule.common_device(func, rule.operands_of(func, args, kwargs))
    except rule.DeviceMismatch as mismatch:
        if torch._C._current_graph_task_id() == -1:
            raise
        # Raised inside a backward kernel, it would meet the Python device guard on its way out and end the process.
        torch.autograd.Variable._execution_engine.queue_callback(_raiser(mismatch))
        return first


def _raiser(error: Exception) -> Callable[[], None]:
    def after_backward() -> None:
        raise error

    return after_backward


def _open(value: Any, places: list[torch.device]) -> Any:
    kind = type(value)
    if kind is SimulatedTensor:
        places.append(value.place)
        return value.payload
    if isinstance(value, Tensor):
        places.append(value.device)
    elif kind is list or kind is tuple:
        if value and type(value[0]) is int:  # a size
            return value
        return [_open(item, places) for item in value]
    elif kind is torch.device and simulated(value):
        return HOST
    return value


def _chosen(kwargs: dict[str, Any], named: dict[str, Any], home: torch.device | None) -> torch.device | None:
    """Where the result goes: factories, copies, ``*_like`` and ``new_*`` are told."""
    if named.get("pin_memory"):
        named["pin_memory"] = False
    asked = kwargs.get("device")
    return home if asked is None else simulated(asked) or torch.device(asked)


def _closed(result: Any, home: Any) -> Any:
    if isinstance(result, Tensor):
        place = LABELS.get(home)  # not for results on the CPU or on meta
        return result if place is None else wrap(result, place)
    if isinstance(result, (list, tuple)):
        return (
            type(result)(_closed(item, home) for item in result)
            if type(result) in (list, tuple)
            else tuple(_closed(item, home) for item in result)
        )
    return result


def _closed_written(result: Any, home: torch.device | None, given: Sequence[Any]) -> Any:
    """The caller's own tensors where the operation has written them."""
    if isinstance(result, Tensor):
        for wrapper in given:
            if type(wrapper) is SimulatedTensor and wrapper.payload is result:
                _follow(wrapper)
                return wrapper
            if wrapper is result:
                return wrapper
        return _closed(result, home)
    if isinstance(result, (list, tuple)):
        return tuple(_closed_written(item, home, given) for item in result)
    return result


def _follow(wrapper: SimulatedTensor) -> None:
    """After ``resize_``, ``t_``, ``squeeze_`` ... the wrapper's shape is that of its data again."""
    inner = wrapper.payload
    if wrapper.shape != inner.shape or wrapper.stride() != inner.stride():
        torch._C.TensorBase.data.__set__(wrapper, wrap(inner, wrapper.place))  # type: ignore[attr-defined]


def _move(
    func: OpOverload, args: Sequence[Any], inner: list[Any], named: dict[str, Any], home: torch.device | None
) -> Any:
    """Operations whose operands may lie on different devices: copies."""
    name = func._schema.name
    if name == "aten::_to_copy":
        if args[0].device.type == "meta" and home is not None and home.type != "meta":
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        transfers.note(inner[0], args[0].device, home or HOST)
        if home != args[0].device and (home is None or home.type != "meta"):
            named.pop("device", None)  # without a device it always copies: two devices share no memory
        return _closed(func._op(*inner, **named), home)
    if name == "aten::_copy_from":  # how torch.tensor(..., device=...) fills what it has made
        transfers.note(inner[0], args[0].device, args[1].device)
        inner[1].copy_(inner[0])
        return args[1]
    transfers.note(inner[1], args[1].device, args[0].device)
    result = func._op(*inner, **named)
    return args[0] if func._schema.is_mutable else _closed(result, args[0].device)


def _steps(args: Sequence[Any]) -> int:
    return max((len(value) for value in args if isinstance(value, (list, tuple))), default=0)


def _one_by_one(func: OpOverload, steps: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A ``_foreach`` over tensors of several devices: each of its steps has a device of its own."""
    done = [
        func(*[[value[at]] if isinstance(value, (list, tuple)) else value for value in args], **kwargs)
        for at in range(steps)
    ]
    return None if done[0] is None else [step[0] for step in done]
