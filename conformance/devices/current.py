"""Which devices this process has for device maps: those of its lane, entered once and for good."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.relations import on_one_device
from conformance.devices.lanes import Lane, activate, available
from conformance.devices.real import found
from conformance.worker.environment import STARTUP

COUNT = 3
"""So many devices are simulated: with three, the middle one is neither the first nor the last."""
DEVICES = "CONFORMANCE_DEVICES"
"""Environment variable of a process for placed models: real devices (``cuda:0,cuda:1``), or empty for the best lane."""


class Devices(NamedTuple):
    """The lane, and what its devices are called."""

    lane: Lane
    names: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether what crosses between devices is counted."""
        return self.lane in ("simulated", "labelled")

    @property
    def keeps_bits(self) -> bool:
        """Whether an operation gives the same bits on each, however its operands lie in memory."""
        return self.lane == "simulated"  # labelled ones leave it to torch how composite operations are taken apart

    @property
    def given(self) -> str:
        """The real devices, as :data:`DEVICES` has them."""
        return ",".join(self.names) if self.lane == "real" else ""

    def __str__(self) -> str:
        return f"{self.lane} devices {', '.join(self.names)}"


def is_for_placed_models() -> bool:
    """Whether this process was started for placed models."""
    return DEVICES in os.environ


def environment_for(devices: str) -> dict[str, str]:
    """What makes a process one for placed models; ``devices`` as in :data:`DEVICES`.

    Where they are simulated, GPUs are hidden: the verdicts are those of any other machine, and the place that a backend of
    Python takes is free.
    """
    hidden = {} if devices else dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), "")
    return {DEVICES: devices, STARTUP: f"{__name__}:current", **hidden}


@cache
def current() -> Devices:
    """The devices of this process. The first call enters the lane, which cannot be undone."""
    if not is_for_placed_models():
        raise RuntimeError(
            "placed models are for a process that was started for them: conformance.devices.current.environment_for"
        )
    mine = activated()
    _hush()
    return mine


@cache
def activated() -> Devices:
    """:func:`current`, without importing transformers. Raises a user's error for devices that are not there."""
    real = tuple(name.strip() for name in os.environ.get(DEVICES, "").split(",") if name.strip())
    lane = "real" if real else available()
    names = activate(lane, len(real) or COUNT, found(real))
    # Weights can wait on disk in any lane, and nothing computes there.
    return Devices(lane, tuple(name for name in names if name != "disk"))


def on_single_device(case: Case) -> Case:
    """``case`` with the whole model on the first device; where that is the CPU, nobody places it."""
    one = on_one_device(case)
    return replace(one, placement=replace(one.placement, way="none")) if current().names[0] == "cpu" else one


def with_local_devices(case: Case) -> Case:
    """``case`` with its map as it is here: where the only device is the CPU, its numbers mean that."""
    if not case.placed or current().names != ("cpu",):
        return case
    layers, others = (
        tuple("cpu" if isinstance(device, int) else device for device in devices)
        for devices in (case.placement.layers, case.placement.others)
    )
    return replace(case, placement=replace(case.placement, layers=layers, others=others))


def _hush() -> None:
    """No progress bars for models that load in milliseconds, no advice about weights on the CPU."""
    import logging

    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
