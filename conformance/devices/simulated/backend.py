"""The simulated devices as a backend of torch, through the one hook that lets Python be one. It cannot be undone."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch.library import Library, fallthrough_kernel

from conformance.devices.simulated import loading
from conformance.devices.simulated.devices import SIMULATED, name_devices
from conformance.devices.simulated.dispatch import WHOLE, dispatch
from conformance.devices.simulated.tensor import SimulatedTensor, dispatch_with

KIND = "sim"
"""The device type."""
MEMORY = 8 << 30
"""Bytes that each device claims to have."""

_LIBRARIES: list[Library] = []
"""Kept alive: a library takes its kernels with it."""

BELOW = ("_copy_from", "copy_", "_to_copy", "detach", "alias", "view", "as_strided", "clone")
"""Operations that ``torch.tensor(..., device=...)`` calls on a finished tensor while the dispatch to Python is off."""


class Module(types.ModuleType):
    """``torch.sim``: what torch, accelerate and transformers ask of a device module."""

    class device:  # noqa: N801 - the name that torch.cuda gives it
        """A device made current within a block."""

        def __init__(self, device: Any) -> None:
            self.index = device if isinstance(device, int) or device is None else torch.device(device).index
            self.before = 0

        def __enter__(self) -> None:
            self.before = SIMULATED.current
            if self.index is not None and self.index >= 0:
                SIMULATED.current = self.index

        def __exit__(self, *error: object) -> None:
            SIMULATED.current = self.before

    @staticmethod
    def is_available() -> bool:
        """Yes."""
        return True

    is_initialized = is_built = is_available

    @staticmethod
    def device_count() -> int:
        """As many as were asked for."""
        return SIMULATED.count

    @staticmethod
    def current_device() -> int:
        """Index of the device that is meant where none is named."""
        return SIMULATED.current

    @staticmethod
    def set_device(device: Any) -> None:
        """Make it current."""
        SIMULATED.current = device if isinstance(device, int) else torch.device(device).index or 0

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """There is one stream of random numbers, the CPU's, so that a result does not depend on the device map."""

    manual_seed = manual_seed_all

    @staticmethod
    def get_rng_state(device: Any = None) -> torch.Tensor:
        """The CPU's."""
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
        """The CPU's."""
        torch.set_rng_state(state)

    @staticmethod
    def synchronize(device: Any = None) -> None:
        """Nothing is ever under way."""

    init = _lazy_init = empty_cache = synchronize

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        """Free and total bytes."""
        return MEMORY, MEMORY

    @staticmethod
    def memory_allocated(device: Any = None) -> int:
        """Nothing is counted."""
        return 0

    max_memory_allocated = memory_reserved = memory_allocated

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        """None: autocast says so and switches itself off, instead of doing nothing without a word."""
        return []

    @staticmethod
    def is_bf16_supported() -> bool:
        """As the CPU."""
        return True

    @staticmethod
    def get_device_properties(device: Any = None) -> types.SimpleNamespace:
        """What is asked for when memory is planned."""
        return types.SimpleNamespace(name="simulated device", total_memory=MEMORY, major=8, minor=0)


def install(count: int) -> tuple[str, ...]:
    """Register the backend ``sim`` with so many devices; a second call may only change their number.

    From then on ``sim`` is this process's accelerator: devices that are given as a bare number are simulated ones.
    """
    if not _LIBRARIES:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

        dispatch_with(dispatch)
        _setup_privateuseone_for_python_backend(KIND, backend_module=Module(f"torch.{KIND}"))
        _register_kernels()
        loading.install()
    return name_devices(KIND, count)


def _register_kernels() -> None:
    everything, aten = Library("_", "IMPL"), Library("aten", "IMPL")
    _LIBRARIES.extend((everything, aten))
    # Operations without a simulated operand: factories.
    everything.fallback(_call, "PrivateUse1")
    everything.fallback(fallthrough_kernel, "AutocastPrivateUse1")
    for name in BELOW:
        aten.impl(name, _bound(_overload(name)), "PrivateUse1")
    for name in WHOLE:
        aten.impl(name, _whole(_overload(name)), "AutogradPrivateUse1")
    # A GPU computes an LSTM's cell in one kernel, of which the CPU has none: torch takes it apart.
    for key in ("AutogradPrivateUse1", "PrivateUse1"):
        aten.impl("lstm.input", decomposition_table[torch.ops.aten.lstm.input], key)


def _overload(name: str) -> Any:
    return getattr(torch.ops.aten, name).default


def _call(func: Any, *args: Any, **kwargs: Any) -> Any:
    return dispatch(func, args, kwargs)


def _bound(func: Any) -> Any:
    return lambda *args, **kwargs: dispatch(func, args, kwargs)


def _whole(func: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and any(_needs_gradient(value) for value in (*args, *kwargs.values())):
            return func.decompose(*args, **kwargs)
        return dispatch(func, args, kwargs)

    return call


def _needs_gradient(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_needs_gradient, value))
    return type(value) is SimulatedTensor and value.requires_grad
