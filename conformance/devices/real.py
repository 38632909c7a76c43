"""Devices that somebody named: whether this torch has them, and what it calls them."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.core.errors import UserError

ANY_CURE = "name devices of one kind that this torch has, such as cuda:0,cuda:1, or none: then they are simulated"


def found(names: Sequence[str]) -> tuple[str, ...]:
    """``names`` as torch calls them. Raises :class:`~conformance.core.errors.UserError` for what no model can be placed on."""
    devices = tuple(_found(name) for name in names)
    kinds = {name.partition(":")[0] for name in devices}
    if len(kinds) > 1:
        raise UserError(
            "mixed-devices",
            f"{', '.join(names)} are devices of different kinds",
            "a map that counts its devices means those of one kind; that weights wait on the CPU or on disk is drawn anyway",
            ANY_CURE,
        )
    if len(set(devices)) < len(devices):
        raise UserError(
            "repeated-device",
            f"{', '.join(names)} names one device twice",
            f"torch calls them {', '.join(devices)}",
            "name each device once",
        )
    return devices


def _found(name: str) -> str:
    import torch

    try:
        made = torch.zeros(1, device=name)
        made.tolist()
    except Exception as error:  # torch has its own for each kind: RuntimeError, AssertionError, NotImplementedError
        words = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            "no-such-device", f"there is no device {name!r} here", f"torch says: {words}", ANY_CURE
        ) from error
    return str(made.device)
