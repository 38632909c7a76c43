"""Which devices this process has for device maps: those of its lane, entered once and for good."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

from conformance.placement.lanes import Lane, available, enter

COUNT = 3
"""So many devices are simulated: with three, the middle one is neither the first nor the last."""
DEVICES = "CONFORMANCE_DEVICES"
"""Environment variable of a process for placed models: real devices (``cuda:0,cuda:1``), or empty for the best lane."""


class Here(NamedTuple):
    """The lane, and what its devices are called."""

    lane: Lane
    names: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether what crosses between devices is counted."""
        return self.lane in ("simulated", "labelled")

    def __str__(self) -> str:
        return f"{self.lane} devices {', '.join(self.names)}"


def asked() -> bool:
    """Whether this process was started for placed models."""
    return DEVICES in os.environ


@cache
def here() -> Here:
    """The devices of this process. The first call enters the lane, which cannot be undone."""
    real = tuple(name.strip() for name in os.environ.get(DEVICES, "").split(",") if name.strip())
    lane = "real" if real else available()
    names = enter(lane, len(real) or COUNT, real)
    _hush()
    return Here(lane, names)


def _hush() -> None:
    """No progress bars for models that load in milliseconds, no advice about weights on the CPU."""
    import logging

    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
