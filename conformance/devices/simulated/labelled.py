"""Without a backend hook: the same tensors, but called ``cpu:k``, and modes of torch that see the calls which make them.

Slower, since the modes see every operation of the process. They hold in the thread that entered them; in others the
rule holds too, but a factory that is told ``cpu:k`` makes an ordinary tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.devices.simulated import dispatch as dispatching
from conformance.devices.simulated import loading
from conformance.devices.simulated.devices import SIMULATED, name_devices, simulated
from conformance.devices.simulated.dispatch import dispatch
from conformance.devices.simulated.tensor import SimulatedTensor, dispatch_with


class Operations(TorchDispatchMode):
    """Sees operations without a labelled operand: factories and copies to ``cpu:k``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Dispatch what concerns labelled devices, leave the rest alone."""
        kwargs = kwargs or {}
        if any(issubclass(kind, SimulatedTensor) for kind in types) or simulated(kwargs.get("device")):
            return dispatch(func, args, kwargs)
        return func(*args, **kwargs)


class Constructors(TorchFunctionMode):
    """Sees ``torch.tensor`` and its like, which hide from other modes what they do."""

    hidden = frozenset({torch.tensor, torch.as_tensor, torch.asarray})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make it on the CPU, then move it."""
        kwargs = kwargs or {}
        place = simulated(kwargs.get("device")) if func in self.hidden else None
        if place is None:
            return func(*args, **kwargs)
        grad = kwargs.pop("requires_grad", False)
        return func(*args, **{**kwargs, "device": "cpu"}).to(place).requires_grad_(grad)


_MODES: tuple[Any, ...] = (Constructors(), Operations())  # type: ignore[no-untyped-call]


def install(count: int) -> tuple[str, ...]:
    """Call so many devices ``cpu:0`` and so on; gives their names. A second call may only change their number."""
    if not SIMULATED.count:
        dispatch_with(dispatch)
        # A composite operation makes tensors in its parts, where the mode is not in force.
        dispatching.around_parts = lambda: _MODES[1]
        loading.install()
        for mode in _MODES:
            mode.__enter__()
    return name_devices("cpu", count)
