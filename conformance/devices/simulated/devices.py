"""The simulated devices of this process: what they are called, how many there are, and which one is current."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

HOST = torch.device("cpu")
"""The real CPU. A labelled device has its type too, but an index."""


@dataclass
class Simulated:
    """``kind`` is the device type: ``sim``, or ``cpu`` in the labelled lane. No devices before a lane is entered."""

    kind: str = "sim"
    count: int = 0
    current: int = 0


SIMULATED = Simulated()
LABELS: dict[torch.device, torch.device] = {}
"""The simulated devices. Each is one object, so that devices can be compared with ``is``."""


def name_devices(kind: str, count: int) -> tuple[str, ...]:
    """From now on there are ``count`` simulated devices of type ``kind``; gives their names."""
    SIMULATED.kind, SIMULATED.count = kind, count
    for index in range(count):
        LABELS.setdefault(torch.device(kind, index), torch.device(kind, index))
    return tuple(f"{kind}:{index}" for index in range(count))


def simulated(given: torch.device | str | int | None) -> torch.device | None:
    """The simulated device that ``given`` names, or ``None``. Raises ``RuntimeError`` if there are not that many."""
    if given is None or not SIMULATED.count:
        return None
    named = torch.device(given)
    index: int | None = named.index
    # In the labelled lane the CPU itself must stay nameable: only an index makes it a label.
    if named.type != SIMULATED.kind or (index is None and named.type == HOST.type):
        return None
    index = SIMULATED.current if index is None else index
    if index >= SIMULATED.count:
        raise RuntimeError(f"invalid device ordinal: there is no {named}, only {SIMULATED.count} simulated devices")
    return LABELS[torch.device(named.type, index)]


GOAL: ContextVar[Any] = ContextVar("map_location", default=None)


def destination(saved: torch.device) -> torch.device:
    """Where a tensor that was saved on ``saved`` goes, by the ``map_location`` of the load under way."""
    goal = GOAL.get()
    if isinstance(goal, dict):
        goal = goal.get(str(saved))
    return saved if goal is None or callable(goal) else torch.device(goal)
