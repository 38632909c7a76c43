"""The lab that a process holds: one at a time, dropped when the family changes, so that one family is in memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

_held: dict[str, Lab] = {}


def lab_for(family: str) -> Lab:
    """The lab of ``family``. The first call of a process imports torch, and holds it to one thread."""
    if family not in _held:
        from conformance.runs.lab import Lab

        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        _held.clear()
        _held[family] = Lab()
    return _held[family]
