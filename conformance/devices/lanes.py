"""What can stand for several devices here: the best lane that this torch allows, and how it is entered.

Finding out registers nothing. Entering the first two changes the process for good, so it wants a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from conformance.core.errors import UserError, unknown

Lane = Literal["simulated", "labelled", "offload", "real"]
"""``simulated``: devices ``sim:k`` of a backend. ``labelled``: the same tensors, called ``cpu:k``, under modes of torch.
``offload``: nothing is simulated, device maps may say ``cpu`` and ``disk``. ``real``: devices that somebody named."""

FORCED = "CONFORMANCE_LANE"
"""Environment variable: the lane to use, whatever would be possible."""


def available() -> Lane:
    """The best lane here, or the one that is forced. Raises :class:`~conformance.core.errors.UserError` for a wrong name."""
    return chosen()[0]


def chosen() -> tuple[Lane, dict[Lane, str]]:
    """:func:`available`, and for each better lane why it is not taken."""
    forced = os.environ.get(FORCED)
    if forced:
        return _forced(forced)
    why_not: dict[Lane, str] = {}
    for lane, obstacle in _BEST_FIRST.items():
        why = obstacle()
        if not why:
            return lane, why_not
        why_not[lane] = why
    return "offload", why_not


def _forced(name: str) -> tuple[Lane, dict[Lane, str]]:
    lanes: tuple[Lane, ...] = get_args(Lane)
    for lane in lanes:
        if lane == name:
            better = lanes[: lanes.index(lane)] if lane != "real" else ()
            return lane, dict.fromkeys(better, f"{FORCED} says {lane}")
    raise unknown("lane", name, lanes)


def activate(lane: Lane, count: int, real: Sequence[str] = ()) -> tuple[str, ...]:
    """Make ``count`` devices usable in this process, and give their names for device maps.

    The lane ``offload`` has just ``("cpu", "disk")``, ``real`` the first ``count`` of the devices in ``real``.
    """
    if lane == "simulated":
        from conformance.devices.simulated import backend

        return backend.install(count)
    if lane == "labelled":
        from conformance.devices.simulated import labelled

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


def _no_backend() -> str:
    """Why Python cannot be a backend here; empty if it can, and no other one is the process's accelerator."""
    import torch
    from torch.utils import backend_registration

    hook, name = "_setup_privateuseone_for_python_backend", torch._C._get_privateuse1_backend_name()
    if not hasattr(backend_registration, hook):
        return f"this torch has no {hook}"
    if "sim" in name:
        return ""
    if name != "privateuseone":
        return f"the backend {name!r} has the place that they would take"
    return "CUDA is the accelerator of this process" if torch.cuda.is_available() else ""


def _no_labels() -> str:
    """Why a wrapper cannot be called ``cpu:1`` in this torch; empty if it can."""
    import torch

    from conformance.devices.simulated.tensor import wrap

    try:
        called = wrap(torch.zeros(1), torch.device("cpu", 1)).device
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"this torch makes no wrapper tensors: {error}"
    return "" if called.index == 1 else f"this torch calls a wrapper {called} that was to be cpu:1"


_BEST_FIRST: dict[Lane, Callable[[], str]] = {"simulated": _no_backend, "labelled": _no_labels}
