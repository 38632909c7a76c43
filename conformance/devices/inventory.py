"""Which devices a process for placed models has. A short-lived child looks, so that this process loads no torch."""

from __future__ import annotations

from functools import cache

from msgspec import Struct

from conformance.core.errors import UserError
from conformance.devices.current import activated, environment_for
from conformance.devices.lanes import Lane, chosen
from conformance.worker.child import Child
from conformance.worker.environment import STARTUP


class Inventory(Struct, frozen=True):
    """The lane, what its devices are called, and for each better lane why it is not taken."""

    lane: Lane
    names: tuple[str, ...]
    why_not: dict[str, str]

    def __str__(self) -> str:
        by_reason: dict[str, list[str]] = {}
        for lane, why in self.why_not.items():
            by_reason.setdefault(why, []).append(lane)
        reasons = "".join(f"; not {' or '.join(lanes)}: {why}" for why, lanes in by_reason.items())
        return f"{self.lane}: {', '.join(self.names)}{reasons}"


class Lookup(Struct, frozen=True):
    """A child is asked for the devices that it was started for: there is nothing else to say."""


@cache
def inventory(devices: str = "") -> Inventory:
    """What a process for placed models would have; ``devices`` are real ones, empty for the best lane.

    Raises :class:`~conformance.core.errors.UserError` for devices or a lane that it cannot have.
    """
    variables = {name: value for name, value in environment_for(devices).items() if name != STARTUP}
    with Child(variables) as child:
        return child.call(f"{__name__}:look_up", Lookup(), Inventory)


def look_up(_: Lookup) -> Inventory:
    """The devices of this process."""
    try:
        mine = activated()
        why_not = {} if mine.lane == "real" else chosen()[1]
    except ImportError as error:
        raise UserError("broken-torch", "torch does not import here", str(error), "repair or install torch") from error
    return Inventory(mine.lane, mine.names, {str(lane): why for lane, why in why_not.items()})
