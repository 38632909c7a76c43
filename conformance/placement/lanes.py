"""What can stand for several devices here: the best lane that this torch allows, and how it is entered.

Finding out registers nothing. Entering the first two changes the process for good, so it wants a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, get_args

from conformance.errors import UserError, unknown

Lane = Literal["simulated", "labelled", "offload", "real"]
"""``simulated``: devices ``sim:k`` of a backend. ``labelled``: the same tensors, called ``cpu:k``, under modes of torch.
``offload``: nothing is simulated, device maps may say ``cpu`` and ``disk``. ``real``: devices that somebody named."""

FORCED = "CONFORMANCE_LANE"
"""Environment variable: the lane to use, whatever would be possible."""


def available() -> Lane:
    """The best lane here, or the one that is forced. Raises :class:`~conformance.errors.UserError` for a wrong name."""
    forced = os.environ.get(FORCED)
    for lane in get_args(Lane):
        if lane == forced:
            return lane  # type: ignore[no-any-return]
    if forced:
        raise unknown("lane", forced, get_args(Lane))
    return "simulated" if _has_hook() else "labelled" if _has_wrappers() else "offload"


def enter(lane: Lane, count: int, real: Sequence[str] = ()) -> tuple[str, ...]:
    """Make ``count`` devices usable in this process, and give their names for device maps.

    The lane ``offload`` has just ``("cpu", "disk")``, ``real`` the first ``count`` of the devices in ``real``.
    """
    if lane == "simulated":
        from conformance.placement import backend

        return backend.install(count)
    if lane == "labelled":
        from conformance.placement import labelled

        return labelled.install(count)
    if lane == "offload":
        return ("cpu", "disk")
    if len(real) < count:
        raise UserError(
            "too-few-devices",
            f"{count} devices are needed, {len(real)} were given",
            "the lane 'real' runs on the devices that it is told, and on no others",
            "name more devices, such as cuda:0,cuda:1, or take another lane",
        )
    return tuple(real[:count])


def _has_hook() -> bool:
    """Whether Python can be a backend in this torch, and no other backend is the process's accelerator."""
    import torch
    from torch.utils import backend_registration

    ours = "sim" in torch._C._get_privateuse1_backend_name()
    free = torch._C._get_privateuse1_backend_name() == "privateuseone" and not torch.cuda.is_available()
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend") and (ours or free)


def _has_wrappers() -> bool:
    """Whether a wrapper can be called ``cpu:1`` in this torch."""
    import torch

    from conformance.placement.tensor import wrap

    try:
        return bool(wrap(torch.zeros(1), torch.device("cpu", 1)).device.index == 1)
    except (AttributeError, RuntimeError, TypeError):
        return False
