"""Records of what was found: a difference, a violation, the verdict of an item, and its cell in a table."""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct, field

from conformance.core.case import Case
from conformance.core.outcome import KNOWN, Blame, How, Outcome, State

DEFAULT_METHOD = "PREFIX_TUNING"
"""The method that an item is about if its name does not say."""
REASONS = 3
"""How many reasons of one cell are shown; the rest is in the events."""


class Item(Struct, frozen=True, order=True):
    """What is judged: one clause, for one family, with one method of prompt learning."""

    clause: str
    family: str
    method: str = DEFAULT_METHOD

    @property
    def subject(self) -> str:
        """``llama``, or ``llama/P_TUNING``: the family, and the method unless it is prefix tuning."""
        return self.family if self.method == DEFAULT_METHOD else f"{self.family}/{self.method}"

    @property
    def chapter(self) -> str:
        """The part of the clause's id before the dot."""
        return self.clause.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.clause}[{self.subject}]"


class Difference(Struct, frozen=True, kw_only=True):
    """Where two Traces part: ``what`` in words, what was got and expected there, and by how much.

    ``margin`` and ``error`` are in the same unit (logits); a violation has ``margin > 10 * error``. ``told`` is the step of a
    story, counted from 0, in which that was seen.
    """

    what: str
    got: str
    expected: str
    row: int | None = None
    step: int | None = None
    told: int | None = None
    margin: float | None = None
    error: float | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """The one record of a violation. Terminal, events, known-failures file, replay and reports all show it.

    ``where`` is the innermost line of judged code that a crash came from, ``note`` the evidence for ``blame``; ``devices``
    are the real ones, separated by commas, on which a placed model was judged, empty for all others; ``mended`` are the known
    failures that do not explain it: it was seen with all of them mended. ``beyond`` are those that would explain it, but for
    their ranges of versions.
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
    mended: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()

    @property
    def item(self) -> Item:
        """The item that is violated."""
        return Item(self.clause, self.family, self.case.method)

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for what is the same violation, in any family and any release.

        A crash is the same wherever the same exception comes out of the same function, whichever clause met it. Line numbers
        differ between releases and do not count. A wrong answer belongs to the clause that found it.
        """
        function = re.sub(r":\d+", "", self.where)
        if self.how is How.CRASH and function:
            return self.how.value, function, self.difference.got.partition(":")[0]
        return self.clause, self.how.value, function


class Verdict(Struct, frozen=True, kw_only=True):
    """What a search found for one item. ``counts`` has every outcome that occurred, ``known`` the matched entries.

    ``reasons`` are those of all outcomes, ``excused`` those of *not applicable* alone, of which ``base_fails`` are examples whose
    base model fails at the same request.
    ``notes`` say what went wrong beside the judging, such as a database of examples that cannot be reached.
    """

    outcome: Outcome
    counts: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    excused: dict[str, int] = field(default_factory=dict)
    base_fails: int = 0
    finding: Finding | None = None
    evidence: tuple[Finding, ...] = ()
    decisive: int = 0
    cpu_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def decided(self) -> int:
        """How many examples showed whether the claim holds: it did, or was violated, known violations included."""
        return self.counts.get(Outcome.CONFORMS.value, 0) + self.counts.get(Outcome.VIOLATES.value, 0)

    @property
    def asked(self) -> int:
        """How many examples the claim speaks of: all but those that lack what it needs. A base model that fails lacks nothing."""
        return sum(self.counts.values()) - self.counts.get(Outcome.NOT_APPLICABLE.value, 0) + self.base_fails


class Cell(Struct, frozen=True, kw_only=True):
    """One item in this environment: a state, and a verdict if and only if it was judged.

    ``lane`` says on which devices placed models were judged, and is empty for all others.
    """

    clause: str
    family: str
    method: str = DEFAULT_METHOD
    state: State
    verdict: Verdict | None = None
    why: str = ""
    lane: str = ""

    @classmethod
    def of(cls, item: Item, state: State, why: str = "") -> Cell:
        """The cell of an item that has no verdict."""
        return cls(clause=item.clause, family=item.family, method=item.method, state=state, why=why)

    @classmethod
    def judged(cls, item: Item, verdict: Verdict, lane: str = "") -> Cell:
        """The cell of an item that was judged."""
        where = {"clause": item.clause, "family": item.family, "method": item.method}
        return cls(**where, state=State.JUDGED, verdict=verdict, lane=lane)

    @classmethod
    def broken(cls, item: Item, why: str) -> Cell:
        """The cell of an item that could not be judged because something of ours, or its process, failed."""
        counts = {Outcome.BROKEN.value: 1}
        return cls.judged(item, Verdict(outcome=Outcome.BROKEN, counts=counts, reasons={why: 1}))

    @property
    def item(self) -> Item:
        """The item that it is about."""
        return Item(self.clause, self.family, self.method)

    @property
    def word(self) -> str:
        """The one word for it: its state, or its verdict; ``known`` if every violation in it is known."""
        if self.verdict is None:
            return self.state.value
        if self.verdict.outcome is Outcome.VIOLATES and self.verdict.finding is None:
            return KNOWN
        return self.verdict.outcome.value

    @property
    def reasons(self) -> str:
        """Why it has no decision, or is broken, in words; the most frequent reason first."""
        if self.verdict is None:
            return self.why
        ordered = [text for text, _ in sorted(self.verdict.reasons.items(), key=lambda reason: (-reason[1], reason[0]))]
        more = [f"and {len(ordered) - REASONS} other reasons"] if len(ordered) > REASONS else []
        return "; ".join([*ordered[:REASONS], *more])

    @property
    def description(self) -> str:
        """The word for it, with the reasons."""
        reasons = self.reasons.strip()
        return reasons if reasons.startswith(self.word) else f"{self.word}: {reasons}" if reasons else self.word


def encode(record: Struct) -> str:
    """One line of JSON."""
    return msgspec.json.encode(record, order="sorted").decode()
