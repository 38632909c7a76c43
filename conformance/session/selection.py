"""What the options select, checked before anything runs. Imports no torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

from conformance.clauses.registry import Clause, clause_named, clauses, select
from conformance.compat.versions import require
from conformance.core.errors import UserError, unknown
from conformance.core.finding import Item
from conformance.core.options import Given, value_of
from conformance.core.pair import Pair
from conformance.devices.inventory import inventory
from conformance.engine.database import open_database
from conformance.engine.known import KnownFailure, load, shipped
from conformance.engine.search import PROFILES, Budget
from conformance.families import Family, families, family_named, register
from conformance.families.possible import require_possible
from conformance.methods import METHODS
from conformance.session.expectation import Expectation, read_expectation, shipped_for
from conformance.session.time_budget import seconds

DIGITS = 20
"""A number of so many digits is as large as any seed."""


class Selection(Struct, frozen=True, kw_only=True):
    """Everything that decides which items there are and how each is judged.

    ``known`` are the known failures that explain what resembles them, ``mended`` those whose mends are in force throughout.
    """

    versions: dict[str, str]
    families: dict[str, Family]
    clauses: dict[str, Clause]
    methods: tuple[str, ...]
    profile: str
    budget: Budget
    known_file: Path | None
    known: tuple[KnownFailure, ...]
    mended: tuple[KnownFailure, ...] = ()
    devices: str
    time: float | None
    expectation_file: Path | None = None
    expectation: Expectation | None = None
    digests: dict[str, str] = {}

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


def resolve(given: Given) -> Selection:
    """The selection that the ``given`` options make.

    Raises :class:`~conformance.core.errors.UserError` for what is unknown, malformed, or missing from this environment.
    """
    versions = require()
    family_files = [Path(file) for file in given.get("family-file", ())]
    for file in family_files:
        register(file)
    profile = value_of(given, "profile") or "quick"
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    budget = Budget(
        examples=_number(given, "examples", PROFILES[profile], least=1),
        seed=_number(given, "seed", 0, least=0),
        database=value_of(given, "database") or ("local" if profile == "thorough" else "none"),
    )
    open_database(budget.database)
    known_file, entries = read_known(value_of(given, "known"))
    if value_of(given, "known") is not None:  # of the file that comes with this project the tests see to it
        check_entries(entries)
    mended = entries_named("all" if value_of(given, "mended") else None, entries)
    expectation_file = _expectation_file(given, Pair.of(versions))
    return Selection(
        expectation_file=expectation_file,
        expectation=read_expectation(expectation_file, Pair.of(versions)) if expectation_file else None,
        versions=versions,
        families=_families(_names_for(given, "families")),
        clauses=select(_names_for(given, "clauses")),
        methods=_methods(_names_for(given, "methods")),
        profile=profile,
        budget=budget,
        known_file=known_file,
        known=() if value_of(given, "mended") else entries,
        mended=mended,
        time=seconds(value_of(given, "time")),
        devices=_devices(_names_for(given, "devices")),
        digests=_digests(*([known_file] if known_file else []), *family_files),
    )


def _digests(*files: Path) -> dict[str, str]:
    """Twelve hexadecimal digits for what is in each of ``files``, by its name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files}


def devices_named(text: str | None) -> str:
    """The real devices in ``text``, separated by commas, if torch has them: a short process looks."""
    devices = _devices(_names(text))
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


def read_known(file: str | None) -> tuple[Path | None, tuple[KnownFailure, ...]]:
    """The known-failures file and its entries: ``file``, or none, or by default the shipped one."""
    if file == "none":
        return None, ()
    path = Path(file) if file is not None else shipped()
    return path, load(path)


def check_entries(entries: Iterable[KnownFailure]) -> None:
    """Raise a :class:`~conformance.core.errors.UserError` for an entry that names what is not there: it would match nothing.

    Its own Case must be one of its family, and names and globs must fit at least one clause, family and method.
    """
    for entry in entries:
        try:
            _check_entry(entry)
        except UserError as error:
            error.message = f"known failure {entry.id}: {error.message}"
            raise


def _check_entry(entry: KnownFailure) -> None:
    require_possible(family_named(entry.case.family), entry.case)
    clause_named(entry.clause)
    for kind, globs, names in (
        ("clause", entry.clauses, list(clauses())),
        ("family", entry.families, list(families())),
        ("method", entry.methods, list(METHODS)),
    ):
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                raise unknown(kind, glob, names)


def entries_named(ids: str | None, entries: tuple[KnownFailure, ...]) -> tuple[KnownFailure, ...]:
    """The ``entries`` whose ids are in the text, separated by commas; for ``all`` those that apply to what is installed."""
    if ids == "all":
        return tuple(entry for entry in entries if entry.applies(require()))
    known = {entry.id: entry for entry in entries}
    for id in _names(ids):
        if id not in known:
            raise unknown("known failure", id, known)
    return tuple(known[id] for id in _names(ids))


def _expectation_file(given: Given, pair: Pair) -> Path | None:
    """The expectation that a run is held against: what was given, or none, or by default the shipped one of the pair."""
    file = value_of(given, "expect")
    return shipped_for(pair) if file is None else None if file == "none" else Path(file)


def _names_for(given: Given, option: str) -> list[str]:
    """The names that are given for ``option``; none if it was not given. An empty text is a mistake, not everything."""
    text = value_of(given, option)
    names = _names(text)
    if text is not None and not names:
        raise UserError(
            "empty-option",
            f"--{option} names nothing",
            f"{text!r} has no name in it, as when a variable of the shell is not set; everything would be judged",
            f"name some {option}, separated by commas, or leave the option out",
        )
    return names


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _number(given: Given, name: str, default: int, *, least: int) -> int:
    text = value_of(given, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > DIGITS or int(text) < least:
        raise UserError(
            f"bad-{name}",
            f"{text[: 2 * DIGITS]!r} is not a number of {name}",
            f"{name} is a whole number from {least} up, of at most {DIGITS} digits",
            "give such a number",
        )
    return int(text)


def _families(names: list[str]) -> dict[str, Family]:
    chosen = [family_named(name) for name in names] or families().values()
    return {family.name: family for family in chosen}


def _methods(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    return tuple(names) or tuple(METHODS)
