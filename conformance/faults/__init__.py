"""Planted faults: each clause must find its own, and spare what is healthy.

The names are loaded when they are first used: importing the package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.faults.registry import Fault, Fired, faults, in_peft, in_reference, maker_named
    from conformance.faults.table import Row, table

__all__ = ["Fault", "Fired", "Row", "faults", "in_peft", "in_reference", "maker_named", "table"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'rows' if name in ('Row', 'table') else 'registry'}"), name)
