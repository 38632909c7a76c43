"""``peft-conformance doctor``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version

import typer
from msgspec import Struct

from conformance.cli.common import DevicesOption, Format, FormatOption, print_json
from conformance.core.errors import UserError


class Check(Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    fine: bool
    said: str
    needed: bool = True


def doctor(devices: DevicesOption = None, format: FormatOption = Format.TEXT) -> None:
    """Say whether this environment can judge anything; exit 2 if not."""
    done = []
    for check in _checks(devices):
        done.append(check)
        if format is Format.TEXT:
            mark = "ok" if check.fine else "FAILS" if check.needed else "absent"
            typer.echo(f"{mark:<7}{check.what:<15} {check.said}")
    if format is Format.JSON:
        print_json(done)
    raise typer.Exit(2 if any(check.needed and not check.fine for check in done) else 0)


def _checks(devices: str | None) -> Iterator[Check]:
    yield _asked("packages", _versions)
    yield _asked("families", _families)
    yield _asked("clauses", _clauses)
    yield _asked("known failures", _known)
    registered = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
    yield Check("pytest plugin", registered, "registered" if registered else "not registered: install the distribution")
    yield _asked("temporary files", _temporary)
    yield _workers()
    yield _asked("torch", _torch)
    yield _asked("device maps", lambda: _lane(devices))


def _asked(what: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(what, True, ask())
    except (UserError, ImportError, OSError) as error:
        return Check(what, False, str(error))


def _versions() -> str:
    from conformance.compat.versions import require

    return ", ".join(f"{name} {release}" for name, release in require().items())


def _families() -> str:
    from conformance.families import families, folder

    if not families():
        raise FileNotFoundError(f"no family file in {folder()}")
    return f"{len(families())} in {folder()}"


def _clauses() -> str:
    from conformance.clauses.registry import clauses

    return f"{len(clauses())} in {len({clause.chapter for clause in clauses().values()})} chapters"


def _known() -> str:
    from conformance.engine.known import load, shipped

    return f"{len(load(shipped()))} in {shipped()}"


def _temporary() -> str:
    with tempfile.TemporaryFile() as file:
        file.write(b"conformance")
    return f"writable in {tempfile.gettempdir()}"


def _workers() -> Check:
    cores = f"{os.cpu_count()} cores"
    try:
        return Check("workers", True, f"{cores}, pytest-xdist {version('pytest-xdist')}", needed=False)
    except PackageNotFoundError:
        return Check("workers", False, f"{cores}, but no pytest-xdist: run takes --workers 0 only", needed=False)


def _torch() -> str:
    import torch

    devices = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU, none needed"
    return f"imports, {torch.get_num_threads()} threads (the suite uses one per worker), {devices}"


def _lane(devices: str | None) -> str:
    from conformance.devices.inventory import inventory
    from conformance.session.selection import devices_named

    return str(inventory(devices_named(devices)))
