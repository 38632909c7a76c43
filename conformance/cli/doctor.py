"""``peft-conformance doctor``."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points, version

import typer
from msgspec import Struct

from conformance.cli.common import DevicesOption, Format, FormatOption, print_json


class Diagnosis(Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    fine: bool
    said: str
    needed: bool = True


def doctor(devices: DevicesOption = None, format: FormatOption = Format.TEXT) -> None:
    """Say whether this environment can judge anything; exit 2 if not."""
    done = []
    for diagnosis in _diagnoses(devices):
        done.append(diagnosis)
        if format is Format.TEXT:
            mark = "ok" if diagnosis.fine else "FAILS" if diagnosis.needed else "absent"
            typer.echo(f"{mark:<7}{diagnosis.what:<15} {diagnosis.said}")
    if format is Format.JSON:
        print_json(done)
    raise typer.Exit(2 if any(each.needed and not each.fine for each in done) else 0)


def _diagnoses(devices: str | None) -> Iterator[Diagnosis]:
    yield _tried("packages", _versions)
    yield _tried("families", _families)
    yield _tried("clauses", _clauses)
    yield _tried("known failures", _known)
    registered = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
    yield Diagnosis(
        "pytest plugin", registered, "registered" if registered else "not registered: install the distribution"
    )
    yield _tried("temporary files", _temporary)
    yield _workers()
    yield _tried("torch", _torch)
    yield _tried("peft", _pair)
    yield _tried("device maps", lambda: _lane(devices))


def _tried(what: str, attempt: Callable[[], str]) -> Diagnosis:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # others' advice to others; what fails is told
            return Diagnosis(what, True, attempt())
    except Exception as error:  # whatever it is, it is what is to be told
        return Diagnosis(what, False, str(error) or type(error).__name__)


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

    if not clauses():
        raise LookupError("no chapter of clauses is installed")
    return f"{len(clauses())} in {len({clause.chapter for clause in clauses().values()})} chapters"


def _known() -> str:
    from conformance.engine.known import load, shipped

    return f"{len(load(shipped()))} in {shipped()}"


def _temporary() -> str:
    with tempfile.TemporaryFile() as file:
        file.write(b"conformance")
    return f"writable in {tempfile.gettempdir()}"


def _workers() -> Diagnosis:
    from conformance.cli.launch import cores, has_xdist

    xdist = f"pytest-xdist {version('pytest-xdist')}: run takes a process a core where that pays" if has_xdist() else ""
    return Diagnosis(
        "workers", bool(xdist), f"{cores()} cores, {xdist or 'no pytest-xdist: run takes one process'}", False
    )


def _torch() -> str:
    import torch

    devices = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU, none needed"
    return f"imports, {torch.get_num_threads()} threads (the suite uses one per worker), {devices}"


def _pair() -> str:
    from conformance.matrix.import_check import reason

    why = reason()
    if why:
        raise ImportError(why)
    return "imports with transformers, and wraps a tiny model"


def _lane(devices: str | None) -> str:
    from conformance.devices.inventory import inventory
    from conformance.session.selection import devices_named

    return str(inventory(devices_named(devices)))
