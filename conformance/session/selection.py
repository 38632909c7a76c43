"""What the options select, checked before anything runs. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from conformance import families as registry
from conformance.clauses.registry import Clause, select
from conformance.compat.versions import require
from conformance.core.errors import UserError, unknown
from conformance.core.finding import Item
from conformance.devices.inventory import inventory
from conformance.engine.database import open_database
from conformance.engine.known import KnownFailure, load, shipped
from conformance.engine.search import PROFILES, Budget
from conformance.families import Family
from conformance.methods import METHODS
from conformance.session.time_budget import seconds


class Selection(Struct, frozen=True, kw_only=True):
    """Everything that decides which items there are and how each is judged."""

    versions: dict[str, str]
    families: dict[str, Family]
    clauses: dict[str, Clause]
    methods: tuple[str, ...]
    profile: str
    budget: Budget
    known_file: Path | None
    known: tuple[KnownFailure, ...]
    devices: str
    time: float | None

    @property
    def items(self) -> list[Item]:
        """Every clause x family x method, ordered by family, so that a worker holds one family at a time."""
        subjects = [(family, method) for family in self.families for method in self.methods]
        return [Item(clause, family, method) for family, method in subjects for clause in self.clauses]

    @property
    def replays(self) -> list[KnownFailure]:
        """The known failures that apply here and whose own clause and family are selected."""
        return [
            entry
            for entry in self.known
            if entry.applies(self.versions) and entry.clause in self.clauses and entry.case.family in self.families
        ]


def resolve(options: Mapping[str, str | None], family_files: Iterable[str] = ()) -> Selection:
    """The selection that ``options`` make (named as after ``--conformance-``).

    Raises :class:`~conformance.core.errors.UserError` for what is unknown, malformed, or missing from this environment.
    """
    versions = require()
    for file in family_files:
        registry.register(Path(file))
    profile = options.get("profile") or "quick"
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    budget = Budget(
        examples=_number("examples", options.get("examples"), PROFILES[profile], least=1),
        seed=_number("seed", options.get("seed"), 0, least=0),
        database=options.get("database") or ("local" if profile == "thorough" else "none"),
    )
    open_database(budget.database)
    known_file, entries = failures(options.get("known"))
    return Selection(
        versions=versions,
        families=_families(_some(options, "families")),
        clauses=select(_some(options, "clauses")),
        methods=_methods(_some(options, "methods")),
        profile=profile,
        budget=budget,
        known_file=known_file,
        known=entries,
        time=seconds(options.get("time")),
        devices=_devices(_some(options, "devices")),
    )


def devices_named(given: str | None) -> str:
    """The real devices in ``given``, separated by commas, if torch has them: a short process is asked."""
    devices = _devices(_names(given))
    return ",".join(inventory(devices).names) if devices else ""


def _devices(names: list[str]) -> str:
    for name in names:
        if not re.fullmatch(r"[a-z]+(:\d+)?", name) or name.startswith("sim"):
            raise UserError(
                "bad-device",
                f"{name!r} is not a device",
                "a device is called as torch calls it, such as cuda:0; simulated ones are taken where none is named",
                "name real devices, separated by commas, or none",
            )
    return ",".join(names)


def failures(given: str | None) -> tuple[Path | None, tuple[KnownFailure, ...]]:
    """The known-failures file and its entries: ``given``, or none, or by default the shipped one."""
    if given == "none":
        return None, ()
    path = Path(given) if given is not None else shipped()
    return path, load(path)


def _some(options: Mapping[str, str | None], option: str) -> list[str]:
    """The names that are given for ``option``; none if it was not given. An empty text is a mistake, not everything."""
    given = options.get(option)
    names = _names(given)
    if given is not None and not names:
        raise UserError(
            "empty-option",
            f"--{option} names nothing",
            f"{given!r} has no name in it, as when a variable of the shell is not set; everything would be judged",
            f"name some {option}, separated by commas, or leave the option out",
        )
    return names


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _number(name: str, given: str | None, default: int, *, least: int) -> int:
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or int(given) < least:
        raise UserError(
            f"bad-{name}",
            f"{given!r} is not a number of {name}",
            f"{name} is a whole number from {least} up",
            "give such a number",
        )
    return int(given)


def _families(names: list[str]) -> dict[str, Family]:
    found = [registry.family_named(name) for name in names] or list(registry.families().values())
    return {family.name: family for family in found}


def _methods(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    return tuple(names) or tuple(METHODS)
