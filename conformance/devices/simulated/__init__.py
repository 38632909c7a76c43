"""Devices that are CPU tensors under torch's own rule for mixing devices."""
