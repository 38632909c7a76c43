"""What a soak counted: how many examples of each item ended in which word, and every alarm."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct, field

from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Item
from conformance.core.outcome import BROKEN, VIOLATES, Outcome

UNDECIDED = Outcome.UNDECIDED.value
SILENT = (Outcome.NOT_APPLICABLE.value, Outcome.REFUSED.value)
"""What says nothing about a claim: that it does not apply, and that the request is refused in words."""
ALARMING = (BROKEN, VIOLATES)
"""What no example of a healthy subject may end in."""
UNDECIDED_SHARE = 0.01
"""The largest share of the judged examples that may be undecided."""


class Alarm(Struct, frozen=True, kw_only=True):
    """A healthy subject that failed a clause, or broke the harness; ``case`` is missing where a whole piece of work broke."""

    subject: str
    item: Item
    seed: int
    word: str
    what: str
    case: Case | None = None

    @property
    def repeat(self) -> str:
        """The line that repeats it."""
        line = ["peft-conformance", "soak", "--subjects", self.subject, "--clauses", self.item.clause]
        if self.case is None:
            line += ["--families", self.item.family, "--methods", self.item.method, "--seed", str(self.seed)]
        else:
            line += ["--case", self.case.to_json()]
        return shlex.join(line)


class Count(Struct, frozen=True, kw_only=True):
    """How many examples of one subject's item ended in which of the ``words``; why the others than *conforms* did."""

    subject: str
    item: Item
    words: dict[str, int]
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """How many of them the claim spoke of."""
        return sum(count for word, count in self.words.items() if word not in SILENT)

    @property
    def undecided(self) -> int:
        """How many of them were too close to say."""
        return self.words.get(UNDECIDED, 0)


class Tally(Struct, frozen=True, kw_only=True):
    """All counts and alarms of a soak, or of a piece of it. ``complete`` says that the soak has ended by itself."""

    counts: tuple[Count, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    cpu_seconds: float = 0.0
    complete: bool = False

    @property
    def judged(self) -> int:
        """How many examples the claims spoke of."""
        return sum(count.judged for count in self.counts)

    @property
    def undecided(self) -> float:
        """The share of the judged examples that is undecided."""
        return sum(count.undecided for count in self.counts) / max(1, self.judged)

    @property
    def exit_code(self) -> int:
        """As of a run: 3 where it is incomplete or a process broke, 1 for an alarm or too much undecided, 5 for nothing."""
        if not self.complete or any(alarm.case is None for alarm in self.alarms):
            return 3
        if self.alarms or self.undecided > UNDECIDED_SHARE:
            return 1
        return 0 if self.judged else 5


def merged(tallies: Iterable[Tally]) -> Tally:
    """The sum of several tallies; whether it is complete is the caller's to say."""
    words: dict[tuple[str, Item], Counter[str]] = {}
    reasons: dict[tuple[str, Item], Counter[str]] = {}
    alarms: list[Alarm] = []
    seconds = 0.0
    for tally in tallies:
        for count in tally.counts:
            key = count.subject, count.item
            words.setdefault(key, Counter()).update(count.words)
            reasons.setdefault(key, Counter()).update(count.reasons)
        alarms.extend(tally.alarms)
        seconds += tally.cpu_seconds
    counts = [
        Count(subject=subject, item=item, words=dict(words[subject, item]), reasons=dict(reasons[subject, item]))
        for subject, item in sorted(words)
    ]
    return Tally(counts=tuple(counts), alarms=tuple(alarms), cpu_seconds=seconds)


def write(tally: Tally, file: Path) -> None:
    """Write ``tally`` to ``file``, so that whoever reads it at any moment finds a whole one."""
    beside = file.with_name(f"{file.name}.part")
    beside.write_bytes(msgspec.json.encode(tally, order="sorted"))
    beside.replace(file)


def read(file: Path) -> Tally:
    """Read what :func:`write` wrote. Raises :class:`~conformance.core.errors.UserError` for anything else."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Tally)
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(
            "malformed-soak",
            f"{file} is not the file of a soak: {error}",
            "`peft-conformance soak --report FILE` writes what it counted as one JSON object",
            "give such a file",
        ) from error
