"""Events as JSON lines: a header, one line per start and end of an item, and a footer.

A file without footer is an incomplete run, so that a killed one can never be mistaken for a green one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, TextIO

import msgspec
from msgspec import Struct, field

from conformance.core.case import Case
from conformance.core.errors import UserError, unreadable
from conformance.core.finding import DEFAULT_METHOD, Cell, Finding, encode
from conformance.core.pair import AXES, Pair

SCHEMA: Final = 2
"""Version of the event format. Version 1, in which items had no method, is still read; a reader refuses any other."""

Replay = Literal["still fails", "mended", "not explained", "undecided", "broken harness", "absent", "not run"]
"""How the replay of a known failure ended. *Not explained*: its Case fails, and not as the entry says, or not for its reason."""


Code = Literal[0, 1, 2, 3, 4, 5]


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"):
    """Base of every line."""


class Header(Event, frozen=True, kw_only=True, tag="header"):
    """The first line: what is judged, by what, and what was selected.

    ``known`` is the known-failures file, ``expectation`` the one that says what must be decided; ``mended`` are the known
    failures that were mended throughout.
    """

    schema: Literal[1, 2] = SCHEMA
    versions: dict[str, str]
    python: str
    platform: str
    profile: str
    examples: int
    seed: int
    families: tuple[str, ...]
    clauses: tuple[str, ...]
    methods: tuple[str, ...]
    known: str | None = None
    mended: tuple[str, ...] = ()
    expectation: str | None = None


class Started(Event, frozen=True, kw_only=True, tag="start"):
    """An item is being judged. Of a run that died, the last of these say on what."""

    item: str


class Judged(Event, frozen=True, kw_only=True, tag="cell"):
    """An item has its verdict, or a reason why it has none."""

    cell: Cell


class Replayed(Event, frozen=True, kw_only=True, tag="known"):
    """The minimal Case of a known failure was run again."""

    id: str
    clause: str
    family: str
    method: str = DEFAULT_METHOD
    state: Replay
    function: str = ""
    reason: str = ""
    severity: str = ""
    links: tuple[str, ...] = ()
    why: str = ""
    finding: Finding | None = None

    @property
    def item(self) -> str:
        """``known[id]``, as pytest names it."""
        return f"known[{self.id}]"


class Footer(Event, frozen=True, kw_only=True, tag="footer"):
    """The last line of a finished run: its exit code, how many items ended how, and wall seconds.

    ``short`` says in words where less was decided than expected; ``partial``: something that was selected was not run.
    """

    exit_code: Code
    counts: dict[str, int]
    seconds: float
    short: tuple[str, ...] = ()
    partial: bool = False


AnyEvent = Header | Started | Judged | Replayed | Footer


class Run(Struct, frozen=True, kw_only=True):
    """What the events of one run add up to. ``footer`` is missing and ``running`` tells where, if it did not finish."""

    header: Header
    cells: tuple[Cell, ...] = ()
    known: tuple[Replayed, ...] = ()
    running: tuple[str, ...] = ()
    footer: Footer | None = None

    @property
    def pair(self) -> Pair:
        """The pair that was judged, with a question mark for a version that the header does not name."""
        return Pair(*(self.header.versions.get(axis, "?") for axis in AXES))


class Writer:
    """Writes events, each at once. Opened before anything runs: a path that cannot be written is a user's error."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise UserError(
                "unwritable-report",
                f"{path} cannot be written: {error.strerror}",
                "the report file is opened before anything runs, so that no run is lost",
                "give a file in an existing folder that you may write to",
            ) from error

    def write(self, event: AnyEvent) -> None:
        """One line, flushed: what was judged survives a crash."""
        self._file.write(encode(event) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
    """Read an events file. Raises :class:`~conformance.core.errors.UserError` for anything else; no footer is no error."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise unreadable("events file", path, error) from error
    partial = _PartialRun()
    decoder = msgspec.json.Decoder(AnyEvent)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            problem = partial.add(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            cut = number == len(lines) and partial.header is not None
            problem = "" if cut else str(error)  # a last line without its end: the writer was killed
        if problem:
            raise _malformed(path, f"line {number}: {problem}")
    if partial.header is None:
        raise _malformed(path, "there is no header")
    return Run(
        header=partial.header,
        cells=tuple(partial.cells),
        known=tuple(partial.known),
        running=tuple(partial.running),
        footer=partial.footer,
    )


def _malformed(path: Path, problem: str) -> UserError:
    return UserError(
        "malformed-events",
        f"{path}: {problem}",
        f"an events file holds one JSON object a line, schema 1 or {SCHEMA}: see `peft-conformance schema events`",
        "give a file that --report wrote, unchanged",
    )


def schema(what: Literal["case", "events"]) -> dict[str, Any]:
    """The JSON schema of a Case, or of one line of an events file."""
    return msgspec.json.schema(Case if what == "case" else AnyEvent)
