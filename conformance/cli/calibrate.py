"""``peft-conformance calibrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from conformance.cli.common import DevicesOption, Format, FormatOption, print_json
from conformance.core.errors import UserError

if TYPE_CHECKING:
    from conformance.devices.inventory import Present

PAIR = 2


class Disagreement(Struct, frozen=True):
    """A probe that ends otherwise on simulated devices than on real ones."""

    probe: str
    simulated: str
    real: str


class Calibration(Struct, frozen=True, kw_only=True):
    """What came of it. ``versions`` are those of everything installed, ``probes`` the number of small operations tried."""

    versions: dict[str, str]
    lane: str
    simulated: tuple[str, ...]
    real: tuple[str, ...]
    probes: int
    disagreements: tuple[Disagreement, ...]


def calibrate(devices: DevicesOption = None, format: FormatOption = Format.TEXT) -> None:
    """Try small operations on two real devices and on two simulated ones; exit 1 if any ends otherwise.

    With a single real device the CPU is the second of both pairs.
    """
    from conformance.compat.versions import versions

    real, simulated = _sides(devices)
    count = min(len(real.names), PAIR)
    ends = outcomes("", count), outcomes(",".join(real.names), count)
    found = Calibration(
        versions=versions(),
        lane=simulated.lane,
        simulated=(*simulated.names, "cpu")[:PAIR] if count == PAIR else (simulated.names[0], "cpu"),
        real=(*real.names, "cpu")[:PAIR],
        probes=len(ends[0]),
        disagreements=disagreements(*ends),
    )
    if format is Format.JSON:
        print_json(found)
    else:
        typer.echo(_told(found))
    raise typer.Exit(1 if found.disagreements else 0)


def _sides(devices: str | None) -> tuple[Present, Present]:
    from conformance.devices.inventory import present
    from conformance.session.selection import devices_named

    named = devices_named(devices)
    if not named or named == "cpu":
        raise UserError(
            "no-real-device",
            "no real device is named" if not named else "the CPU is no device to calibrate with",
            "simulated devices are held against real ones, of which none is like the CPU",
            "name one or two, such as --devices cuda:0,cuda:1",
        )
    simulated = present()
    if len(simulated.names) < PAIR:
        raise UserError(
            "nothing-simulated",
            "no devices can be simulated here",
            str(simulated),
            "calibrate in an environment whose torch lets Python be a backend; `peft-conformance doctor` tells",
        )
    return present(named), simulated


def outcomes(devices: str, count: int) -> dict[str, str]:
    """How each probe ends on the first ``count`` of ``devices``, in a process of its own; empty for simulated ones."""
    from conformance.worker.isolated import Calibrate, ask_placed

    answer = ask_placed(devices, Calibrate(count))
    if answer.error:
        raise RuntimeError(f"the process with the devices {devices or 'that are simulated'} failed: {answer.error}")
    return answer.outcomes


def disagreements(simulated: dict[str, str], real: dict[str, str]) -> tuple[Disagreement, ...]:
    """Every probe that ends otherwise."""
    return tuple(Disagreement(name, end, real[name]) for name, end in simulated.items() if end != real[name])


def _told(found: Calibration) -> str:
    sides = f"{found.lane} {', '.join(found.simulated)} against real {', '.join(found.real)}"
    lines = [f"calibrating {sides}, torch {found.versions['torch']}; {found.probes} probes"]
    width = max([len(one.probe) for one in found.disagreements], default=0)
    lines += [f"  {one.probe:<{width}}  simulated: {one.simulated}, real: {one.real}" for one in found.disagreements]
    number = len(found.disagreements)
    said = "They agree" if not number else f"{number} probe{'' if number == 1 else 's'} disagree{'s' * (number == 1)}"
    return "\n".join([*lines, f"{said}. Exit code {1 if number else 0}."])
