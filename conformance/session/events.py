"""Events as JSON lines: a header, one line per start and end of an item, and a footer.

A file without footer is an incomplete run, so that a killed one can never be mistaken for a green one.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from conformance.core.case import Case
from conformance.core.finding import DEFAULT_METHOD, Cell, Finding
from conformance.core.pair import AXES, Pair

SCHEMA: Final = 3
"""Version of the event format; later ones are refused. In version 1 items had no method, in 2 the header did not name them."""

Replay = Literal["still fails", "mended", "not explained", "undecided", "broken harness", "absent", "not run"]
"""How the replay of a known failure ended. *Not explained*: its Case fails, and not as the entry says, or not for its reason."""


Code = Literal[0, 1, 2, 3, 4, 5]


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"):
    """Base of every line."""


class Header(Event, frozen=True, kw_only=True, tag="header"):
    """The first line: what is judged, by what, and what was selected.

    ``known`` is the known-failures file, ``expectation`` the one that says what must be decided; ``mended`` are the known
    failures that were mended throughout.

    ``items`` are those that are to be judged or replayed, by name, after ``-k`` and the like; none in files of earlier versions,
    where they are all of families x clauses x methods. ``digests`` has twelve hexadecimal digits (SHA-256) for what was in the
    known-failures file, and in each family file that did not come with this project: names alone say little.
    """

    schema: Literal[1, 2, 3] = SCHEMA
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
    items: tuple[str, ...] | None = None
    digests: dict[str, str] = {}


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
    seconds: Annotated[float, Meta(ge=0)]
    short: tuple[str, ...] = ()
    partial: bool = False


AnyEvent = Header | Started | Judged | Replayed | Footer


class Run(Struct, frozen=True, kw_only=True):
    """What the events of one run add up to. ``footer`` is missing and ``running`` tells where, if it did not finish.

    ``unwritten`` says why not all of it is in the events file, where it was to be.
    """

    header: Header
    cells: tuple[Cell, ...] = ()
    known: tuple[Replayed, ...] = ()
    running: tuple[str, ...] = ()
    footer: Footer | None = None
    unwritten: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What went wrong beside the judging, each thing once, whichever worker said it."""
        said = (note for cell in self.cells if cell.verdict for note in cell.verdict.notes)
        return tuple(dict.fromkeys([*said, *[self.unwritten] * bool(self.unwritten)]))

    @property
    def pair(self) -> Pair:
        """The pair that was judged, with a question mark for a version that the header does not name."""
        return Pair(*(self.header.versions.get(axis, "?") for axis in AXES))


def schema(what: Literal["case", "events"]) -> dict[str, Any]:
    """The JSON schema of a Case, or of one line of an events file."""
    return msgspec.json.schema(Case if what == "case" else AnyEvent)
