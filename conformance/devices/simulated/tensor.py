"""A tensor that says it lies on a simulated device. Its data is an ordinary tensor of the CPU.

What torch does in C++ with the storage of a tensor has no storage to work on here: those methods are overridden below,
each so that it behaves as for a tensor on a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from conformance.devices.simulated.devices import destination, simulated

Dispatch = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
_DISPATCH: list[Dispatch] = []

ADDRESS_SPACE = 1 << 56
"""Larger than any address of the machine, so that addresses of different devices differ."""


def dispatch_with(dispatch: Dispatch) -> None:
    """Let ``dispatch(overload, args, kwargs)`` do what is done with simulated tensors; their hooks move with them."""
    if not _DISPATCH:
        torch.utils.swap_tensors = _with_hooks(torch.utils.swap_tensors)
    _DISPATCH[:] = [dispatch]


def _with_hooks(swap: Callable[[Tensor, Tensor], None]) -> Callable[[Tensor, Tensor], None]:
    """``swap``, after which the first tensor has its hooks still.

    torch moves a parameter to a GPU by new data, which keeps the hooks on its gradient; a wrapper like ours it swaps for the
    moved one, and what autograd calls stays behind.
    """

    def swapped(one: Tensor, other: Tensor) -> None:
        hooks = one._backward_hooks
        swap(one, other)
        if hooks is not None:
            one._backward_hooks = hooks  # tells autograd of them

    return swapped


class SimulatedTensor(Tensor):
    """``payload`` is the data, ``place`` the simulated device."""

    payload: Tensor
    place: torch.device

    # Subclasses are asked before each function and attribute of torch: needless, and half of the time.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type[SimulatedTensor], data: Tensor, requires_grad: bool | None = None, **old: Any) -> Any:
        """A parameter with the value of ``data``: accelerate makes ``type(old)(new, requires_grad=..., **old.__dict__)``."""
        if type(data) is not SimulatedTensor:  # on its way to the CPU or to meta
            return torch.nn.Parameter(data, requires_grad=requires_grad is not False)
        made = data.detach().requires_grad_(data.requires_grad if requires_grad is None else requires_grad)
        made._is_param = True
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """``__new__`` has done everything; ``Tensor`` would not take accelerate's arguments."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Every operation of ATen comes through here."""
        return _DISPATCH[0](func, args, kwargs or {})

    # With these two torch takes it for a wrapper, and nn.Module.to keeps the identity of parameters.
    def __tensor_flatten__(self) -> tuple[list[str], str]:
        return ["payload"], str(self.place)

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], place: str, size: Any, stride: Any) -> Tensor:
        here = simulated(place)
        assert here is not None
        return wrap(inner["payload"], here)

    def data_ptr(self) -> int:
        """An address of its own device: accelerate tells tied weights by it, and the CPU may use an address again."""
        address = self.payload.data_ptr()
        return address and address + (self.place.index + 1) * ADDRESS_SPACE

    def untyped_storage(self) -> torch.UntypedStorage:
        """The data's: the wrapper has none."""
        return self.payload.untyped_storage()

    def tolist(self) -> Any:
        """In C++ this would read the memory."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused as for a GPU."""
        if not force:
            raise TypeError(
                f"can't convert {self.place} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
        return self.detach().cpu().numpy()

    def __format__(self, spec: str) -> str:
        # torch formats the number only for its own class.
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:  # type: ignore[override]
        """In C++ this would ask the device guard, which knows only one device."""
        options["device"] = self.place if options.get("device") is None else options["device"]
        options["dtype"] = self.dtype if options.get("dtype") is None else options["dtype"]
        return torch.tensor(data, **options)

    @property
    def data(self) -> Tensor:
        """In C++ this would be a shallow copy without the data."""
        return self.detach()

    @data.setter
    def data(self, new: Tensor) -> None:
        if type(new) is not SimulatedTensor:  # what was given becomes this very object
            kind = torch.nn.Parameter if isinstance(self, torch.nn.Parameter) else torch.Tensor.detach
            torch.utils.swap_tensors(self, kind(new).requires_grad_(self.requires_grad))
            return
        torch._C.TensorBase.data.__set__(self, new)  # type: ignore[attr-defined]
        self.payload, self.place = new.payload.detach(), new.place

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            # torch's own sentence
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment."
            )
        made = wrap(copy.deepcopy(self.payload, memo), self.place).requires_grad_(self.requires_grad)
        memo[id(self)] = made
        if self.grad is not None:
            made.grad = copy.deepcopy(self.grad, memo)
        made.__dict__.update(copy.deepcopy(_extra(self), memo))
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return rebuilt, (self.payload, str(self.place), self.requires_grad, _extra(self))

    def __repr__(  # type: ignore[override]
        self, *, tensor_contents: Any = None
    ) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"{repr(self.payload)[:-1]}, device='{self.place}'{grad})"


def _extra(tensor: SimulatedTensor) -> dict[str, Any]:
    return {name: value for name, value in tensor.__dict__.items() if name not in ("payload", "place")}


def rebuilt(inner: Tensor, place: str, requires_grad: bool, extra: dict[str, Any]) -> Tensor:
    """A tensor from its pickle."""
    goal = destination(torch.device(place))
    here = simulated(goal)
    made = wrap(inner, here) if here else inner.to(goal)
    made.__dict__.update(extra)
    return made.requires_grad_(requires_grad)


_make = torch.Tensor._make_wrapper_subclass


def wrap(inner: Tensor, place: torch.device) -> SimulatedTensor:
    """``inner``, which is not copied, as a tensor on ``place``."""
    made = _make(
        SimulatedTensor,
        inner.size(),
        strides=inner.stride(),
        storage_offset=inner.storage_offset(),
        dtype=inner.dtype,
        layout=inner.layout,
        device=place,
    )
    made.payload = inner
    made.place = place
    return made
