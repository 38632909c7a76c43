"""What crosses from one device to another is counted here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Crossed(NamedTuple):
    """How many tensors, and how many bytes in all."""

    tensors: int = 0
    bytes: int = 0


@dataclass
class Transfers:
    """``crossed[source, destination]``, devices by their names, such as ``("sim:0", "sim:1")``."""

    crossed: dict[tuple[str, str], Crossed] = field(default_factory=dict)

    def note(self, source: str, destination: str, size: int) -> None:
        """Count one tensor of ``size`` bytes."""
        tensors, total = self.crossed.get((source, destination), Crossed())
        self.crossed[source, destination] = Crossed(tensors + 1, total + size)

    @property
    def count(self) -> int:
        """All crossings."""
        return sum(crossed.tensors for crossed in self.crossed.values())


_OPEN: list[Transfers] = []


@contextmanager
def transfers() -> Iterator[Transfers]:
    """Count what crosses between simulated devices, and between them and the CPU, within the block."""
    seen = Transfers()
    _OPEN.append(seen)
    try:
        yield seen
    finally:
        # By identity: two counts may be equal.
        _OPEN[:] = [other for other in _OPEN if other is not seen]


@contextmanager
def uncounted() -> Iterator[None]:
    """What crosses within the block is told to nobody: it is ours, not that of what is watched."""
    held = _OPEN[:]
    _OPEN.clear()
    try:
        yield
    finally:
        _OPEN[:] = held


def note(tensor: Tensor, source: torch.device, destination: torch.device) -> None:
    """Tell all open counts that ``tensor`` goes from ``source`` to ``destination``."""
    if _OPEN and source != destination:
        size = tensor.numel() * tensor.element_size()
        for seen in _OPEN:
            seen.note(str(source), str(destination), size)
