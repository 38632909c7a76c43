"""What is said of one example, of one item, and of one cell; and the one record of a violation."""

from __future__ import annotations

from enum import Enum

import msgspec
from msgspec import Struct, field

from conformance.core.case import Case


class Outcome(str, Enum):
    """What one example showed; also the verdict of an item, which is the first that holds in this order.

    For an item, ``conforms`` needs enough decisive examples, and comes before the three that decided nothing.
    """

    BROKEN = "broken harness"
    VIOLATES = "violates"
    CONFORMS = "conforms"
    REFUSED = "refused"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"


class State(str, Enum):
    """Why a cell (clause x family in one environment) has a verdict, or has none."""

    JUDGED = "judged"
    NOT_RUN = "not run"
    IMPOSSIBLE = "impossible"
    ABSENT = "absent"


class How(str, Enum):
    """How a clause was violated."""

    WRONG = "wrong answer"
    CRASH = "crash"


class Blame(str, Enum):
    """Who has to mend it."""

    PEFT = "PEFT"
    TRANSFORMERS = "transformers"
    HARNESS = "this harness"


class Difference(Struct, frozen=True, kw_only=True):
    """Where two Traces part: ``what`` in words, what was got and expected there, and by how much.

    ``margin`` and ``error`` are in the same unit (logits); a violation has ``margin > 10 * error``.
    """

    what: str
    got: str
    expected: str
    row: int | None = None
    step: int | None = None
    margin: float | None = None
    error: float | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """The one record of a violation. Terminal, events, known-failures file, replay and reports all show it.

    ``devices`` are the real ones, separated by commas, on which a placed model was judged; empty for all others.
    """

    clause: str
    statement: str
    family: str
    case: Case
    features: tuple[str, ...]
    how: How
    difference: Difference
    blame: Blame
    versions: dict[str, str]
    sources: tuple[str, ...] = ()
    where: str = ""
    note: str = ""
    devices: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """What a search found for one item. ``counts`` has every outcome that occurred, ``known`` the matched entries."""

    clause: str
    family: str
    outcome: Outcome
    counts: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    finding: Finding | None = None
    evidence: tuple[Finding, ...] = ()
    decisive: int = 0
    cpu_seconds: float = 0.0


class Cell(Struct, frozen=True, kw_only=True):
    """One clause x family in this environment: a state, and a verdict if and only if it was judged.

    ``lane`` says on which devices placed models were judged, and is empty for all others.
    """

    clause: str
    family: str
    state: State
    verdict: Verdict | None = None
    why: str = ""
    lane: str = ""

    @property
    def item(self) -> str:
        """``clause[family]``, as pytest and the command line name it."""
        return f"{self.clause}[{self.family}]"


def encode(record: Struct) -> str:
    """One line of JSON."""
    return msgspec.json.encode(record, order="sorted").decode()
