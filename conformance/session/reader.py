"""The one reader of events files. What it gives is held against its own header and footer; what contradicts them is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field

from conformance.core.errors import UserError, unreadable
from conformance.core.finding import Cell
from conformance.session.consistency import contradictions
from conformance.session.events import SCHEMA, AnyEvent, Footer, Header, Judged, Replayed, Run, Started

LONGEST = 20_000_000
"""Bytes of a line. One event has some thousand, with many violations beside each other a million."""


class _PartialRun(Struct):
    """A Run being put together, event by event."""

    header: Header | None = None
    cells: list[Cell] = field(default_factory=list)
    known: list[Replayed] = field(default_factory=list)
    running: dict[str, None] = field(default_factory=dict)
    footer: Footer | None = None

    def add(self, event: AnyEvent) -> str:
        """Take in one event; in words, what is wrong with its place, else nothing."""
        if (self.header is None) != isinstance(event, Header):
            return "the header must be the first line, and only that"
        if self.footer is not None:
            return "there is an event after the footer"
        match event:
            case Header():
                self.header = event
            case Started():
                self.running[event.item] = None
            case Judged():
                self.cells.append(event.cell)
                self.running.pop(str(event.cell.item), None)
            case Replayed():
                self.known.append(event)
                self.running.pop(event.item, None)
            case Footer():
                self.footer = event
        return ""


def read_events(path: Path) -> Run:
    """Read an events file. No footer is no error: the run did not finish.

    Raises :class:`~conformance.core.errors.UserError` for anything else than events of one run, and for events that
    contradict each other: some were lost, or changed by hand.
    """
    partial = _read(path)
    if partial.header is None:
        raise _malformed(path, "there is no header")
    run = Run(
        header=partial.header,
        cells=tuple(partial.cells),
        known=tuple(partial.known),
        running=tuple(partial.running),
        footer=partial.footer,
    )
    for problem in contradictions(run):
        raise UserError(
            "contradictory-events",
            f"{path}: {problem}",
            "the header, the results and the footer of a run must agree: lines were lost, or changed by hand",
            "give the file as --report wrote it, or run again",
        )
    return run


def _read(path: Path) -> _PartialRun:
    lines = _lines(path)
    partial = _PartialRun()
    decoder = msgspec.json.Decoder(AnyEvent)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            problem = partial.add(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            cut = number == len(lines) and partial.header is not None
            problem = "" if cut else str(error)  # a last line without its end: the writer was killed
        if problem:
            raise _malformed(path, f"line {number}: {problem}")
    return partial


def _lines(path: Path) -> list[bytes]:
    """The lines of a file, the last one empty if it has its end. Stops at one that is too long: some devices never end."""
    lines: list[bytes] = []
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST):
                lines.append(line)
                if len(line) == LONGEST:
                    raise _malformed(path, f"line {len(lines)} has {LONGEST} bytes or more")
    except OSError as error:
        raise unreadable("events file", path, error) from error
    return [*lines, b""] if lines and lines[-1].endswith(b"\n") else lines


def _malformed(path: Path, problem: str) -> UserError:
    return UserError(
        "malformed-events",
        f"{path}: {problem}",
        f"an events file holds one JSON object a line, schema 1 to {SCHEMA}: see `peft-conformance schema events`",
        "give a file that --report wrote, unchanged",
    )
