"""What every pair of a matrix is asked, and the record of which answers belong to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock
from msgspec import Struct, field
from msgspec.structs import asdict

from conformance.core.options import Given, arguments
from conformance.core.pair import AXES
from conformance.families import folder
from conformance.session.selection import Selection

RECORD = "matrix.json"
FACES = ("cli", "matrix", "pytest_plugin", "report")
"""Rooms that start runs and show what they found: no verdict depends on them."""
NO_QUESTION = ("known_file", "digests")
"""Fields of a Selection that ask nothing: what is in the files that it names is in fields of its own."""


class Request(Struct, frozen=True, kw_only=True):
    """The options that go to each run, what they select, and the seconds after which a run is ended."""

    given: Given
    selection: Selection
    limit: float | None = None

    def arguments(self, events: Path) -> list[str]:
        """The command line of one run."""
        return ["run", *arguments({**self.given, "report": (str(events),)}, "run")]


def digest_of(selection: Selection) -> str:
    """Twelve hexadecimal digits for all that is selected, what lies here beside the pair, and the sources that judge."""
    fields = {name: value for name, value in asdict(selection).items() if name not in NO_QUESTION}
    fields["versions"] = {name: release for name, release in selection.versions.items() if name not in AXES}
    digest = hashlib.sha256(msgspec.json.encode(fields, order="sorted", enc_hook=_plain))
    for name, source in judging_sources(Path(__file__).parents[1], folder()):
        digest.update(f"\n{name} {hashlib.sha256(source.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:12]


def judging_sources(package: Path, families: Path) -> Iterator[tuple[str, Path]]:
    """The files of this package, and of the families that come with it, that can change a verdict; with their names."""
    for file in sorted(package.rglob("*")):
        name = file.relative_to(package)
        if file.suffix in (".py", ".toml") and name.parts[0] not in FACES:
            yield name.as_posix(), file
    for file in sorted(families.glob("*.toml")):
        yield f"families/{file.name}", file


def _plain(value: object) -> str:
    """A function by its name, since its source is among those that judge; anything else as it shows itself."""
    return str(getattr(value, "__qualname__", type(value).__qualname__)) if callable(value) else repr(value)


class Entry(Struct, frozen=True, kw_only=True):
    """How one pair fared, and the digest of what it was asked; ``why`` it has no results, or not all of them.

    ``impossible``: its two releases cannot be together, so there is nothing to be tested.
    """

    digest: str
    exit_code: int
    seconds: float = 0.0
    why: str = ""
    impossible: bool = False


class Record(Struct, kw_only=True):
    """``matrix.json`` in the folder of a matrix: by the name of the pair, what was asked and how it ended."""

    schema: Literal[1] = 1
    pairs: dict[str, Entry] = field(default_factory=dict)


def read_record(folder: Path) -> Record:
    """The record of ``folder``; an empty one where there is none to read, so that everything is run again."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return Record()


def add_entry(folder: Path, name: str, entry: Entry) -> Record:
    """Add how the pair called ``name`` fared to the record of ``folder``, and give it; other processes may do so, too."""
    with FileLock(folder / f".{RECORD}.lock"):
        record = read_record(folder)
        record.pairs[name] = entry
        fresh = folder / f".{RECORD}"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=2) + b"\n")
        fresh.replace(folder / RECORD)
    return record
