"""Planted faults: each clause must find its own, and spare what is healthy."""

from conformance.faults.registry import Fault, Fired, faults, in_peft, in_reference, maker_named

__all__ = ["Fault", "Fired", "faults", "in_peft", "in_reference", "maker_named"]
