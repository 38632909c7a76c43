"""Planted faults: each clause must find its own, and spare what is healthy.

The names are loaded when they are first used: importing the package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.faults.registry import Fault, Fired, faults, in_peft, in_reference, planted_maker
    from conformance.faults.table import Detection, detections

__all__ = ["Detection", "Fault", "Fired", "detections", "faults", "in_peft", "in_reference", "planted_maker"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'table' if name in ('Detection', 'detections') else 'registry'}"), name)
