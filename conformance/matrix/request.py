"""What every pair of a matrix is asked, and the record of which answers belong to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock
from msgspec import Struct, field

from conformance.compat.versions import JUDGED
from conformance.session.selection import Selection, resolve

RECORD = "matrix.json"


class Request(Struct, frozen=True, kw_only=True):
    """The options that go to each run, and what they select."""

    options: dict[str, str | None]
    family_files: tuple[Path, ...]
    selection: Selection
    workers: int = 0
    limit: float | None = None

    def arguments(self, events: Path) -> list[str]:
        """The command line of one run."""
        given = {**self.options, "report": str(events), "workers": str(self.workers)}
        named = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return ["run", *named, *(f"--family-file={file}" for file in self.family_files)]

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that differ if an answer might: items, budget, files, and what lies here."""
        selected = self.selection
        parts: list[object] = [
            {name: release for name, release in selected.versions.items() if name not in JUDGED},
            list(selected.families),
            list(selected.clauses),
            selected.methods,
            selected.budget,
            selected.devices,
            selected.known,
            [selected.families[name] for name in selected.families],
        ]
        return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:12]


def ask(
    options: Mapping[str, str | None], family_files: Iterable[Path], workers: int, limit: float | None = None
) -> Request:
    """Options as the user gave them, checked. Raises :class:`~conformance.core.errors.UserError`."""
    files = tuple(file.absolute() for file in family_files)
    known = options.get("known")
    given = {**options, "known": known if known in (None, "none") else str(Path(str(known)).absolute())}
    return Request(
        options=given, family_files=files, selection=resolve(given, map(str, files)), workers=workers, limit=limit
    )


class Entry(Struct, frozen=True, kw_only=True):
    """How one pair fared when it was asked what ``asked`` stands for."""

    asked: str
    exit_code: int
    seconds: float = 0.0


class Record(Struct, kw_only=True):
    """``matrix.json`` in the folder of a matrix: by the name of the pair, what was asked and how it ended."""

    schema: Literal[1] = 1
    pairs: dict[str, Entry] = field(default_factory=dict)


def read(folder: Path) -> Record:
    """The record of ``folder``; an empty one where there is none to read, so that everything is run again."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return Record()


def add(folder: Path, name: str, entry: Entry) -> Record:
    """Add how the pair called ``name`` fared to the record of ``folder``, and give it; other processes may do so, too."""
    with FileLock(folder / f".{RECORD}.lock"):
        record = read(folder)
        record.pairs[name] = entry
        begun = folder / f".{RECORD}"
        begun.write_bytes(msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=2) + b"\n")
        begun.replace(folder / RECORD)
    return record


def codes(record: Record, names: Iterable[str]) -> Iterator[int]:
    """The exit codes of these pairs; 3, incomplete, for one that has none."""
    for name in names:
        yield record.pairs[name].exit_code if name in record.pairs else 3
