"""``peft-conformance calibrate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from conformance.cli.common import Format, FormatOption, print_json
from conformance.core.errors import UserError

if TYPE_CHECKING:
    from conformance.devices.inventory import Inventory

RealDevices = Annotated[
    str | None,
    typer.Option("--devices", metavar="NAMES", help="one or two real devices, such as cuda:0,cuda:1 (required)"),
]


class Disagreement(Struct, frozen=True):
    """A probe that ends otherwise on simulated devices than on real ones."""

    probe: str
    simulated: str
    real: str


class Probing(Struct, frozen=True):
    """Try the probes on the first two devices, or, with a ``count`` of one, on the first and the CPU."""

    count: int


class Calibration(Struct, frozen=True, kw_only=True):
    """What came of it. ``versions`` are those of everything installed, ``probes`` the number of small operations tried."""

    versions: dict[str, str]
    lane: str
    simulated: tuple[str, ...]
    real: tuple[str, ...]
    probes: int
    disagreements: tuple[Disagreement, ...]


def calibrate(devices: RealDevices = None, format: FormatOption = Format.TEXT) -> None:
    """Try small operations on two real devices and on two simulated ones; exit 1 if any ends otherwise.

    With a single real device the CPU is the second of both pairs.
    """
    from conformance.compat.versions import versions

    real, simulated = _sides(devices)
    count = min(len(real.names), 2)
    ends = outcomes("", count), outcomes(",".join(real.names), count)
    calibration = Calibration(
        versions=versions(),
        lane=simulated.lane,
        simulated=_pair(simulated.names, count),
        real=_pair(real.names, count),
        probes=len(ends[0]),
        disagreements=disagreements(*ends),
    )
    if format is Format.JSON:
        print_json(calibration)
    else:
        typer.echo(_calibration_text(calibration))
    raise typer.Exit(1 if calibration.disagreements else 0)


def _pair(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The first ``count`` of the devices called ``names``; beside a single one the CPU."""
    return (*names[:count], "cpu")[:2]


def _sides(devices: str | None) -> tuple[Inventory, Inventory]:
    from conformance.devices.inventory import inventory
    from conformance.session.selection import devices_named

    named = devices_named(devices)
    if not named or named == "cpu":
        raise UserError(
            "no-real-device",
            "no real device is named" if not named else "the CPU is no device to calibrate with",
            "simulated devices are held against real ones, of which none is like the CPU",
            "name one or two, such as --devices cuda:0,cuda:1",
        )
    simulated = inventory()
    if not simulated.names[1:]:
        raise UserError(
            "nothing-simulated",
            "no devices can be simulated here",
            str(simulated),
            "calibrate in an environment whose torch lets Python be a backend; `peft-conformance doctor` tells",
        )
    return inventory(named), simulated


def outcomes(devices: str, count: int) -> dict[str, str]:
    """How each probe ends on the first ``count`` of ``devices``, in a process of its own; empty for simulated ones."""
    from conformance.devices.current import environment_for
    from conformance.worker.child import call_kept

    return call_kept(environment_for(devices), f"{__name__}:outcomes_here", Probing(count), dict[str, str])


def outcomes_here(request: Probing) -> dict[str, str]:
    """How each probe ends on the first devices of this process."""
    from conformance.devices.current import current
    from conformance.devices.simulated.probes import PROBES, outcome

    pair = _pair(current().names, request.count)
    return {probe.name: outcome(probe, pair) for probe in PROBES}


def disagreements(simulated: dict[str, str], real: dict[str, str]) -> tuple[Disagreement, ...]:
    """Every probe that ends otherwise."""
    return tuple(Disagreement(name, end, real[name]) for name, end in simulated.items() if end != real[name])


def _calibration_text(of: Calibration) -> str:
    from conformance.report.phrases import plural

    sides = f"{of.lane} {', '.join(of.simulated)} against real {', '.join(of.real)}"
    lines = [f"calibrating {sides}, torch {of.versions['torch']}; {of.probes} probes"]
    width = max([len(one.probe) for one in of.disagreements], default=0)
    lines += [f"  {one.probe:<{width}}  simulated: {one.simulated}, real: {one.real}" for one in of.disagreements]
    number = len(of.disagreements)
    result = f"{plural(number, 'probe')} disagree{'s' * (number == 1)}" if number else "They agree"
    return "\n".join([*lines, f"{result}. Exit code {1 if number else 0}."])
